# `brood talk` with a worker that knows nothing of brood, nor of Node: examples/worker.py.
. "$SRC/tests/cli/lib.bash"
python=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null) || skip "no python3"
worker=$SRC/examples/worker.py

# talk LINES ARGUMENT…
talk() {
    local lines=$1
    shift
    run bash -c 'printf "$1" | "$2" talk "${@:3}"' - "$lines" "$BROOD" "$@"
}

talk '{"id":1,"data":[1,2.5]}\n{"id":"é","data":[]}\n{"data":[-1]}\n' "$python" "$worker"
is "$status" 0
is "$out" $'{"id":1,"result":3.5}\n{"id":"é","result":0}\n{"result":-1}'
is "$err" ""

# what cannot be done is answered, what is Node's own is no task
talk '{"id":1,"data":[null]}\n[]\n{"cmd":"NODE_x"}\n{"cmd":"NODE_","id":2,"data":[]}\n{"id":3,"data":[1e400]}\n' \
    "$python" "$worker"
is "$status" 0
is "$(wc -l <out.txt)" 4
is "$(grep -c '"error":"[A-Z]' out.txt)" 3
is "$(sed -n 3p out.txt)" '{"id":2,"result":0}'

# The socket is full in both directions, and cuts messages anywhere; blocking or not, which is the starter's to say.
seq 1 20000 | sed 's/.*/{"id":&,"data":[&,1]}/' >tasks
"$python" -c 'print("{\"id\":\"%s\",\"data\":[%s]}" % ("y" * 1000000, "1," * 1000000 + "1"))' >>tasks
nonblocking='import os, sys; os.set_blocking(3, False); os.execv(sys.argv[1], sys.argv[1:])'
for way in "$python $worker" "$python -c '$nonblocking' $python $worker"; do
    run bash -c "exec \"\$1\" talk -- $way <tasks >results" - "$BROOD"
    is "$status" 0
    is "$err" ""
    is "$(wc -l <results)" 20001
    is "$(sed -n 20000p results)" '{"id":20000,"result":20001}'
    "$python" -c 'print("{\"id\":\"%s\",\"result\":1000001}" % ("y" * 1000000))' | cmp - <(tail -n1 results) ||
        fail "not the large one's answer"
done

# whoever reads the answers leaves
run bash -c '"$1" talk -- "$2" "$3" <tasks | head -n1' - "$BROOD" "$python" "$worker"
is "$out" '{"id":1,"result":2}'
is "$err" ""

# it says what it cannot
talk '1\n' --advanced -- "$python" "$worker"
is "$status" 1
has "$err" "JSON only"
run "$python" "$worker"
is "$status" 1
has "$err" "Nobody to talk to"
