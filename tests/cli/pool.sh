# `brood pool`: tasks in, outcomes out; what goes wrong with a line, a worker, a reader; signals.
. "$SRC/tests/cli/lib.bash"
worker=${BROOD%/*}/brood-worker sum=${BROOD%/*}/brood-sum peer=${BROOD%/*}/brood-peer

# pool TASKS ARGUMENT…
pool() {
    local tasks=$1
    shift
    status=0
    printf "$tasks" | "$BROOD" pool "$@" >out.txt 2>err.txt || status=$?
    out=$(cat out.txt) err=$(cat err.txt)
}

# begun now, looked at in the end: a worker that is to say that it is ready has ten seconds
"$BROOD" pool -w1 --ready -- sleep 1000 <<<'{}' >/dev/null 2>unready.txt &
unready=$!
trap 'kill -KILL "$unready"' EXIT

# one for each line, whichever comes first
pool '{"data":[1,2]}\n\n  \n{"data":[3]}\n{"data":[null]}\n{"data":[]}' -w2 -- "$sum"
is "$status" 1
is "$(sort out.txt)" '{"id":1,"result":3}
{"id":4,"result":3}
{"id":5,"error":"a value of the wrong type","fate":"failed","attempts":1}
{"id":6,"result":0}'
has "$err" "3 done, 1 failed, "
is "$(wc -l <err.txt)" 1
pool '' -- "$sum"
is "$status" 0
is "$out" ""
has "$err" "there were no tasks: they are lines of standard input"
lacks "$err" "(<"
printf '{"data":[1]}\n' >tasks.ndjson
echo 'process.exit(0)' >w.js
pool '' "$sum" tasks.ndjson
has "$err" "they are lines of standard input (< tasks.ndjson)"
pool '' "$sum" w.js
lacks "$err" "(<"
pool '{"data":[1]}\n' -q --advanced -- "$sum"
is "$out" '{"id":1,"result":1}'
is "$err" ""

# lines that are no tasks
pool '{"data":[1]}\n[1]\n{"id":3}\n{"a":}\n{"data":[5]}\n' -qk -w1 -- "$sum"
is "$status" 1
is "$out" '{"id":1,"result":1}
{"id":2,"error":"it is no object (--wrap sends any value)","fate":"refused","attempts":0}
{"id":3,"error":"it has an id of its own, or a name twice (--wrap sends it as it is)","fate":"refused","attempts":0}
{"id":4,"error":"it is no JSON: column 6","fate":"refused","attempts":0}
{"id":5,"result":5}'

# in order, though the first is the last to be done
pool '{"do":"wait go"}\n{"do":"x"}\n{"do":"x"}\n{"do":"once go"}\n{"do":"x"}\n' -qk -w2 --attempts 2 -- "$worker"
is "$status" 0
is "$out" '{"id":1,"result":1}
{"id":2,"result":2}
{"id":3,"result":3}
{"id":4,"result":4}
{"id":5,"result":5}'

# workers that crash, and hang
pool '{"do":"kill 11"}\n{"do":"exit 3"}\n{"do":"hang"}\n{"do":"garbage"}\n{"do":"x"}\n{"do":"fail"}\n' \
    -k -w2 --attempts 1 --task-timeout 200ms -- "$worker"
is "$status" 1
is "$out" '{"id":1,"error":"its worker was ended by SIGSEGV","fate":"crashed","attempts":1}
{"id":2,"error":"its worker exited with code 3","fate":"crashed","attempts":1}
{"id":3,"error":"it ran longer than it may","fate":"timed out","attempts":1}
{"id":4,"error":"its worker broke the format of the channel","fate":"crashed","attempts":1}
{"id":5,"result":5}
{"id":6,"error":"no luck","fate":"failed","attempts":1}'
has "$err" "1 done, 1 failed, 3 crashed, 1 timed out, "

# what a worker prints is no result; and it is told to be ready
pool '{"do":"x"}\n' -q --ready -- "$worker" ready
is "$out" '{"id":1,"result":1}'
pool '{"data":[1]}\n' -q -w1 --attempts 1 -- sh -c 'echo hello; exit 7'
is "$out" '{"id":1,"error":"its worker exited with code 7","fate":"crashed","attempts":1}'
has "$err" hello

# workers that say what is no answer, or nothing
hint='a worker sent a message that is no answer: send {id, result}, with the id of the task'
printf '{"n":7}\n{"n":8}\n' | "$BROOD" pool -w2 -- "$peer" echo >out.txt 2>err.txt &
until_true grep -qF "$hint" err.txt
kill -TERM $!
until_true grep -q 'once more' err.txt
kill -TERM $!
wait $! || true
is "$(grep -cF "$hint" err.txt)" 1
lacks "$(<err.txt)" "no worker has answered"
pool '{"n":7}\n' --attempts 1 --task-timeout 100ms -- sleep 1000
is "$status" 1
has "$err" "no worker has answered a task: either it failed first, or it does not speak Node's channel"
pool '{"do":"fail"}\n{"do":"hang"}\n' -w1 --attempts 1 --task-timeout 1s -- "$worker"
has "$err" "1 failed, 1 timed out"
lacks "$err" "no worker has answered"

# no worker
pool '{"a":1}\n{"a":2}\n' ./none
is "$status" 127
is "$out" ""
has "$err" 'exec "./none"'
has "$err" "0 done, 2 not done"
pool '{"a":1}\n' -w1 --attempts 100 -- "$worker" exit 9
is "$status" 125
has "$err" "a worker exited with code 9 before it had answered anything"

# wrong use
run "$BROOD" pool
is "$status" 125
has "$err" "no worker"
for words in "--workers 0" "--workers 3..2" "--workers x..2" "--prefetch 65" "--attempts 0" "--recycle x" "--task-timeout x"; do
    run "$BROOD" pool $words -- true </dev/null
    is "$status" 125
    has "$err" "${words%% *}"
done
run "$BROOD" pool --jobs 4 true
has "$err" "--workers"
run "$BROOD" pool --help
is "$status" 0
has "$out" "Usage: brood pool"
awk 'length > 80 { exit 1 }' out.txt || fail "the help is wider than 80 columns"
run bash -c 'echo "{\"data\":[1]}" | "$1" pool -q -- "$2" >/dev/full' - "$BROOD" "$sum"
is "$status" 125
has "$err" "No space left on device"
run bash -c 'echo "{\"data\":[1]}" | "$1" pool -- "$2" >/dev/full' - "$BROOD" "$sum"
has "$err" "0 of 1 results written, 1 worker, "
lacks "$err" "done"
run bash -c 'echo "{\"data\":[1]}" | "$1" pool -q -- "$2" >&-' - "$BROOD" "$sum"
is "$status" 125
has "$err" "cannot write"

# many, through pipes that are full, each once; and a file of any size passes through the same memory
seq 1 30000 | sed 's/.*/{"data":[&,1]}/' >tasks
run bash -c '"$1" pool -w2 --prefetch 8 -- "$2" <tasks | cat >results' - "$BROOD" "$sum"
is "$status" 0
sed 's/.*"result":\(.*\)}/\1/' results | sort -n | cmp - <(seq 2 30001) || fail "not what was to be done"
run bash -c '"$1" pool -qk -w2 --prefetch 8 -- "$2" <tasks >results' - "$BROOD" "$sum"
sed 's/.*"result":\(.*\)}/\1/' results | cmp - <(seq 2 30001) || fail "not in order"
run bash -c '"$1" pool -qk -w2 --recycle 1000 --prefetch 8 -- "$2" <tasks | tail -n1' - "$BROOD" "$sum"
is "$out" '{"id":30000,"result":30001}'
run bash -c '"$1" pool -w2 -- "$2" <tasks | head -n2' - "$BROOD" "$sum"
is "$(wc -l <out.txt)" 2
lacks "$err" "cannot"

# signals: what runs is finished, nothing else begins
mkfifo input
begin() {
    rm -f go running
    env --default-signal "$BROOD" pool -w1 -- "$worker" <input >out.txt 2>err.txt &
    brood=$!
    exec 4>input
    printf '{"do":"hold running go"}\n{"do":"x"}\n{"do":"x"}\n' >&4
    until_true test -e running
}
interrupt() {
    kill "-$1" "$brood"
    until_true grep -q "once more" err.txt
}
finish() {
    status=0
    wait "$brood" || status=$?
    exec 4>&-
    out=$(cat out.txt) err=$(cat err.txt)
}
begin
interrupt INT
touch go
finish
is "$status" 130
is "$out" '{"id":1,"result":1}'
has "$err" "1 done, 2 not done"
has "$err" "SIGINT: waiting for the 1 that runs; once more stops it"
begin
interrupt INT
kill -INT "$brood"
finish
is "$status" 130
is "$out" ""
begin
interrupt TERM # once: what runs has five seconds
finish
is "$status" 143
is "$out" ""
has "$err" "0 done, 3 not done"
has "$err" "SIGTERM: waiting for the 1 that runs, 5 s at most; once more stops it"

# what had not been read is told
rest() {
    rm -f go running
    env --default-signal "$BROOD" pool -w1 -- "$worker" <"$1" >out.txt 2>err.txt &
    brood=$!
    until_true test -e running
    interrupt INT
    touch go
    finish
    is "$status" 130
}
{
    echo '{"do":"hold running go"}'
    seq 30000 | sed 's/.*/{"do":"x"}/'
} >long
rest long
has "$err" "1 done, "
has "$err" "; the rest of the input was not read"
head -n 3 long >short
rest short
has "$err" "1 done, 2 not done"
lacks "$err" "rest"

# a reader that does not read: the first signal waits for it, the second does not
mkfifo output
env --default-signal "$BROOD" pool -w1 -- "$sum" <tasks >output 2>err.txt &
brood=$!
exec 5<output
position=
stuck() { # it has read some of the tasks, and does not go on
    local before=$position
    sleep 0.1
    position=$(grep -w pos "/proc/$brood/fdinfo/0")
    [[ $position == "$before" && $position != *[^0-9]0 ]]
}
until_true stuck
until is_gone "$brood"; do
    kill -INT "$brood"
    sleep 0.05
done
finish
is "$status" 130
exec 5<&-

# how it goes
(for i in 1 2 3; do echo '{"do":"x"}'; sleep 0.5; done) | "$BROOD" pool -q --progress -- "$worker" >out.txt 2>err.txt
has "$(head -n1 err.txt)" '{"done":'
has "$(head -n1 err.txt)" '"failed":0,"running":'

# a worker that has never said that it is ready
until_true grep -qF 'it has not sent "ready": leave --ready out, or send it' unready.txt
kill -TERM "$unready"
wait "$unready" || true
trap - EXIT
is "$(grep -c ready unready.txt)" 1

# a trace
pool '{"do":"x"}\n{"do":"exit 1"}\n' -q -w1 --attempts 1 --trace trace.json -- "$worker"
python=$(command -v python3) || skip "no python3"
printf '{"data":[1,2]}\n{"data":[null]}\n' | "$BROOD" pool -qk -w2 -- "$python" "$SRC/examples/worker.py" >out.txt || true
is "$(head -n1 out.txt)" '{"id":1,"result":3}'
has "$(tail -n1 out.txt)" '"fate":"failed"'
"$python" - <<'END' || fail "not a trace: $(cat trace.json)"
import json
events = json.load(open("trace.json"))
tasks = {e["name"]: e for e in events if e["ph"] == "X"}
assert set(tasks) == {"task 1", "task 2"}, tasks
assert tasks["task 1"]["args"]["outcome"] == "done" and tasks["task 2"]["args"]["outcome"] == "crashed"
assert all(e["tid"] == 1 and e["dur"] >= 0 and e["ts"] >= 0 for e in tasks.values())
assert sum(e["ph"] == "B" for e in events) == sum(e["ph"] == "E" for e in events)
END
