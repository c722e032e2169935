# --tree: nothing of it is left when the command ends, or when brood does, by whatever way.
. "$SRC/tests/cli/lib.bash"

# what the command leaves behind goes with it
brood_run --tree --report-file report -- "$BROOD_CHILD" orphan forever escape forever exit 3
is "$status" 3
is "$(wc -l <out.txt)" 2
while read -r pid; do is_gone "$pid" || fail "$pid lives on"; done <out.txt
report=$(<report)
guarantee=$(grep -oE '"guarantee":"[a-z-]+"' report | cut -d'"' -f4) # as this host has it
[[ $guarantee == @(kernel|best-effort) ]] || fail "the guarantee is $guarantee"
has "$report" '"own":"tree","guarantee":"'$guarantee'","code":3'
has "$report" '"max_rss_is_own":true'
lacks "$report" '"tree_user_ms":null'

# a time limit reaches all of it
brood_run --tree -t 0.5 -k 0.1 -- "$BROOD_CHILD" orphan forever stubborn hold
is "$status" 124
for pid in $(grep -o '^[0-9]*' out.txt); do is_gone "$pid" || fail "$pid lives on"; done
brood_run --tree -t 0.2 -k 0.1 -- "$BROOD_CHILD" hop
is "$status" 0 # it left by itself, and what it left was caught

# so does a signal that is to end it; others go to the command alone
start --tree -- "$BROOD_CHILD" escape forever tell USR1
read -r pid <&3
says ready
kill -USR1 "$brood"
says "got 10"
! is_gone "$pid" || fail "the signal was for the command alone"
kill -TERM "$brood"
reap
is "$status" 143
is_gone "$pid" || fail "$pid lives on"

# nobody asks brood
start --tree -- "$BROOD_CHILD" orphan forever stubborn hold
read -r one <&3
read -r two <&3
says ready
kill -KILL "$brood"
until_true is_gone "$one"
until_true is_gone "$two"
reap
is "$status" 137

# a start that fails
brood_run --tree -- ./no-such-program
is "$status" 127
has "$err" "No such file"
brood_run --tree --cwd /no/such -- true
is "$status" 125

# less than is required
brood_run --tree --require best-effort -- true
is "$status" 0
brood_run --tree --require kernel -- true
if [[ $guarantee == kernel ]]; then
    is "$status" 0
else
    is "$status" 125
    has "$err" "needs a cgroup2"
fi

# the holder is killed, once brood has heard from it that the command runs
start --tree -v -- "$BROOD_CHILD" parent escape forever hold
read -r holder <&3
read -r pid <&3
says ready
until_true grep -q started err.txt
kill -KILL "$holder"
[[ $guarantee == kernel ]] || kill -KILL "$pid"
reap
until_true is_gone "$pid"
[[ $guarantee == kernel ]] || has "$err" "may live on"

# in a PID namespace, where this user may make one
brood_run --pid-namespace -- true
if [[ $status == 0 ]]; then
    start --pid-namespace -- "$BROOD_CHILD" orphan forever stubborn hold
    read -r _ <&3
    read -r _ <&3
    says ready
    kill -KILL "$brood"
    reap # the end of its output is the end of all of them
    is "$status" 137
    brood_run --pid-namespace --require kernel --report json -- "$BROOD_CHILD" parent
    is "$out" 1
    has "$err" '"guarantee":"kernel"'
else
    has "$err" "CAP_SYS_ADMIN"
fi
refused "--pid-namespace is for a tree" --own child --pid-namespace -- true
