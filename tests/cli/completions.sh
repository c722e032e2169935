# Every option is in the help, in the manual page, and in the completions of all three shells, or in none of them.
. "$SRC/tests/cli/lib.bash"

"$BROOD" run --help >help
body() { sed -n "/$1/,/$2/p" "$3"; }
longs() { grep -oE -- '--[a-z][a-z-]+' | sort -u; }

grep -oE '^  (-[a-zA-Z], |    )--[a-z-]+' help | longs >long.help
grep -oE '^  -[a-zA-Z], ' help | grep -oE '[a-zA-Z]' | sort >short.help
[[ $(wc -l <long.help) -gt 20 ]] || fail "the help has lost its options"

body "^_brood_run_options=" "'$" "$SRC/completions/brood.bash" >bash.part
longs <bash.part >long.bash
grep -oE -- '(^| )-[a-zA-Z]\b' bash.part | grep -oE '[a-zA-Z]' | sort >short.bash

body '^_brood_run()' '^}' "$SRC/completions/_brood" >zsh.part
longs <zsh.part >long.zsh
grep -oE -- '\{-[a-zA-Z]' zsh.part | grep -oE '[a-zA-Z]' | sort >short.zsh

grep -E '^complete \$run ' "$SRC/completions/brood.fish" >fish.part
grep -oE -- ' -l [a-z-]+' fish.part | sed 's/ -l /--/' | sort >long.fish
grep -oE -- ' -s [a-zA-Z]\b' fish.part | sed 's/ -s //' | sort >short.fish

body '^# OPTIONS' '^# TIMES' "$SRC/man/brood-run.1.scd" | grep -E '^\*-' >man.part
longs <man.part >long.man
grep -oE '\*-[a-zA-Z]\*' man.part | grep -oE '[a-zA-Z]' | sort >short.man

for where in bash zsh fish man; do
    diff long.help "long.$where" >&2 || fail "long options: help (<) and $where (>)"
    diff short.help "short.$where" >&2 || fail "short options: help (<) and $where (>)"
done

# which of them take a value
grep -oE -- '^  (-[a-zA-Z], |    )--[a-z-]+ [A-Za-z]+[^ ]*( |$)' help | longs >value.help
body '^_brood_run_takes_value' '^}' "$SRC/completions/brood.bash" | longs >value.bash
diff value.help value.bash >&2 || fail "options with a value: help (<) and bash (>)"
body 'set -l valued' '[^\\]$' "$SRC/completions/brood.fish" | longs >value.fish
diff value.help value.fish >&2 || fail "options with a value: help (<) and fish (>)"

# and those of brood pool
"$BROOD" pool --help | grep -oE '^  (-[a-zA-Z], |    )--[a-z-]+' | longs >pool.help
body '^_brood_pool()' '^}' "$SRC/completions/brood.bash" | longs >pool.bash
body '^_brood_pool()' '^}' "$SRC/completions/_brood" | longs >pool.zsh
grep -E '^complete \$pool ' "$SRC/completions/brood.fish" | grep -oE -- ' -l [a-z-]+' | sed 's/ -l /--/' | sort >pool.fish
body '^# OPTIONS' '^# SIGNALS' "$SRC/man/brood-pool.1.scd" | grep -E '^\*-' | longs >pool.man
for where in bash zsh fish man; do
    diff pool.help "pool.$where" >&2 || fail "options of brood pool: help (<) and $where (>)"
done

# the names of limits
brood_run --limit xyzzy=1 true
limits=$(sed 's/.*there are \(.*\) (brood.*/\1/' err.txt)
has "$(cat "$SRC/completions/brood.bash")" "-W \$'${limits// /\\n}'"
has "$(cat "$SRC/completions/_brood")" "names=($limits)"
has "$(cat "$SRC/completions/brood.fish")" "'${limits// /= }='"
for name in $limits; do
    body '^# LIMITS' '^# STOPPING' "$SRC/man/brood-run.1.scd" | grep -qF "*$name*" || fail "the manual lacks the limit $name"
done

# subcommands
for name in $("$BROOD" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    for file in completions/brood.bash completions/_brood completions/brood.fish man/brood.1.scd; do
        grep -qw -- "$name" "$SRC/$file" || fail "$file lacks $name"
    done
done

# the members of the report
brood_run --report-file report true
for member in $(grep -oE '"[a-z_]+":' report | tr -d '":'); do
    body '^# REPORT' '^# EXIT' "$SRC/man/brood-run.1.scd" | grep -qF "*$member*" || fail "the manual lacks the member $member"
done

# they can be read
bash -n "$SRC/completions/brood.bash"
if command -v zsh >/dev/null; then zsh -n "$SRC/completions/_brood"; fi
if command -v fish >/dev/null; then fish -n "$SRC/completions/brood.fish"; fi

# and bash's does what it should
complete() { :; }
compopt() { :; }
. "$SRC/completions/brood.bash"
# completes REPLY WORD…: the last word is being completed
completes() {
    local reply=$1
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _brood brood || true # compgen fails where there is nothing
    is "${COMPREPLY[*]}" "$reply"
}
completes "run" brood ru
completes "run talk pool doctor" brood help ""
completes "--json" brood doctor --js
completes "best-effort kernel" brood doctor --require ""
completes "kernel" brood doctor --require = ke
completes "best-effort kernel" brood doctor --require =
completes "--raw" brood talk --ra
completes "--task-timeout" brood pool --ta
completes "--timeout" brood run --ti
completes "--stdin --stdout --stderr --stderr-to-stdout" brood run --std
completes "child group tree none" brood run --own ""
completes "child group tree none" brood run --own =
completes "group" brood run --own = gr
completes "nofile=" brood run --limit nof
completes "" brood run --limit nofile =
completes "--append" brood run --limit nofile = 10 --app
completes "--append" brood run -e A = b --app
completes "TERM" brood run -t 5 -s TE
completes "json" brood run --report ""
completes "root" brood run --user roo
mkdir -p directory/inner
touch directory/file
completes "directory/inner" brood run -C directory/
completes "" brood run ls --app
completes "" brood run -t 5 -- --app
