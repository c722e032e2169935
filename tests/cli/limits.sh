# --memory, --pids, --cpu, --cpu-time, --io-read, --io-write: of the whole tree, and who met one is told.
. "$SRC/tests/cli/lib.bash"

# by the holder alone, so everywhere
brood_run --cpu-time 0.1 --report-file report -- "$BROOD_CHILD" fork spin
is "$status" 124
has "$err" "used up its CPU time of 100ms"
has "$(<report)" '"reason":"cpu_time"'
has "$(<report)" '"error_name":"ETIMEDOUT"'
has "$(<report)" '"limit":"cpu_time","limit_pid":null,"limit_name":null,"memory_limited":null'
brood_run --cpu-time 1h -- true
is "$status" 0
is "$err" ""

# what contradicts itself, or is no limit
for wrong in 0 1X -5; do refused "--memory $wrong: not a size" "--memory=$wrong" -- true; done
for wrong in none 0 9999999999; do refused "--pids $wrong: not a number of processes" --pids $wrong -- true; done
for wrong in 0 1.5.5 20%% 1e3; do refused "--cpu $wrong: not a number of CPUs" --cpu $wrong -- true; done
refused "--memory 17179869184G: more than any machine has" --memory 17179869184G -- true
refused "--cpu 8192: more CPUs than there are here" --cpu 8192 -- true
refused "--cpu-time 0: not a time" --cpu-time 0 -- true
for wrong in 0 1X none; do refused "--io-read $wrong: not a size" --io-read $wrong -- true; done
refused "--io-write is for a tree" --own group --io-write 1M -- true
refused "did you mean --io-write" --write-bps 1M -- true
refused "--pids is for a tree" --own group --pids 3 -- true
refused "--memory needs somebody who waits" --detach --memory 1G -- true
refused "did you mean --memory" --mem 1G -- true

# where a cgroup keeps them
brood_run --memory 64M --report-file report -- "$BROOD_CHILD" rss 200000
if grep -q '"memory_limited":"tree"' report; then
    is "$status" 137
    has "$err" "the memory limit (64 MiB) was reached"
    has "$(<report)" '"reason":"out_of_memory"'
    has "$(<report)" '"limit":"memory"'
    has "$(<report)" '"limit_name":"brood-child"'
    brood_run --memory 64M -- "$BROOD_CHILD" fork rss 200000
    is "$status" 137 # as its parent makes of it
    has "$err" "; the memory limit (64 MiB) had ended " # whom, is not known where it was reaped at once
    brood_run --memory 64M --quiet -- "$BROOD_CHILD" fork rss 200000
    is "$err" ""
else
    has "$err" "of each process by itself"
fi
brood_run --pids 8 --timeout 1 -- "$BROOD_CHILD" breed 1000
if [[ $status == 125 ]]; then
    has "$err" "pids"
else
    is "$status" 124
    has "$err" "--pids 8 was reached"
fi
# few processes for those that have threads, too: that is told
few() {
    local few=${BROOD%/*}/brood-sum most command
    for command in "pool -w1" talk; do
        for most in 1 2 3 4 5; do
            run "$@" "$most" "$BROOD" $command -- "$few" <<<'{"data":[1]}'
            [[ $status == 0 ]] || is "$status" 125
            [[ $status == 0 ]] || has "$err" "too many processes (RLIMIT_NPROC or a pids limit; see ulimit -u)"
        done
    done
}
under_pids() {
    "$BROOD" run --quiet --pids "$1" -- "${@:2}"
}
under_nproc() {
    prlimit --nproc="$1" -- "${@:2}"
}
is_sanitized() { # and has threads and processes of its own
    grep -qaE '__[at]san_init' "$BROOD"
}
if is_sanitized; then
    :
elif under_pids 9 true; then
    few under_pids
    run under_pids 2 "$BROOD" pool -- true <<<'{}'
    has "$err" "brood pool: thread: too many"
    run under_pids 2 "$BROOD" talk -- true <<<'{}'
    has "$err" "brood talk: thread: too many"
elif ((EUID != 0)) && command -v prlimit >/dev/null; then
    few under_nproc
fi
brood_run --cpu 150% -- true
[[ $status == 0 ]] || has "$err" "cpu"
brood_run --io-read 10M --io-write 1G -- true
[[ $status == 0 ]] || has "$err" 'cgroup "io": no cgroup can be had here'

# where nobody tells of the disks
if unshare --mount -- mount -t tmpfs none /sys 2>err.txt; then
    run unshare --mount -- sh -c 'mount -t tmpfs none /sys && "$0" run --io-read 10M -- true' "$BROOD"
    is "$status" 125
    has "$err" "no /sys/block here"
fi
