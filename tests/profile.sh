#!/bin/bash
# profile.sh BUILD PROFILE: all tests on a host of another kind; brood-profile makes it one.
#
# They run from a copy in a directory that everybody may enter: another user may not enter every checkout.
set -eu
build=$1 profile=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 1777 "$dir"
find "$build" -maxdepth 1 -type f -executable \( -name brood -o -name 'brood-*' \) -exec cp -t "$dir" {} +
cp -r "$(dirname "$0")/data" "$(dirname "$0")/node" "$dir"
chmod -R a+rX "$dir/data" "$dir/node"
cd "$dir"
export BROOD_TEST_BIN_DIR=$dir BROOD_TEST_SOURCES=$dir
# LeakSanitizer looks at its process by ptrace, which two of the profiles take away.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
./brood-profile "$profile" -- ./brood-test --all -j2
