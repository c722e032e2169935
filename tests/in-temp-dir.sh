#!/bin/bash
# in-temp-dir.sh COMMAND…: run it in a new directory that is gone afterwards.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
"$@"
