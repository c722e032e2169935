# Help, version, and what is said to those who mistype.
. "$SRC/tests/cli/lib.bash"

run "$BROOD" --help
is "$status" 0
has "$out" "Usage: brood COMMAND"
has "$out" "run       run a command"
is "$err" ""
run "$BROOD" -h
is "$status" 0
run "$BROOD" help
has "$out" "Usage: brood COMMAND"
run "$BROOD" help run
is "$status" 0
has "$out" "Usage: brood run"
run "$BROOD" --version
is "$status" 0
[[ $out =~ ^brood\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "version"
run "$BROOD" -V
is "$status" 0

run "$BROOD" run --help
is "$status" 0
has "$out" "Usage: brood run"
is "$err" ""
awk 'length > 80 { exit 1 }' out.txt || fail "the help is wider than 80 columns"
brood_run -h
is "$status" 0
brood_run --timeout 5 -vh
is "$status" 0

# nothing to do
run "$BROOD"
is "$status" 125
is "$out" ""
has "$err" "Usage: brood COMMAND"

# misspelt
run "$BROOD" runn -- true
is "$status" 125
is "$err" "brood: no command runn; did you mean brood run? (brood --help)"
run "$BROOD" sleep 1
is "$status" 125
has "$err" "to start a program: brood run sleep"
run "$BROOD" --hlep
is "$status" 125
has "$err" "did you mean --help?"
run "$BROOD" help rnu
is "$status" 125

# output that goes nowhere is told
run sh -c '"$BROOD" --help >/dev/full'
is "$status" 125
has "$err" "cannot write to standard output: No space left on device"
run sh -c '"$BROOD" --version >&-'
is "$status" 125
has "$err" "cannot write to standard output"
run sh -c '"$BROOD" run --help >/dev/full'
is "$status" 125
run bash -c '"$BROOD" run --help | head -1; echo ${PIPESTATUS[0]}'
[[ ${out##*$'\n'} == @(0|141) ]] || fail "into head"
is "$err" ""

# started without any arguments at all, not even a name
run bash -c 'exec -a "" "$BROOD"'
is "$status" 125
