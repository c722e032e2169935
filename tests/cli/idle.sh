# --idle-timeout: output goes through pipes, and what comes out is what went in.
. "$SRC/tests/cli/lib.bash"

brood_run --idle-timeout 0.2 -- "$BROOD_CHILD" print a err b pause
is "$status" 124
is "$out" a
has "$err" $'b\n'
has "$err" "wrote nothing for 200ms and was stopped, ended by SIGTERM"
brood_run --idle-timeout 0.2 -p -q -- "$BROOD_CHILD" pause
is "$status" 143
is "$err" ""

# whoever writes lives
brood_run --idle-timeout 2 -- "$BROOD_CHILD" tick 14 200
is "$status" 0
is "$(grep -c tick out.txt)" 14
is "$err" ""

# all of it
brood_run --idle-timeout 60 -- "$BROOD_CHILD" bytes 3000000 exit 5
is "$status" 5
"$BROOD_CHILD" bytes 3000000 | cmp - out.txt || fail "the output has changed"

# slots
brood_run --idle-timeout 60 --stdout file --stderr file -- "$BROOD_CHILD" both both
is "$(cat file)" $'out\nerr\nout\nerr'
brood_run --idle-timeout 60 --stderr-to-stdout -- "$BROOD_CHILD" both
is "$out$err" $'out\nerr'
brood_run --idle-timeout 60 --stdout null --stderr null -- "$BROOD_CHILD" both
is "$status$out$err" 0
brood_run --idle-timeout 60 --stdout file --append -- "$BROOD_CHILD" print more
is "$(tail -1 file)" more
run sh -c '"$BROOD" run --idle-timeout 60 -- "$BROOD_CHILD" both >&-'
is "$status$out$err" 0err

# nobody reads: the command meets SIGPIPE, as without brood
run bash -c '"$BROOD" run --idle-timeout 60 -- yes | head -1; echo ${PIPESTATUS[0]}'
is "$out" $'y\n141'
is "$err" ""
# nobody can write
run sh -c '"$BROOD" run --idle-timeout 60 -- yes >/dev/full'
is "$status" 125
has "$err" "cannot copy the command's output on: No space left on device"

# a reader that never reads does not hold up a timeout
mkfifo stuck
"$BROOD" run -t 0.4 --idle-timeout 60 -q --stdout stuck -- yes &
exec 4<stuck
status=0
wait $! || status=$?
is "$status" 124
exec 4<&-

# nor, once the command has ended, a signal
"$BROOD" run --idle-timeout 60 -v --stdout stuck -- "$BROOD_CHILD" bytes 100000 2>err.txt &
brood=$!
exec 4<stuck
until_true grep -q started err.txt
until_true is_gone "$(sed -n 's/.*(pid \([0-9]*\).*/\1/p' err.txt)"
kill -TERM "$brood"
status=0
wait "$brood" || status=$?
is "$status" 143
exec 4<&-

# a daemon that holds the output is not waited for
brood_run --idle-timeout 60 -- "$BROOD_CHILD" daemon forever
is "$status" 0
! is_gone "$out" || fail "nobody should have ended it"
kill -KILL "$out"

# a signal is passed on, although there are threads that could get it
"$BROOD" run --idle-timeout 60 -v -- "$BROOD_CHILD" hold >/dev/null 2>err.txt &
brood=$!
until_true grep -q started err.txt
kill -TERM "$brood"
status=0
wait "$brood" || status=$?
is "$status" 143
has "$(cat err.txt)" "passed SIGTERM on"

# and where nobody reads, it is the command that meets SIGPIPE: brood lives to tell
run bash -c '"$BROOD" run --idle-timeout 60 --report-file report -- yes | head -1'
has "$(cat report)" '"exit_status":141'
