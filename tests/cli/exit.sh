# brood run ends as its command did.
. "$SRC/tests/cli/lib.bash"

for code in 0 1 7 124 125 255; do
    brood_run -- "$BROOD_CHILD" exit $code
    is "$status" $code
    is "$err" ""
done

# by a signal: 128 + n, and a word about those that one would not know of
brood_run -- "$BROOD_CHILD" signal KILL
is "$status" 137
has "$err" "ended by SIGKILL"
brood_run -- "$BROOD_CHILD" signal SEGV
is "$status" 139
has "$err" "ended by SIGSEGV"
brood_run -q -- "$BROOD_CHILD" signal SEGV
is "$status" 139
is "$err" ""
brood_run -- "$BROOD_CHILD" signal PIPE
is "$status" 141
is "$err" ""
brood_run -- "$BROOD_CHILD" signal INT
is "$status" 130
is "$err" ""
brood_run -- "$BROOD_CHILD" signal 40
is "$status" 168

# not started
for words in 'ls -la' 'A=5' 'cd'; do
    brood_run "$words"
    is "$status" 127
    has "$err" " (" # what may have been meant
done
brood_run 'ls -la'
has "$err" "--shell"
# nobody reads what brood says: it still ends as the command did
mkfifo unread
: <unread &
exec 5>unread
wait $!
status=0
"$BROOD" run -v -- "$BROOD_CHILD" exit 7 2>&5 || status=$?
exec 5>&-
is "$status" 7
# too few descriptors for libuv, which would abort; and for the start
for few in 6 12; do
    run bash -c 'ulimit -n "$1" && exec "${@:2}"' limited "$few" "$BROOD" run -- true
    is "$status" 125
    has "$err" "oo many open files"
done
brood_run no-such-program-anywhere
is "$status" 127
is "$err" 'brood run: exec "no-such-program-anywhere": not found in PATH'
brood_run ./no-such-program
is "$status" 127
brood_run /etc
is "$status" 126
has "$err" "it is a directory"
touch plain
if [[ -x plain ]]; then rm plain; else
    brood_run ./plain
    is "$status" 126
    has "$err" "chmod +x makes it executable"
fi
printf '#!/no/such/interpreter\n' >script
chmod +x script
brood_run ./script
is "$status" 127
has "$err" "interpreter"
printf 'exit 9\n' >no-shebang # as execvp has it
chmod +x no-shebang
brood_run ./no-shebang
is "$status" 9
brood_run --cwd /no/such/directory true
is "$status" 125
is "$err" 'brood run: chdir "/no/such/directory": No such file or directory'

# the PATH that counts is the command's
mkdir bin
ln -s "$BROOD_CHILD" bin/only-here
brood_run only-here exit 5
is "$status" 127
brood_run --env "PATH=$PWD/bin" only-here exit 5
is "$status" 5

# --verbose says what is going on, --quiet nothing
brood_run -v -- "$BROOD_CHILD" exit 3
[[ ${err%%$'\n'*} =~ ^"brood run: started $BROOD_CHILD exit 3 (pid "[0-9]+", owned: group)"$ ]] || fail "started"
[[ ${err##*$'\n'} =~ ^"brood run: $BROOD_CHILD exit 3: exited with 3, after "[0-9.]+(ms|s)$ ]] || fail "ended"

# a host that ignores SIGCHLD does not cost the exit status
run bash -c 'trap "" CHLD; exec "$BROOD" run -- "$BROOD_CHILD" exit 6'
is "$status" 6
# and what was ignored stays so (nohup), what was not is not
run bash -c 'trap "" HUP USR1; exec "$BROOD" run -- "$BROOD_CHILD" mask'
ignored=$((16#$(sed -n 's/^SigIgn:\s*//p' out.txt)))
is $((ignored & (1 | 1 << 9 | 1 << 12))) $((1 | 1 << 9))
blocked=$(sed -n 's/^SigBlk:\s*//p' out.txt)
is "$blocked" 0000000000000000
