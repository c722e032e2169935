#!/bin/bash
# What brood reads and refuses, and what the Nodes that are there do.
set -euo pipefail
. "$SRC/tests/node/lib.bash"
for node in "${nodes[@]}"; do
    "$node" "$SRC/tests/node/values.js" "$VALUES" "$SRC/tests/data/v8.txt" 20000 1
done
