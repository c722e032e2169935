# Time limits: what is sent, to whom, and what brood exits with.
. "$SRC/tests/cli/lib.bash"

brood_run -t 0.2 -- "$BROOD_CHILD" pause
is "$status" 124
is "$err" "brood run: $BROOD_CHILD pause: timed out after 200ms, ended by SIGTERM"
brood_run -q -t 200ms -- "$BROOD_CHILD" pause
is "$status" 124
is "$err" ""
brood_run -p -t 0.2s -- "$BROOD_CHILD" pause
is "$status" 143
brood_run -t 60 -- "$BROOD_CHILD" exit 3
is "$status" 3
brood_run -t 0 -- "$BROOD_CHILD" exit 3
is "$status" 3

# one that ends in its own way
brood_run -t 0.2 -- "$BROOD_CHILD" trap TERM 3
is "$status" 124
has "$err" "timed out after 200ms, exited with 3"
brood_run -p -t 0.2 -- "$BROOD_CHILD" trap TERM 3
is "$status" 3

# another first signal
brood_run -p -t 0.2 -s INT -- "$BROOD_CHILD" ignore TERM
is "$status" 130
brood_run -p -t 0.2 -s SIGKILL -- "$BROOD_CHILD" ignore TERM
is "$status" 137
brood_run -p -t 0.2 -s 10 -- "$BROOD_CHILD" ignore TERM
is "$status" 138

# one that does not listen, one that is stopped
brood_run -t 0.2 -k 0.2 -- "$BROOD_CHILD" ignore TERM
is "$status" 124
has "$err" "ended by SIGKILL"
brood_run -p -t 0.2 -k 0.2 -- "$BROOD_CHILD" ignore TERM
is "$status" 137
brood_run -p -t 0.2 -k 60 -- "$BROOD_CHILD" stop
is "$status" 143

# --kill-after 0: it may take as long as it likes
start -t 0.1 -k 0 -- "$BROOD_CHILD" tell TERM,USR1
says ready
says "got 15"
kill -USR1 "$brood"
says "got 10"
kill -KILL "$(pgrep -P "$brood")"
reap
is "$status" 124

# what a stop reaches
brood_run -t 0.3 --own group -- "$BROOD_CHILD" daemon forever pause
is "$status" 124
is_gone "$out" || fail "$out is of the group, and lives"
brood_run -t 0.3 -k 0.1 --own group -- "$BROOD_CHILD" stubborn pause
is "$status" 124
is_gone "$out" || fail "$out is of the group, and lives"
brood_run -t 0.3 -- "$BROOD_CHILD" daemon forever pause </dev/null
is_gone "$out" || fail "where there is no terminal, a group is owned"
brood_run -t 0.3 --own child --stdout out-file -- "$BROOD_CHILD" daemon forever pause
is "$status" 124
! is_gone "$(cat out-file)" || fail "the process alone was owned"
kill -KILL "$(cat out-file)"
brood_run -t 0.3 --own group --stdout out-file -- "$BROOD_CHILD" escape forever sleep 60000
is "$status" 124
! is_gone "$(cat out-file)" || fail "one that left the group is not reached, says the manual"
kill -KILL "$(cat out-file)"

# a command that ends by itself ends nobody else
brood_run --stdout out-file -t 60 -- "$BROOD_CHILD" daemon forever
is "$status" 0
! is_gone "$(cat out-file)" || fail "it had nothing to do with it"
kill -KILL "$(cat out-file)"

# asked again and again: SIGKILL is due from the first time on
"$BROOD" run -k 0.5 -- "$BROOD_CHILD" ignore TERM print ready pause >out.txt 2>err.txt &
brood=$!
until_true grep -q ready out.txt
command=$(pgrep -P "$brood")
until is_gone "$command"; do
    kill -TERM "$brood"
    sleep 0.1
done
wait "$brood" || status=$?
has "$(cat err.txt)" "ended by SIGKILL"
