#!/bin/bash
# The workers in C, Node and Python that examples/ has, each asked by a real Node parent.
set -euo pipefail
. "$SRC/tests/node/lib.bash"
python=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null) || echo "no python3"
for node in "${nodes[@]}"; do
    "$node" --version
    "$node" "$SRC/examples/parent.js" "${PEER%/*}/brood-sum"
    "$node" "$SRC/examples/parent.js" "$node" "$SRC/examples/worker.js"
    if [[ $python ]]; then
        "$node" "$SRC/examples/parent.js" "$python" "$SRC/examples/worker.py"
        "$node" "$SRC/tests/node/workers.js" "$python" "$SRC/examples/worker.py"
    fi
    # and that parent sees what is wrong
    if "$node" "$SRC/examples/parent.js" "$node" "$SRC/tests/node/echo.js" 2>/dev/null; then
        echo "an echo was taken for a worker"
        exit 1
    fi
done
