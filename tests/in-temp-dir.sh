#!/bin/bash
# in-temp-dir.sh COMMAND…: run it in a new directory that is gone afterwards. What BROOD_CHILD names is copied beside it,
# for tests that start it as another user: not everybody may enter every checkout.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
if [[ -n ${BROOD_CHILD-} ]]; then
    cp "$BROOD_CHILD" "$dir/brood-child"
    export BROOD_CHILD=$dir/brood-child
fi
mkdir "$dir/here"
cd "$dir/here"
"$@"
