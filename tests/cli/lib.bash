# lib.bash: what the tests of the command share. Each runs in an empty directory of its own, with BROOD (the command),
# BROOD_CHILD (the program that it starts) and SRC (the source tree) in its environment, and ends at the first
# check that fails. Nothing here waits for a time to pass: it waits for what must happen, and ctest's deadline is the limit.
set -euo pipefail
shopt -s extglob

# run COMMAND…: leaves $status, $out and $err.
run() {
    status=0
    "$@" >out.txt 2>err.txt || status=$?
    out=$(tr -d '\0' <out.txt)
    err=$(tr -d '\0' <err.txt)
}

# brood_run ARGUMENT…
brood_run() {
    run "$BROOD" run "$@"
}

fail() {
    local depth=1
    while [[ ${BASH_SOURCE[depth]} == *lib.bash ]]; do ((++depth)); done
    echo "${BASH_SOURCE[depth]##*/}:${BASH_LINENO[depth - 1]}: $1" >&2
    [[ -v status ]] && printf 'status %s\nout: %.500s\nerr: %.500s\n' "$status" "${out-}" "${err-}" >&2
    exit 1
}

# is ACTUAL EXPECTED
is() {
    [[ $1 == "$2" ]] || fail "is \"$1\", should be \"$2\""
}

# has TEXT PART
has() {
    [[ $1 == *"$2"* ]] || fail "\"$1\" should hold \"$2\""
}

# lacks TEXT PART
lacks() {
    [[ $1 != *"$2"* ]] || fail "\"$1\" should not hold \"$2\""
}

# refused WORDS ARGUMENT…: `brood run` refuses these arguments with one line on stderr that holds the words.
refused() {
    local words=$1
    shift
    brood_run "$@"
    is "$status" 125
    is "$out" ""
    has "$err" "brood run: "
    has "$err" "$words"
    is "$(wc -l <err.txt)" 1
}

# until_true COMMAND…: looks again and again.
until_true() {
    until "$@"; do sleep 0.01; done
}

# is_gone PID: it has ended, or is a zombie that somebody else will reap.
is_gone() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    [[ ${stat##*) } == [ZX]* ]]
}

# is_stopped PID
is_stopped() {
    local stat
    stat=$(cat "/proc/$1/stat") || fail "$1 is gone"
    [[ ${stat##*) } == T* ]]
}

# start ARGUMENT…: `brood run` in the background, with signals as they are by default (bash has background commands ignore
# SIGINT), its output to read from descriptor 3. Leaves $brood.
start() {
    [[ -p output ]] || mkfifo output
    env --default-signal "$BROOD" run "$@" >output 2>err.txt &
    brood=$!
    exec 3<output
}

# says LINE: the next line that the started command writes.
says() {
    local line=
    read -r line <&3 || fail "the output is at its end, should be \"$1\": $(cat err.txt)"
    is "$line" "$1"
}

# reap: leaves $status, $err, and in $out what is left of its output.
reap() {
    out=$(cat <&3)
    exec 3<&-
    status=0
    wait "$brood" || status=$?
    err=$(cat err.txt)
}

skip() {
    echo "skipped: $1" >&2
    exit 77
}
