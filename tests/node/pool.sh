#!/bin/bash
# `brood pool` with a Node worker that knows nothing of brood: ten thousand tasks, while workers are being killed.
set -euo pipefail
. "$SRC/tests/node/lib.bash"
tasks=10000

for node in "${nodes[@]}"; do
    "$node" --version
    rm -f pids tasks.fifo
    mkfifo tasks.fifo
    "$BROOD" pool -w 3 --prefetch 2 --attempts 1000 -- "$node" "$SRC/tests/node/pool_worker.js" pids <tasks.fifo \
        >results.ndjson 2>summary &
    brood=$! last=
    exec 5>tasks.fifo
    for ((kills = 0; kills < 12; kills++)); do # with each there are tasks under way
        seq $((kills * tasks / 12 + 1)) $(((kills + 1) * tasks / 12)) | sed 's/.*/{"data":&}/' >&5
        until pid=$(tail -n1 pids 2>/dev/null) && [[ $pid && $pid != "$last" ]] &&
            grep -q pool_worker.js "/proc/$pid/cmdline" 2>/dev/null; do
            kill -0 "$brood"
            sleep 0.01
        done
        kill -KILL "$pid" 2>/dev/null || true
        last=$pid
    done
    exec 5>&-
    wait "$brood"
    cat summary
    "$node" -e '
        const lines = require("fs").readFileSync("results.ndjson", "utf8").trim().split("\n").map(JSON.parse);
        const results = new Map(lines.map(({ id, result }) => [id, result]));
        const right = [...results].every(([id, result]) => result === 2 * id);
        if (lines.length !== '"$tasks"' || results.size !== lines.length || !right) process.exit(1);'

    # what it does wrong; advanced too
    printf '{"data":"fail"}\n{"data":"throw"}\n{"data":"hang"}\n{"data":21}\n' |
        "$BROOD" pool -kq -w 2 --attempts 2 -a -t 1s -- "$node" "$SRC/tests/node/pool_worker.js" pids >results.ndjson \
            2>/dev/null && exit 1
    diff - results.ndjson <<'END'
{"id":1,"error":"no luck","fate":"failed","attempts":1}
{"id":2,"error":"its worker exited with code 1","fate":"crashed","attempts":2}
{"id":3,"error":"it ran longer than it may","fate":"timed out","attempts":2}
{"id":4,"result":42}
END

    # half of a surrogate pair is no UTF-8
    echo '{}' | "$BROOD" pool -q -- "$node" -e \
        'process.on("message", ({ id }) => process.send({ id, error: "half \ud800" }))' >results.ndjson && exit 1
    grep -q 'half \\ud800"' results.ndjson

    # results that wait for the first one are not gathered without end (a build that reserves memory cannot tell)
    # shellcheck disable=SC2016 # expanded by the inner shell
    if (ulimit -S -v 400000 && "$BROOD" --version) >/dev/null 2>&1; then
        seq 2500 | sed 's/.*/{"n":&}/' >tasks.ndjson
        cat >late.js <<'END'
process.on('message', ({ id, n }) => {
  if (n === 1) setTimeout(() => process.send({ id, result: '' }), 1500);
  else process.send({ id, result: 'x'.repeat(200000) });
});
END
        (ulimit -S -v 400000 && exec "$BROOD" pool -kq -w 2 -- sh -c 'ulimit -S -v unlimited; exec "$0" late.js' "$node") \
            <tasks.ndjson | wc -l | grep -qx 2500
    fi
done
