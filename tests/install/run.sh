#!/bin/bash
# The installed copy, as a stranger meets it: build and install brood as a packager does, then build tiny programs
# outside the tree, in C99, C11 and C++17, by pkg-config and by find_package, against both libraries, and run them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
src=$(cd "$here/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/prefix
strict="-pedantic-errors -Wall -Wextra -Werror"
passed=0 failed=0

check() { # WHAT COMMAND…
    local what=$1
    shift
    if "$@" >"$dir/log" 2>&1; then
        echo "ok $what"
        passed=$((passed + 1))
    else
        echo "FAIL $what: $*"
        cat "$dir/log"
        failed=$((failed + 1))
    fi
}

prints_hello() {
    [[ $("$1") == "hello from a child" ]]
}

needs_brood_so() {
    readelf -d "$1" | grep -q 'NEEDED.*libbrood'
}

# Install.
{
    cmake -S "$src" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBROOD_TESTS=OFF &&
        cmake --build "$dir/build" && cmake --install "$dir/build" --prefix "$prefix"
} >"$dir/log" 2>&1 || {
    cat "$dir/log"
    echo "install: could not build and install"
    exit 1
}
libdir=$(dirname "$(find "$prefix" -name libbrood.a)")
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
cp "$here"/*.c "$here"/*.cpp "$dir"
cp -r "$here/find_package" "$dir"
cd "$dir"

# pkg-config, both libraries, three languages.
build_with_pkg_config() { # COMPILER SOURCE STD PKG_CONFIG_FLAG…
    local compiler=$1 source=$2 std=$3 flags
    shift 3
    flags=$(pkg-config --cflags --libs "$@" brood)
    if [[ ${1-} == --static ]]; then
        flags=${flags/-lbrood/-l:libbrood.a}
    fi
    # shellcheck disable=SC2086 # lists of words
    $compiler -std=$std $strict "$source" $flags -o program
}
for case in "${CC:-cc} hello.c c99" "${CC:-cc} hello.c c11" "${CXX:-c++} hello.cpp c++17"; do
    read -r compiler source std <<<"$case"
    check "$std by pkg-config" build_with_pkg_config "$compiler" "$source" "$std"
    check "$std by pkg-config: uses libbrood.so" needs_brood_so ./program
    check "$std by pkg-config: runs" prints_hello ./program
    rm -f program
    check "$std by pkg-config --static" build_with_pkg_config "$compiler" "$source" "$std" --static
    check "$std by pkg-config --static: needs no libbrood.so" eval '! needs_brood_so ./program'
    check "$std by pkg-config --static: runs" prints_hello ./program
    rm -f program
done

# find_package, likewise.
check "find_package: configure" cmake -S find_package -B found -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_FLAGS="$strict" -DCMAKE_CXX_FLAGS="$strict"
check "find_package: build" cmake --build found
for program in c99 c11 cxx17 c11-static loop; do
    check "find_package: $program runs" prints_hello "found/$program"
done
check "find_package: static needs no libbrood.so" eval '! needs_brood_so found/c11-static'

# The public headers, each alone, in the strictest of each language.
for header in "$prefix"/include/brood.h "$prefix"/include/brood/*.h; do
    for language in "c -std=c99" "c -std=c11" "c++ -std=c++17"; do
        # shellcheck disable=SC2086 # lists of words
        check "${header#"$prefix"/} as ${language#*=}" "${CC:-cc}" -fsyntax-only -x $language $strict -Wno-unused-function \
            -I"$prefix/include" "$header"
    done
done

# What the shared library shows: brood_* and nothing else, and no dependency but libuv and libc.
foreign_symbols() {
    nm -D --defined-only --format=posix "$libdir/libbrood.so" | awk '$2 != "A" && $1 !~ /^brood_[a-z]/ { print; n++ } END { exit !n }'
}
foreign_libraries() {
    readelf -d "$libdir/libbrood.so" | grep NEEDED | grep -vE 'lib(uv|c)\.so'
}
check "libbrood.so exports brood_* only" eval '! foreign_symbols'
check "libbrood.so needs libuv and libc only" eval '! foreign_libraries'
check "libbrood.so has a soname" eval "readelf -d '$libdir/libbrood.so' | grep -q 'SONAME.*libbrood\.so\.[0-9]'"
check "no installed file knows where it was built or put" eval "! grep -rIF '$dir' '$prefix'"

# The command.
if [[ -x $prefix/bin/brood ]]; then
    check "brood --version" "$prefix/bin/brood" --version
fi
if [[ -d $src/man ]] && command -v scdoc >/dev/null; then
    check "manual page" test -f "$prefix/share/man/man1/brood.1"
fi

echo "install: $passed passed, $failed failed"
[[ $passed -gt 0 && $failed -eq 0 ]]
