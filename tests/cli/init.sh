# --init: orphans are adopted and reaped, signals go to the command, and its end is the end; as a subreaper and as PID 1.
. "$SRC/tests/cli/lib.bash"
profile=${BROOD%/*}/brood-profile

# is_reaped PID: it has ended, and is no zombie either
is_reaped() {
    [[ ! -e /proc/$1 ]]
}

# start_as_pid_1 ARGUMENT…: as start; $brood is the one that was started, $init is brood as it is seen from here
start_as_pid_1() {
    [[ -p output ]] || mkfifo output
    env --default-signal "$profile" init -- "$BROOD" run "$@" >output 2>err.txt &
    brood=$!
    exec 3<output
}

find_init() {
    init=$(pgrep -P "$brood") || fail "there is no init: $(cat err.txt)"
}

# --- as a subreaper ---

# no orphan stays a zombie while the command lives, however it ends
start --init -w -- "$BROOD_CHILD" orphan 1 orphan forever hold
read -r one <&3
read -r two <&3
says ready
until_true is_reaped "$one"
! is_gone "$two" || fail "an orphan is nobody's to end"
kill -KILL "$two"
until_true is_reaped "$two"
kill -TERM "$brood"
reap
is "$status" 143
has "$err" "reaped the orphan brood-child (pid $one), which had exited with 0"
has "$err" "reaped the orphan brood-child (pid $two), which SIGKILL had ended"
is "$(wc -l <err.txt)" 2

# without -w nothing is said; the end of the command is the end, whatever it leaves
start --init -- "$BROOD_CHILD" orphan 1 orphan forever print over exit 5
read -r one <&3
read -r two <&3
says over
until_true is_gone "$brood"
! is_gone "$two" || fail "an orphan is nobody's to end"
kill -KILL "$two"
reap
is "$status" 5
is "$err" ""

# nobody takes the command's own status: not when it ends at once, nor when orphans end around it, nor from a thread
for own in child group tree; do
    for turn in 1 2 3 4 5 6 7 8 9 10; do
        brood_run --init --own $own -- "$BROOD_CHILD" exit 3
        is "$status" 3
        brood_run --init --own $own -- "$BROOD_CHILD" orphan 0 orphan 0 exit 4
        is "$status" 4
    done
done
start --init --report-file report -- "$BROOD_CHILD" orphan forever trap TERM 9
read -r orphan <&3
says ready
command=$(pgrep -P "$brood" -o)
kill -STOP "$brood" # so that it hears of the orphan's end first, and both have ended when it looks
until_true is_stopped "$brood"
kill -KILL "$orphan"
until_true is_gone "$orphan"
kill -TERM "$command"
until_true is_gone "$command"
kill -CONT "$brood"
reap
is "$status" 9
lacks "$(<report)" '"max_rss_kb":0,' # as it would be if the kernel had had to be asked how it ended
if ((EUID == 0)); then
    for turn in 1 2 3 4 5 6 7 8 9 10; do
        brood_run --init --user root -- "$BROOD_CHILD" exit 3
        is "$status" 3
    done
fi
brood_run --init -- ./no-such-program
is "$status" 127
brood_run --init --tree -- ./no-such-program
is "$status" 127

# signals go to the command alone; -g: to its group; with --tree: to all of the tree
start --init -- "$BROOD_CHILD" daemon forever tell TERM,HUP
read -r daemon <&3
says ready
kill -HUP "$brood"
says "got 01"
kill -TERM "$brood"
says "got 15"
! is_gone "$daemon" || fail "the signal was for the command alone"
kill -KILL "$daemon" "$(pgrep -P "$brood" -o)"
reap
is "$status" 137
start --init -g -- "$BROOD_CHILD" daemon forever tell TERM
read -r daemon <&3
says ready
kill -TERM "$brood"
says "got 15"
until_true is_gone "$daemon"
kill -KILL "$brood" "$(pgrep -P "$brood" -o)"
reap
start --init --tree -- "$BROOD_CHILD" escape forever tell TERM
read -r one <&3
says ready
kill -TERM "$brood"
says "got 15"
! is_gone "$one" || fail "the signal was for the command alone"
kill -KILL "$brood"
until_true is_gone "$one"
reap
start --init --tree -g -- "$BROOD_CHILD" escape forever tell USR1
read -r one <&3
says ready
kill -USR1 "$brood"
says "got 10"
until_true is_gone "$one"
kill -KILL "$brood"
reap

# -k: SIGKILL is for all that is owned
start --init --own group -k 0.1 -- "$BROOD_CHILD" daemon forever ignore TERM hold
read -r daemon <&3
says ready
kill -TERM "$brood"
reap
is "$status" 137
until_true is_gone "$daemon"

# exit statuses that are none
brood_run --init --remap-exit 3 --remap-exit 143 --report-file report -- "$BROOD_CHILD" exit 3
is "$status" 0
has "$(<report)" '"code":3,'
has "$(<report)" '"exit_status":0,'
brood_run --init -q --remap-exit 3 --remap-exit 143 -- "$BROOD_CHILD" signal TERM
is "$status" 0
brood_run --init -q --remap-exit 3 --remap-exit 143 -- "$BROOD_CHILD" exit 4
is "$status" 4
brood_run --remap-exit 255 --remap-exit 64 -- "$BROOD_CHILD" exit 255
is "$status" 0
brood_run -q --remap-exit 124 -t 0.1 -- "$BROOD_CHILD" pause
is "$status" 124 # that one was brood's
brood_run --remap-exit 127 -- ./no-such-program
is "$status" 127

# a signal at the end of the parent
[[ -p output ]] || mkfifo output
bash -c '"$BROOD" run --init --parent-death USR1 -- "$BROOD_CHILD" parent tell USR1; :' >output 2>err.txt &
parent=$!
exec 3<output
read -r brood <&3
says ready
kill -KILL "$parent"
says "got 10"
kill -KILL "$(pgrep -P "$brood")"
exec 3<&-
until_true is_gone "$brood"
wait "$parent" || true

# what does not go together
refused "--warn-zombies needs --init" -w -- true
refused "--signal-group needs --init" -g -- true
refused "--signal-group needs a process group" --init -g --own child -- true
refused "--detach leaves at once" --detach --init -- true
refused "--detach leaves at once" --detach --remap-exit 3 -- true
refused "--detach leaves at once" --detach --parent-death TERM -- true
refused "write a number from 0 to 255" --init --remap-exit 256 -- true
refused "write a number from 0 to 255" --init --remap-exit=-1 -- true
refused "-e 143 would take a variable away; what tini calls -e is --remap-exit here" --init -e 143 -- true
refused "what tini calls -p SIGKILL is --parent-death SIGKILL here" --init -p SIGKILL -- true
refused "did you mean --init?" --subreaper -- true
brood_run -l
is "$status" 0
is "$out" "$(<"$SRC/LICENSE")"

# --- as PID 1 ---

run "$profile" init -- "$BROOD" run --init -- "$BROOD_CHILD" parent exit 7
((status != 77)) || skip "this machine makes no PID namespace"
is "$out" 1
is "$status" 7

# every signal reaches the command, though to an init none does anything by default
start_as_pid_1 --init -- "$BROOD_CHILD" tell HUP,INT,QUIT,USR1,USR2,ALRM,TERM,CONT,TSTP,28,40
says ready
find_init
for number in 1 2 3 10 12 14 15 18 20 28 40; do
    kill -"$number" "$init"
    says "got $(printf %02d "$number")"
done
kill -KILL "$(pgrep -P "$init")"
reap
is "$status" 137

# and ends it, and so the namespace
for how in "" --tree -g "--tree -g" "--own child"; do
    start_as_pid_1 --init $how -- "$BROOD_CHILD" orphan forever hold
    read -r _ <&3
    says ready
    find_init
    kill -TERM "$init"
    reap
    is "$status" 143
    start_as_pid_1 --init --remap-exit 130 $how -- "$BROOD_CHILD" orphan forever hold
    read -r _ <&3
    says ready
    find_init
    kill -INT "$init"
    reap
    is "$status" 0
done

# from within, too
start_as_pid_1 --init -- "$BROOD_CHILD" signal-parent TERM hold
reap
is "$status" 143

# of orphans nothing is left while the command lives
for how in "" --tree; do
    start_as_pid_1 --init -w $how -- "$BROOD_CHILD" orphan 1 orphan 1 orphan forever hold
    for orphan in 1 2 3; do read -r _ <&3; done
    says ready
    find_init
    above=$init
    [[ ! $how ]] || above=$(pgrep -P "$init") # the holder
    until_true eval '[[ $(pgrep -P "$above" | wc -l) == 2 ]]' # the command, and the third
    is "$(pgrep -P "$init" -r Z | wc -l)" 0
    kill -TERM "$init"
    reap
    is "$status" 143
    [[ $how ]] || is "$(grep -c 'reaped the orphan brood-child' err.txt)" 2
done

# what has come from outside the tree is reaped as well; a tree's own status is nobody's but the library's
for turn in 1 2 3 4 5; do
    run "$profile" init -- "$BROOD" run --init --tree -- "$BROOD_CHILD" orphan 0 escape 0 exit 6
    is "$status" 6
done
run "$profile" init -- "$BROOD" run -q --init --tree -t 0.2 -k 0.1 -- "$BROOD_CHILD" orphan forever stubborn ignore TERM hold
is "$status" 124
