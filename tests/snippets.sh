#!/bin/bash
# snippets.sh BUILD: every whole program that the documents show compiles without a warning, runs, and ends with 0.
# That is each block fenced by ```c (in a manual page: by ```) that has an `int main`. In a manual page a backslash is
# written twice, there too: scdoc takes a single one away.
set -euo pipefail
build=$1
src=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# One file for each block, named after where it begins: README.md:12.c
cd "$src"
shopt -s nullglob
awk -v dir="$dir" '
    FNR == 1 { inside = 0 }
    !inside && (/^ *```c$/ || (FILENAME ~ /\.scd$/ && /^```$/)) { inside = 1; text = ""; line = FNR; next }
    inside && /^ *```$/ {
        inside = 0
        file = FILENAME
        gsub("/", "-", file)
        if (text ~ /int main/) printf "%s", text > (dir "/" file ":" line ".c")
        next
    }
    inside && FILENAME ~ /\.scd$/ {
        gsub(/\\\\/, "\001")
        if (/\\/) {
            print FILENAME ":" FNR ": a single backslash, which scdoc takes away" >"/dev/stderr"
            exit 1
        }
        gsub("\001", "\\")
    }
    inside { text = text $0 "\n" }
' README.md docs/*.md man/*.scd
cd - >/dev/null

read -ra uv < <(pkg-config --cflags --libs libuv)
passed=0 failed=0
for snippet in "$dir"/*.c; do
    name=$(basename "$snippet" .c)
    if ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -I"$src/include" "$snippet" "$build/libbrood.a" "${uv[@]}" -lpthread \
        -o "$dir/program" && timeout -k 5 30 "$dir/program" </dev/null >"$dir/output" 2>&1; then
        passed=$((passed + 1))
    else
        echo "$name: failed with status $?"
        head -n 20 "$dir/output" 2>/dev/null || true
        failed=$((failed + 1))
    fi
    rm -f "$dir/output"
done
echo "snippets: $passed passed, $failed failed"
[[ $passed -gt 0 && $failed -eq 0 ]]
