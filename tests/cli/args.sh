# How options are written, and what is said of those that are wrong.
. "$SRC/tests/cli/lib.bash"

# forms
brood_run --env=A=1 --env B=2 -eC=3 -e D=4 -qpt5 -- "$BROOD_CHILD" getenv A getenv B getenv C getenv D
is "$status" 0
is "$out" $'1\n2\n3\n4'
brood_run -vt5 -s INT "$BROOD_CHILD" exit 3
is "$status" 3

# options end at --, or at the first word that is none; a single - is none
brood_run "$BROOD_CHILD" --timeout --help
is "$status" 99
brood_run -q -- "$BROOD_CHILD" args -- --quiet -t
is "$out" "$BROOD_CHILD"$'\nargs\n--\n--quiet\n-t'
brood_run -
is "$status" 127

# arguments pass through untouched
brood_run -- "$BROOD_CHILD" args 'x; rm -rf /' '$HOME' '' $'a\nb' '*'
is "$out" "$BROOD_CHILD"$'\nargs\nx; rm -rf /\n$HOME\n\na\nb\n*'

# what is misspelt, unfinished, or somebody else's word for it
refused "no option --timeuot; did you mean --timeout? (brood run --help)" --timeuot 5 -- true
refused "no option --tiemout; did you mean --timeout?" --tiemout=5 -- true
refused "did you mean --timeout?" --time 5 true
refused "did you mean --cwd?" --chdir / true
refused "did you mean --own?" --foreground true
refused "no option --frobnicate (brood" --frobnicate true
refused "no option -x (brood" -x true
refused "no option -D; did you mean --cwd?" -D / true
refused "no option -timeout; did you mean --timeout?" -timeout 5 true
refused "--quiet takes no value" --quiet=yes true
refused "--timeout needs a value: --timeout TIME" --timeout
refused "--timeout needs a value" -t
refused "did you mean --quiet?" --quite true

# no command
refused "no command" --timeout 5
refused "no command"
refused "no command" --
refused "the command is empty" -- ""
refused "quote it" --shell ls -l

# values
for time in "" x 5x 1.2.3 -5 5ss . s 1e3 0x10 " 5" "5 s" 1,5; do
    refused "not a time; write 10, 1.5s, 500ms" "--timeout=$time" true
done
refused "longer than can be counted" -t 99999999999999999999 true
refused "longer than can be counted" -t 213503982335d true
for time in 0 10 0.5 .5 5. 1.5s 500ms 2m 1h 1d 0.0000001 213503982334d; do
    brood_run -t "$time" --idle-timeout "$time" -k "$time" -- true
    [[ $time == 0.0000001 ]] || is "$status" 0 # which true may or may not be quick enough for
done
brood_run -t 0.0000001 -- "$BROOD_CHILD" sleep 60000
is "$status" 124
refused "no such signal; did you mean TERM?" -s TEMR true
refused "no such signal; did you mean TERM?" -s SIGTEMR true
refused "no such signal" -s 65 true
refused "no such signal" -s 0 true
refused "not a mask" --umask 88 true
refused "not a mask" --umask 1777 true
refused "not a niceness" --nice 40 true
refused "not a niceness" --nice -41 true
refused "not a niceness" --nice ten true
refused "no name" --env =x true
refused "no name" --env "" true
refused "write child, group, tree or none" --own all true
refused "contradict each other" --tree --own group true
refused "needs --tree" --require kernel true
refused "write best-effort or kernel" --tree --require good true
refused "needs somebody" --tree --detach true
refused "write json" --report xml true
refused "an empty path" --cwd "" true

# limits
brood_run --limit nofile=100 --limit nofile=200 sh -c 'ulimit -n'
is "$out" 200
refused "no such resource; did you mean nofile?" --limit nofiles=5 true
refused "no such resource; there are as core cpu" --limit xyzzy=5 true
refused "no value; write NAME=SOFT:HARD" --limit nofile true
refused "not a limit of nofile; write nofile=1024" --limit nofile=5k true
refused "not a limit of as; write as=64M" --limit as=5x true
refused "not a limit of cpu; write cpu=30s" --limit cpu=5x true
refused "not a limit of nofile" --limit nofile=1:2:3 true
refused "not a limit of nofile" --limit nofile= true
refused "the soft limit is above the hard one" --limit nofile=5:4 true

# contradictions
refused "contradict" --stderr x --stderr-to-stdout true
refused "contradict" -q -v true
refused "--append needs" --append true
refused "would reach nothing" --own none -t 5 true
for option in --timeout=5 --idle-timeout=5 --kill-after=5 --signal=INT --preserve-status --report=json --report-file=r --own=group; do
    refused "${option%%=*} needs somebody who waits" --detach "$option" true
done
[[ ! -e x && ! -e r ]] || fail "a refused command has made files"

# what was typed is shown harmlessly
brood_run $'--\e[31m' true
lacks "$err" $'\e'
brood_run -- $'no\e[31m\nsuch'
is "$status" 127
lacks "$err" $'\e'
is "$(wc -l <err.txt)" 1
