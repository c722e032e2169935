# --idle-timeout: a reader that takes its time is not the command's silence, and gets all of the output.
. "$SRC/tests/cli/lib.bash"

# While nobody reads, the command waits with a full pipe (first), or has ended and left its last output there (second).
for bytes in 400000 100000; do
    mkfifo slow
    "$BROOD" run --idle-timeout 0.4 --stdout slow -- "$BROOD_CHILD" bytes $bytes &
    exec 4<slow
    sleep 1.5 # the time that passes is what is tested
    cat <&4 >copy
    exec 4<&-
    status=0
    wait $! || status=$?
    is "$status" 0
    "$BROOD_CHILD" bytes $bytes | cmp - copy || fail "not all of the output came"
    rm slow
done
