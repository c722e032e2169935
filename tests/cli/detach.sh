# --detach: start, print the pid, leave.
. "$SRC/tests/cli/lib.bash"

# nothing of ours is held: the substitution ends although the command lives
pid=$("$BROOD" run --detach -- "$BROOD_CHILD" hold)
! is_gone "$pid" || fail "$pid should live"
is "$(tr '\0' ' ' <"/proc/$pid/cmdline")" "$BROOD_CHILD hold "
is "$(readlink "/proc/$pid/fd/0") $(readlink "/proc/$pid/fd/1") $(readlink "/proc/$pid/fd/2")" "/dev/null /dev/null /dev/null"
kill -TERM "$pid"
until_true is_gone "$pid"

# a session of its own; files if they are given
mkfifo told
"$BROOD" run --detach --stdout told --stderr-to-stdout -- "$BROOD_CHILD" session both >out.txt &
told=$(cat told)
wait $!
[[ $told =~ ^pid\ ([0-9]+)$'\n'pgid\ ([0-9]+)$'\n'sid\ ([0-9]+)$'\n'tty\ none$'\n'out$'\n'err$ ]] || fail "$told"
is "${BASH_REMATCH[1]} ${BASH_REMATCH[1]}" "${BASH_REMATCH[2]} ${BASH_REMATCH[3]}"
is "$(cat out.txt)" "${BASH_REMATCH[1]}"

# with the rest of what run can do
"$BROOD" run --detach --stdout told --env A=5 --cwd / -v -- "$BROOD_CHILD" getenv A cwd >out.txt 2>err.txt &
is "$(cat told)" $'5\n/'
wait $!
has "$(cat err.txt)" "owned: none"

# and no other descriptors
exec 7</dev/null
"$BROOD" run --detach --stdout told -- "$BROOD_CHILD" fds >out.txt &
is "$(cut -d' ' -f1 told | sort | paste -sd ' ')" "0 1 2"
wait $!
exec 7<&-

# not started
brood_run --detach -- no-such-program
is "$status" 127
is "$out" ""
has "$err" "not found in PATH"
brood_run --detach --cwd /no/such -- true
is "$status" 125

# its pid could not be told
run sh -c '"$BROOD" run --detach -- "$BROOD_CHILD" hold >/dev/full'
is "$status" 125
[[ $err =~ started\ pid\ ([0-9]+),\ but\ cannot\ write ]] || fail "the pid"
kill -KILL "${BASH_REMATCH[1]}"

mkfifo unread
: <unread &
exec 5>unread
wait $!
status=0
"$BROOD" run --detach -- "$BROOD_CHILD" hold >&5 2>err.txt || status=$?
exec 5>&-
is "$status" 125
[[ $(cat err.txt) =~ started\ pid\ ([0-9]+),\ but\ cannot\ write ]] || fail "the pid"
kill -KILL "${BASH_REMATCH[1]}"

# as another user the start is not waited for on the spot
if [[ $(id -u) == 0 ]]; then
    pid=$("$BROOD" run --detach --user nobody -- sleep 60)
    ! is_gone "$pid" || fail "$pid should live"
    is "$(stat -c %U "/proc/$pid")" nobody
    kill -KILL "$pid"
    brood_run --detach --user nobody --env PATH=/usr/bin:/bin -- no-such-program
    is "$status" 127
    is "$out" ""
fi
