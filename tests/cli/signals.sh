# Signals that are sent to brood go on to its command.
. "$SRC/tests/cli/lib.bash"

start -- "$BROOD_CHILD" tell HUP,INT,QUIT,USR1,USR2,ALRM,TERM,CONT,28,40
says ready
for number in 1 2 3 10 12 14 15 18 28 40; do
    kill -"$number" "$brood"
    says "got $(printf %02d "$number")"
done
kill -KILL "$(pgrep -P "$brood")"
reap
is "$status" 137

# it waits for the command, and ends as it does, without a word
start -- "$BROOD_CHILD" hold
says ready
kill -TERM "$brood"
reap
is "$status" 143
is "$err" ""
start -- "$BROOD_CHILD" trap TERM 9
says ready
kill -TERM "$brood"
reap
is "$status" 9
start -- "$BROOD_CHILD" trap INT 0
says ready
kill -INT "$brood"
reap
is "$status" 0

# sent by a process, it is not the terminal's Ctrl-C: 130 is an exit status here, and no death by SIGINT
start -- "$BROOD_CHILD" hold
says ready
kill -INT "$brood"
reap
is "$status" 130

# to the group, if that is owned, and else not
start --own group -- "$BROOD_CHILD" daemon forever ready pause
read -r daemon <&3
says ready
kill -TERM "$brood"
reap
is "$status" 143
until_true is_gone "$daemon"
start --own child -- "$BROOD_CHILD" daemon forever ready pause
read -r daemon <&3
says ready
kill -TERM "$brood"
until_true is_gone "$brood"
! is_gone "$daemon" || fail "the signal was for the command alone"
kill -KILL "$daemon"
reap
is "$status" 143
start --own none -- "$BROOD_CHILD" hold
says ready
kill -TERM "$brood"
reap
is "$status" 143

# -k: SIGTERM is not the last word
start -k 0.1 -- "$BROOD_CHILD" ignore TERM
says ready
kill -TERM "$brood"
reap
is "$status" 137

# what brood was started to ignore, it ignores, and so does the command
mkfifo ignoring
(trap '' INT HUP; exec "$BROOD" run -- "$BROOD_CHILD" hold) >ignoring &
brood=$!
exec 3<ignoring
says ready
kill -INT "$brood"
kill -HUP "$brood"
kill -INT "$(pgrep -P "$brood")"
kill -TERM "$brood"
err=
reap
is "$status" 143

# blocked signals are not handed on, and do not keep brood from hearing them
if command -v perl >/dev/null; then
    run perl -e 'use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM, SIGUSR1)); exec @ARGV' \
        "$BROOD" run -t 0.2 -p -- "$BROOD_CHILD" mask pause
    is "$status" 143
    has "$out" "0000000000000000"
fi

# --verbose tells
start -v -- "$BROOD_CHILD" tell USR1
says ready
kill -USR1 "$brood"
says "got 10"
kill -TERM "$brood"
reap
has "$err" "brood run: passed SIGUSR1 on"
has "$err" "brood run: passed SIGTERM on"
has "$err" "ended by SIGTERM"
