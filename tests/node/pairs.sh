#!/bin/bash
# The pairings of Node and brood in which a Node is the parent; tests/channel.c has the others.
set -euo pipefail
. "$SRC/tests/node/lib.bash"
for node in "${nodes[@]}"; do
    "$node" --version
    "$node" "$SRC/tests/node/roundtrip.js" "$PEER"
    "$node" "$SRC/tests/node/given.js" "$PEER"
done
