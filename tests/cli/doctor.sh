# brood doctor: what it says agrees with what a start achieves, here and on hosts that lack something.
. "$SRC/tests/cli/lib.bash"
profile=${BROOD%/*}/brood-profile

json() {
    python3 -c '
import json, sys
at = json.load(open("out.txt"))
for name in sys.argv[1:]:
    at = at[name]
print("null" if at is None else at)' "$@"
}

# answers NAME ANSWER
answers() {
    is "$1 $(json checks "$1" answer)" "$1 $2"
}

# what a host has shows in both forms, and the exit status says the same as a start
run "$BROOD" doctor --json
is "$(wc -l <out.txt)" 1
is "$err" ""
guarantee=$(json guarantee)
is "$guarantee" "$(json checks guarantee value)"
is "$(json version)" "$("$BROOD" --version | cut -d' ' -f2)"
is "$status" "$([[ $guarantee == none ]] && echo 1 || echo 0)"
brood_run --tree --report-file report -- true
has "$(<report)" '"guarantee":"'"$guarantee"'"'
for level in best-effort kernel; do
    brood_run --tree --require $level -- true
    wanted=$((status != 0))
    run "$BROOD" doctor --require $level
    is "$status" "$wanted"
done
if "$BROOD" run --pid-namespace -- true; then namespaces=yes; else namespaces=no; fi 2>err.txt
if "$BROOD" run --tree --pids 100 -- true; then pids=yes; else pids=no; fi 2>err.txt
run "$BROOD" doctor --json
[[ $(json checks cgroup_controllers answer) == partly ]] || answers pids $pids # else brood run may have adopted it
answers pid_namespaces $namespaces
answers start yes
answers pidfd yes
answers proc yes
answers pid_1 no
is "$(json checks nofile value)" "$(ulimit -n)"
is "$(json checks kernel value)" "$(uname -r)"
python3 - <<'CHECK' || fail "a check is not as the manual has it"
import json
found = json.load(open("out.txt"))
assert list(found) == ["version", "guarantee", "checks"]
for name, check in found["checks"].items():
    assert list(check) == ["group", "answer", "value", "reason", "remedy"], name
    assert check["group"] in ("trees", "starting", "limits", "streams", "host"), name
    assert check["answer"] in ("yes", "no", "partly", "unknown"), name
    assert check["answer"] != "yes" or check["remedy"] is None, name
    assert check["answer"] in ("yes", "no") or check["reason"], name
CHECK
for name in $(python3 -c 'import json; print(*json.load(open("out.txt"))["checks"])'); do
    sed -n '/^# CHECKS/,/^# JSON/p' "$SRC/man/brood-doctor.1.scd" | grep -qF "*$name*" || fail "the manual lacks $name"
done

# a narrow terminal, and a reader who leaves
run "$BROOD" doctor
[[ $out == Trees* ]] || fail "no verdict"
awk 'length > 60 { exit 1 }' out.txt || fail "wider than 60 columns"
lacks "$out" $'\033'
run bash -c '"$BROOD" doctor | head -1; echo ${PIPESTATUS[0]}'
[[ ${out##*$'\n'} == @(0|1|141) ]] || fail "into head"
is "$err" ""
run sh -c '"$BROOD" doctor >/dev/full'
is "$status" 125
has "$err" "cannot write to standard output"
run sh -c 'trap "" CHLD; "$BROOD" doctor --json' # whoever starts us ignores it
answers start yes
is "$(json guarantee)" "$guarantee"

# used wrongly
run "$BROOD" doctor --require most
is "$status" 125
has "$err" "write best-effort or kernel"
run "$BROOD" doctor me
is "$status" 125
run "$BROOD" doctor --help
is "$status" 0
awk 'length > 80 { exit 1 }' out.txt || fail "the help is wider than 80 columns"

# a program that owns trees has others open as well
run bash -c 'ulimit -n 16; exec "$BROOD" doctor --require kernel'
is "$status" 1

# without descriptors there is nothing to try with, and it says so
run bash -c 'ulimit -n 5; exec "$BROOD" doctor --json' 3<&- 4<&- # nor any that whoever runs the tests has left open
is "$status" 1
is "$(json guarantee)" none
answers nofile partly
has "$(json checks guarantee reason)" "too many open files"

# --- hosts that lack something ---

# elsewhere PROFILE ARGUMENT…: leaves $status as `run` does; false where this machine makes no such host
elsewhere() {
    local kind=$1
    shift
    run "$profile" "$kind" -- "$BROOD" doctor "$@"
    ((status != 77)) || { echo "left out: $kind" >&2; return 1; }
}

# no clone3, no close_range, no cgroup, and a PID 1 that reaps nobody
if elsewhere container --json; then
    is "$status" 0
    is "$(json guarantee)" best-effort
    answers guarantee partly
    answers cgroup2 no
    answers cgroup_start no
    answers close_range no
    has "$(json checks close_range reason)" ENOSYS
    has "$(json checks close_range remedy)" close_range
    answers orphans_reaped partly
    answers memory partly
    answers pids no
    answers cpu no
    answers io no
    elsewhere container --require kernel || fail "it was there"
    is "$status" 1
    has "$out" "Trees are killed whole here: best-effort."
    has "$out" "-> mount -t cgroup2"
    awk 'length > 60 { exit 1 }' out.txt || fail "wider than 60 columns"
fi

# an ordinary user, in a cgroup that is root's. The program has to be where everybody may enter.
cp "$BROOD" "${BROOD_CHILD%/*}/brood"
BROOD=${BROOD_CHILD%/*}/brood
if elsewhere user --json; then
    is "$status" 0
    answers start yes
    answers pid_namespaces no
    if [[ $(json checks cgroup_make answer) == no ]]; then
        is "$(json guarantee)" best-effort
        has "$(json checks guarantee reason)" "needs a cgroup2"
        [[ $(json checks cgroup2 answer) == no ]] || has "$(json checks cgroup_make remedy)" Delegate=yes
    fi
fi

# as PID 1
if elsewhere init --json; then
    answers pid_1 yes
    answers orphans_reaped partly
    is "$(json guarantee)" "$guarantee"
fi

# another namespace's /proc: no tree can be held
if run unshare --pid --fork true && ((status == 0)); then
    run unshare --pid --fork "$BROOD" doctor --json
    is "$status" 1
    is "$(json guarantee)" none
    answers proc no
    has "$(json checks guarantee reason)" "/proc"
    run unshare --pid --fork "$BROOD" doctor
    has "$out" "Trees cannot be owned here."
fi

# what a build for tests can take away
run env BROOD_TEST_WITHOUT=xyzzy "$BROOD" --version
((status != 0)) || skip "not a build with BROOD_FAULTS"
for feature in close_range nosignal pidfd_info pidfd_group shared_memory memfd; do
    run env BROOD_TEST_WITHOUT=$feature "$BROOD" doctor --json
    is "$status" 0
    answers $feature no
done
run env BROOD_TEST_WITHOUT=cgroup "$BROOD" doctor --json --require kernel
is "$status" 1
is "$(json guarantee)" best-effort
answers cgroup2 no
answers cgroup_kill no
