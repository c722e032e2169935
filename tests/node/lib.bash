# The Nodes to test with: those that BROOD_NODES names, else the one in PATH. None: the test is skipped.
read -ra nodes <<<"${BROOD_NODES:-$(command -v node || true)}"
if [[ ${#nodes[@]} == 0 ]]; then
    echo "no node"
    exit 77
fi
