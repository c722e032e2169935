# Where its input comes from, and where its output goes.
. "$SRC/tests/cli/lib.bash"

# inherited: nothing is copied
run sh -c 'echo input | "$BROOD" run -- "$BROOD_CHILD" cat both'
is "$out" $'input\nout'
is "$err" err
run bash -c '"$BROOD" run -- "$BROOD_CHILD" stat 0 <out.txt'
has "$out" "file"

# files
echo text >in-file
brood_run --stdin in-file --stdout out-file --stderr err-file -- "$BROOD_CHILD" cat both
is "$out$err" ""
is "$(cat out-file)" $'text\nout'
is "$(cat err-file)" err
brood_run --stdout out-file --stderr err-file -- "$BROOD_CHILD" both
is "$(cat out-file err-file)" $'out\nerr'
brood_run --append --stdout out-file --stderr err-file -- "$BROOD_CHILD" both
is "$(cat out-file err-file)" $'out\nout\nerr\nerr'
brood_run --append --stdout out-file -- "$BROOD_CHILD" stat 1
is "$(tail -1 out-file | grep -c append)" 1

# null
brood_run --stdin null --stdout null --stderr null -- "$BROOD_CHILD" cat both
is "$status$out$err" 0
echo text >null
brood_run --stdin ./null -- "$BROOD_CHILD" cat
is "$out" text

# one for both
brood_run --stderr-to-stdout -- "$BROOD_CHILD" both
is "$out$err" $'out\nerr'
brood_run --stdout both-file --stderr both-file -- "$BROOD_CHILD" both
is "$(cat both-file)" $'out\nerr'
brood_run --stdout both-file --stderr-to-stdout -- "$BROOD_CHILD" both print more
is "$(cat both-file)" $'out\nerr\nmore'

# what cannot be opened
brood_run --stdin no-such-file true
is "$status" 125
is "$err" "brood run: open no-such-file: No such file or directory"
brood_run --stdout no-such-directory/x true
is "$status" 125
brood_run --report-file no-such-directory/x touch touched
is "$status" 125
[[ ! -e touched ]] || fail "it was started although its report cannot be written"

# a FIFO ends when the command ends, whatever brood has open
mkfifo fifo
cat fifo >from-fifo &
brood_run --stdout fifo -- "$BROOD_CHILD" print hello close-stdout
wait $!
is "$(cat from-fifo)" hello

# closed ones
run bash -c '"$BROOD" run -- "$BROOD_CHILD" exit 3 <&- >&- 2>&-'
is "$status" 3
run bash -c '"$BROOD" run --stdout out-file -- "$BROOD_CHILD" fds <&- >&-'
is "$status" 0
is "$(head -1 out-file)" "0 /dev/null"
has "$(cat out-file)" "1 $PWD/out-file"
run bash -c '"$BROOD" run --report-file report -v -- "$BROOD_CHILD" print x <&- >&- 2>&-'
is "$status" 0
has "$(cat report)" '"code":0'

# into head
run bash -c '"$BROOD" run -- yes | head -1; echo ${PIPESTATUS[0]}'
is "$out" $'y\n141'
is "$err" ""

# one file under two names
brood_run --stdout one --stderr ./one -- "$BROOD_CHILD" both both
is "$(cat one)" $'out\nerr\nout\nerr'
brood_run --stdout one --report-file ./one -- "$BROOD_CHILD" both
is "$status" 125
has "$err" "would go to one file"
brood_run --append --stdout two --report-file two -- "$BROOD_CHILD" print x
is "$(head -1 two)" x
has "$(tail -1 two)" '"exit_status":0'
for option in --stdin --stdout --stderr --report-file; do
    brood_run $option - -- true
    is "$status" 125
    has "$err" "a file's name"
done
