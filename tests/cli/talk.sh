# `brood talk`: lines to messages and back, ends, complaints.
. "$SRC/tests/cli/lib.bash"
peer=${BROOD%/*}/brood-peer

# talk LINES ARGUMENT…
talk() {
    local lines=$1
    shift
    status=0
    printf "$lines" | "$BROOD" talk "$@" >out.txt 2>err.txt || status=$?
    out=$(cat out.txt) err=$(cat err.txt)
}

talk '{"a": [1, 2]}\n\n  \n"x"\n17' "$peer" echo
is "$status" 0
is "$out" $'{"a":[1,2]}\n"x"\n17'
is "$err" ""

talk '{"a":[1,null]}\n' --advanced -- "$peer" echo
is "$out" '{"a":[1,null]}'

talk 'one\n"two" \\ \n' --raw -- "$peer" echo
is "$out" $'one\n"two" \\ '

# a program that knows nothing of a channel
for program in cat "echo hi"; do
    talk '{"data":[1]}\n' $program
    is "$status" 0
    is "$out" ""
    has "$err" "brood talk: the program has sent no message: what it prints is none"
done
talk '' "$peer" echo
is "$err" ""

# many, through pipes that are full
seq 1 100000 >numbers
run bash -c '"$1" talk -- "$2" echo <numbers >echoed' - "$BROOD" "$peer"
is "$status" 0
cmp numbers echoed || fail "not what was sent"
run bash -c '"$1" talk -- "$2" echo <numbers | head -n1' - "$BROOD" "$peer"
is "$out" 1
is "$err" ""

# it ends as the program does, and its own output goes to standard error
talk '' "$peer" send '"bye"' die
is "$status" 137
has "$err" "ended by SIGKILL"
talk '1\n' sh -c 'echo hello; exit 7'
is "$status" 7
is "$out" ""
is "$err" hello
talk '1\n' "$BROOD_CHILD" exit 3
is "$status" 3

# what is wrong is said, and what came before it is done
talk '1\n{bad\n2\n' "$peer" echo
is "$status" 125
is "$out" 1
has "$err" "line 2 is no JSON: column 2"
talk '\xff\n' -r -- "$peer" echo
is "$status" 125
has "$err" "line 1 is not UTF-8: column 1"
talk '' "$peer" raw 7b6261640a
is "$status" 125
has "$err" "broke the format"
talk '' ./none
is "$status" 127
has "$err" 'exec "./none"'
run "$BROOD" talk
is "$status" 125
has "$err" "no program"
run "$BROOD" talk --bogus -- true
is "$status" 125
has "$err" "--bogus"
run "$BROOD" talk --help
is "$status" 0
has "$out" "Usage: brood talk"
awk 'length > 80 { exit 1 }' out.txt || fail "the help is wider than 80 columns"
run bash -c '"$1" talk -- "$2" send 1 >&-' - "$BROOD" "$peer" </dev/null
is "$status" 125
has "$err" "cannot write"
is "$(wc -l <err.txt)" 1
run bash -c '"$1" talk -- "$2" send 1 >/dev/full' - "$BROOD" "$peer" </dev/null
is "$status" 125
has "$err" "No space left on device"
is "$(wc -l <err.txt)" 1

# signals are the program's, and brood ends as it does
mkfifo input
"$BROOD" talk -- "$BROOD_CHILD" trap TERM 5 hold <input 2>err.txt &
brood=$!
exec 4>input
until_true grep -q ready err.txt
kill -TERM "$brood"
status=0
wait "$brood" || status=$?
exec 4>&-
is "$status" 5

# also while nobody reads what it says
mkfifo unread
"$BROOD" talk -- "$peer" send-many 1000000 <input >unread 2>err.txt &
brood=$!
exec 4>input 5<unread
read -r first <&5
is "$first" 0
kill -TERM "$brood"
status=0
wait "$brood" || status=$?
exec 4>&- 5<&-
is "$status" 143

# a program that ends while nobody types: brood does not wait for a line
"$BROOD" talk -- "$BROOD_CHILD" exit 3 <input &
brood=$!
exec 4>input
status=0
wait "$brood" || status=$?
exec 4>&-
is "$status" 3

# a worker's main
sum=${BROOD%/*}/brood-sum
talk '{"id":1,"data":[1,2.5]}\n{"id":"x","data":[null]}\n{"data":[]}\n[]\n' "$sum"
is "$status" 0
is "$out" $'{"id":1,"result":3.5}\n{"id":"x","error":"a value of the wrong type"}\n{"result":0}\n{"result":0}'
talk '{"id":7,"data":[1,2]}\n' --advanced -- "$sum"
is "$out" '{"id":7,"result":3}'
seq 1 20000 | sed 's/.*/{"id":&,"data":[&,1]}/' >tasks
run bash -c '"$1" talk -- "$2" <tasks >results' - "$BROOD" "$sum"
is "$status" 0
is "$(wc -l <results)" 20000
is "$(tail -n1 results)" '{"id":20000,"result":20001}'
run "$sum"
is "$status" 1

# a program that answers later
node=$(command -v node) || skip "no node"
cat >later.js <<'END'
process.on('message', (m) => setTimeout(() => process.send({ id: m.id, sum: m.data.reduce((a, b) => a + b, 0) }), 50));
END
talk '{"id":1,"data":[1,2,3]}\n{"id":2,"data":[]}\n' --replies -- "$node" later.js
is "$status" 0
is "$out" $'{"id":1,"sum":6}\n{"id":2,"sum":0}'

# Node drops what it has queued when its channel is closed: so it is not closed before
seq 1 5000 | sed 's/.*/{"id":&,"data":[&]}/' >tasks
run bash -c '"$1" talk -- "$2" "$3" <tasks >results' - "$BROOD" "$node" "$SRC/examples/worker.js"
is "$status" 0
is "$(wc -l <results)" 5000
talk 'null\n' "$node" "$SRC/examples/worker.js"
is "$status" 0
has "$out" '"error"'

# answers that do not come
talk '1\n' -- "$node" -e 'process.on("message", () => 0).on("disconnect", () => process.exit(3))'
is "$status" 3
has "$err" "it had not answered for a second when it was disconnected: --replies waits"
talk '1\n2\n' --replies -- "$node" -e 'process.on("message", () => process.exit(0))'
is "$status" 125
has "$err" "messages unanswered"

# a Node program makes the pipe that it shares with us non-blocking
cat >chatty.js <<'END'
console.log('worker up');
process.on('message', (m) => process.send({ id: m.id, pad: 'x'.repeat(1000) }));
END
run bash -c '"$1" talk -- "$2" chatty.js <tasks 2>&1 | cat >both' - "$BROOD" "$node"
is "$(grep -c '"pad"' both)" 5000

# a reader that takes its time is not the program's silence
mkfifo late
"$BROOD" talk -- "$node" chatty.js <tasks >late 2>/dev/null &
exec 5<late
sleep 1.5 # the time that passes is what is tested
is "$(grep -c '"pad"' <&5)" 5000
exec 5<&-
wait $!

# what a newcomer writes
run "$BROOD" talk chatty.js
is "$status" 127
has "$err" "brood talk -- node chatty.js"
