# What the command gets: directory, environment, identity, limits, descriptors.
. "$SRC/tests/cli/lib.bash"

mkdir -p here/inner
brood_run --cwd here/inner -- "$BROOD_CHILD" cwd
is "$out" "$PWD/here/inner"
brood_run -C here -- "$BROOD_CHILD" cwd
is "$out" "$PWD/here"
brood_run --cwd here -- ./../here/no-such
is "$status" 127
# files are brood's own, not the command's directory's
brood_run --cwd here --stdout out-file -- "$BROOD_CHILD" cwd
is "$(cat out-file)" "$PWD/here"

# environment
export OUTER=outer GONE=gone
brood_run --env A=1 -e A=2 --env GONE -- "$BROOD_CHILD" getenv A getenv OUTER getenv GONE
is "$out" $'2\nouter\n(unset)'
brood_run --env EMPTY= --env 'EQUALS=a=b' -- "$BROOD_CHILD" getenv EMPTY getenv EQUALS
is "$out" $'\na=b'
brood_run --clear-env -- "$BROOD_CHILD" env
is "$out" ""
brood_run --clear-env --env ONLY=1 --env OUTER -- "$BROOD_CHILD" env
is "$out" "ONLY=1"

# umask, niceness
brood_run --umask 027 --nice 3 -- "$BROOD_CHILD" ids
has "$out" "umask 0027"
has "$out" "nice $(($(nice) + 3 > 19 ? 19 : $(nice) + 3))"
brood_run --umask 0 -- "$BROOD_CHILD" ids
has "$out" "umask 0000"
brood_run --nice +2 -- "$BROOD_CHILD" exit 0
is "$status" 0

# limits
hard=$(ulimit -Hn)
brood_run --limit nofile=64 --limit core=0 -- "$BROOD_CHILD" limits
has "$out" "nofile 64 64"
has "$out" "core 0 0"
brood_run --limit nofile=64:80 -- "$BROOD_CHILD" limits
has "$out" "nofile 64 80"
brood_run --limit nofile=99 --limit nofile=64:80 -- "$BROOD_CHILD" limits
has "$out" "nofile 64 80"
brood_run --limit fsize=3M --limit cpu=1.5m --limit stack=8M:16MiB -- "$BROOD_CHILD" limits
has "$out" "fsize 3145728 3145728"
has "$out" "cpu 90 90"
has "$out" "stack 8388608 16777216"
if [[ $(ulimit -Hc) == unlimited ]]; then
    brood_run --limit core=0:unlimited -- "$BROOD_CHILD" limits
    has "$out" "core 0 -1"
fi
brood_run --limit nofile=4000000000:4000000000 -- "$BROOD_CHILD" limits
is "$status" 125
has "$err" "CAP_SYS_RESOURCE"

# descriptors: what brood was given, and nothing of its own
exec 7</dev/null 30>out-file
brood_run --report-file report --stdin null -t 60 -- "$BROOD_CHILD" fds
is "$(cut -d' ' -f1 out.txt | sort -n | paste -sd ' ')" "$("$BROOD_CHILD" fds | cut -d' ' -f1 | sort -n | paste -sd ' ')"
has "$out" "7 /dev/null"
has "$out" "30 $PWD/out-file"
brood_run -- "$BROOD_CHILD" write 30 hello
is "$(cat out-file)" hello
brood_run -- cat <(echo hello)
is "$out" hello
brood_run --close-fds -- "$BROOD_CHILD" fds
is "$(cut -d' ' -f1 out.txt | sort -n | paste -sd ' ')" "0 1 2"
exec 7<&- 30>&-

# --shell
brood_run --shell 'echo a | cat; exit 4'
is "$out" a
is "$status" 4
brood_run --shell -- '-x 2>/dev/null || echo not an option'
is "$out" "not an option"
brood_run --env A=5 --shell 'echo $A'
is "$out" 5

# identity
refused "--user no-such-user: no such user" --user no-such-user true
refused "--group no-such-group: no such group" --group no-such-group true
refused "--groups no-such-group: no such group" --groups 0,no-such-group true
refused "--group 4294967295: no such group" --group 4294967295 true
refused "no entry in passwd, so its group is not known; add --group" --user 4294967290 true
if [[ $(id -u) != 0 ]]; then
    brood_run --user 0 -- true
    is "$status" 125
    has "$err" "takes root"
    exit 0
fi
chmod 755 .
nobody=$(id -u nobody) nogroup=$(id -g nobody)
brood_run --user nobody -- "$BROOD_CHILD" ids
is "$status" 0
has "$out" "uid $nobody $nobody $nobody"
has "$out" "gid $nogroup $nogroup $nogroup"
has "$out" "groups $(id -G nobody | tr ' ' '\n' | sort -n | paste -sd ' ')"
brood_run --user "$nobody" --group 7 -- "$BROOD_CHILD" ids
has "$out" "gid 7 7 7"
brood_run --user nobody --groups 4,20 -- "$BROOD_CHILD" ids
has "$out" "groups 4 20"
brood_run --user 4294967290 --group 7 -- "$BROOD_CHILD" ids
has "$out" "uid -6 -6 -6"
has "$out" $'groups\n'
brood_run --groups "" -- "$BROOD_CHILD" ids
has "$out" "uid 0 0 0"
has "$out" $'groups\n'
brood_run --group root --groups root -- "$BROOD_CHILD" ids
has "$out" $'groups 0\n'

# descriptors are not for another user
exec 7</dev/null
brood_run --user nobody -- "$BROOD_CHILD" fds
is "$(cut -d' ' -f1 out.txt | sort | paste -sd ' ')" "0 1 2"
exec 7<&-

# whom brood may not signal it cannot stop, and says so
if run setpriv --bounding-set -kill --inh-caps -kill true && [[ $status == 0 ]]; then
    run setpriv --bounding-set -kill --inh-caps -kill "$BROOD" run --user nobody -t 0.2 -k 0.1 -- "$BROOD_CHILD" sleep 600
    is "$status" 124
    has "$err" "could not be stopped (Operation not permitted)"
fi
