# At a terminal: Ctrl-C, Ctrl-Z, fg, and its modes afterwards. script(1) makes the terminal, a pipe is the keyboard.
. "$SRC/tests/cli/lib.bash"
command -v script >/dev/null || skip "no script(1)"

mkfifo keyboard

# at_terminal COMMAND: by a shell, on a terminal of its own. (bash has background commands ignore SIGINT.)
at_terminal() {
    : >screen
    env --default-signal script -qefc "$1" /dev/null <keyboard >screen 2>&1 &
    terminal=$!
    exec 4>keyboard
}

# type KEYS
type_keys() {
    printf "$1" >&4
}

# shows TEXT [TIMES]: until it is to be seen so often. A terminal that is gone will show no more.
shows() {
    until (($(tr -d '\r' <screen | grep -cF -- "$1") >= ${2-1})); do
        is_gone "$terminal" && { (($(tr -d '\r' <screen | grep -cF -- "$1") >= ${2-1})) && return; fail "should show \"$1\": $(cat screen)"; }
        sleep 0.02
    done
}

# over: the shell has ended; leaves $status.
over() {
    status=0
    wait "$terminal" || status=$?
    exec 4>&-
}

# Ctrl-C reaches the command once, whether it shares our group or not; brood ends as it ends
for own in child group tree; do
    at_terminal "\"$BROOD\" run --limit core=0 --own $own -- \"$BROOD_CHILD\" tell INT"
    shows ready
    type_keys '\003'
    shows "got 02"
    type_keys '\003'
    shows "got 02" 2
    type_keys '\034'
    over
    is "$status" 131
    is "$(grep -c 'got 02' screen)" 2
done

# what is owned by default
at_terminal "\"$BROOD\" run -v -- \"$BROOD_CHILD\" exit 4"
over
is "$status" 4
has "$(cat screen)" "owned: child"
at_terminal "\"$BROOD\" run -v --stdin null --stdout null -- \"$BROOD_CHILD\" exit 4 2>err.txt"
over
has "$(cat err.txt)" "owned: group"

# a loop of a shell ends at Ctrl-C if the command dies of it
cat >loop <<'LOOP'
for turn in 1 2 3; do
    "$BROOD" run -- "$BROOD_CHILD" print "turn $turn" hold
done
echo after
LOOP
at_terminal "bash loop"
shows "turn 1"
shows ready
type_keys '\003'
over
lacks "$(cat screen)" "turn 2"
lacks "$(cat screen)" after

# Ctrl-Z stops both, fg continues both
cat >jobs <<'JOBS'
set -m
"$BROOD" run --own $1 -- "$BROOD_CHILD" trap INT 5 tell CONT
echo "stopped: $?"
fg
echo "ended: $?"
JOBS
for own in child group tree; do
    at_terminal "bash jobs $own"
    shows ready
    type_keys '\032'
    shows "stopped: 148"
    shows "got 18"
    type_keys '\003'
    shows "ended: 5"
    over
done

# while stopped, both are
cat >jobs <<'JOBS'
set -m
"$BROOD" run --own $1 -- "$BROOD_CHILD" ready pause
job=$(jobs -p)
state() { sed 's/.*) \(.\).*/\1/' "/proc/$1/stat"; }
echo "states: $(state "$job")$(state "$(pgrep -P "$job")")"
kill -KILL "$(pgrep -P "$job")"
fg
JOBS
for own in child group; do
    at_terminal "bash jobs $own"
    shows ready
    type_keys '\032'
    shows "states: TT"
    over
    is "$status" 137
done

# a command that suspends itself takes brood along
cat >jobs <<'JOBS'
set -m
"$BROOD" run -- "$BROOD_CHILD" signal TSTP print continued exit 3
echo "stopped: $?"
fg
JOBS
at_terminal "bash jobs"
shows "stopped: 148"
shows continued
over
is "$status" 3

# one that is stopped by SIGSTOP does not, and its time limit holds
at_terminal "\"$BROOD\" run -t 0.3 -- \"$BROOD_CHILD\" stop"
over
is "$status" 124

# SIGTSTP that a process sends to brood stops both
cat >jobs <<'JOBS'
set -m
"$BROOD" run -- "$BROOD_CHILD" print started pause &
job=$!
state() { sed 's/.*) \(.\).*/\1/' "/proc/$1/stat"; }
until grep -q started screen; do :; done
kill -TSTP $job
until [[ $(state $job) == T ]]; do :; done
echo "command: $(state "$(pgrep -P $job)")"
kill -CONT $job
kill -TERM $job
until wait $job; status=$?; ((status != 148)); do :; done # bash may still take it for stopped
exit $status
JOBS
at_terminal "bash jobs"
shows "command: T"
over
is "$status" 143

# a group of its own may not read the terminal; brood says so
at_terminal "\"$BROOD\" run -t 0.5 --own group -- \"$BROOD_CHILD\" line"
shows "--own child leaves it in the terminal's foreground"
over
is "$status" 124

# unless it is given the foreground: then Ctrl-C, Ctrl-Z and fg are for it, and brood follows
at_terminal "\"$BROOD\" run --init -g -- \"$BROOD_CHILD\" ready line exit 6"
shows ready
type_keys 'typed\n'
shows "read: typed"
over
is "$status" 6
cat >jobs <<'JOBS'
set -m
"$BROOD" run --init -g -- "$BROOD_CHILD" tell CONT,INT line ready pause
echo "stopped: $?"
fg
JOBS
at_terminal "bash jobs"
type_keys 'one\n'
shows "read: one"
shows ready
type_keys '\032'
shows "stopped: 148"
shows "got 18"
type_keys '\003'
shows "got 02"
type_keys '\034'
over
is "$status" 131
cat >loop <<'LOOP'
for turn in 1 2 3; do
    "$BROOD" run --init -g -- "$BROOD_CHILD" print "turn $turn" hold
done
LOOP
at_terminal "bash loop"
shows ready
type_keys '\003'
over
lacks "$(cat screen)" "turn 2"

# modes: put back after a death by signal, left alone otherwise
at_terminal "\"$BROOD\" run -q --shell 'stty -echo -icanon; kill -KILL \$\$'; stty -a"
over
lacks "$(cat screen)" "-echo "
lacks "$(cat screen)" "-icanon"
at_terminal "\"$BROOD\" run --shell 'stty -echo; exit 0'; stty -a"
over
has "$(cat screen)" "-echo "
