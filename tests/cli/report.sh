# --report json: one line, always the same members, and valid JSON whatever the arguments hold.
. "$SRC/tests/cli/lib.bash"

string='"([^"\\[:cntrl:]]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*"'
text="($string|null)" number='(-?[0-9]+|null)' decimal='([0-9]+\.[0-9]{3}|null)' truth='(true|false|null)'
form="^\{\"command\":\[$string(,$string)*\],\"command_line\":$string,\"pid\":$number,\"own\":$string,\"guarantee\":$string,\"code\":$number,\
\"signal\":$text,\"core_dumped\":$truth,\"reason\":$string,\"exit_status\":$number,\"error_name\":$text,\"message\":$text,\
\"started_at\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\",\"wall_ms\":$decimal,\
\"user_ms\":$decimal,\"system_ms\":$decimal,\"max_rss_kb\":$number,\"max_rss_is_own\":$truth,\"minor_faults\":$number,\
\"major_faults\":$number,\"blocks_in\":$number,\"blocks_out\":$number,\"voluntary_switches\":$number,\
\"involuntary_switches\":$number,\"tree_user_ms\":$decimal,\"tree_system_ms\":$decimal,\"tree_largest_rss_kb\":$number,\"tree_peak_kb\":$number,\"limit\":null,\"limit_pid\":null,\"limit_name\":null,\"memory_limited\":null\}$"

# reported ARGUMENT…: `brood run` with a report to a file. Leaves it, checked, in $report.
reported() {
    brood_run --report-file report "$@"
    is "$(wc -l <report)" 1
    report=$(cat report)
    LC_ALL=C grep -qE "$form" report || fail "not of the form: $report"
    iconv -f UTF-8 -t UTF-8 report >/dev/null || fail "not UTF-8: $report"
    if command -v python3 >/dev/null; then
        python3 -c 'import json, sys; json.load(open("report", encoding="utf-8"))' || fail "not JSON: $report"
    fi
}

reported -- "$BROOD_CHILD" exit 3
is "$status" 3
has "$report" "{\"command\":[\"$BROOD_CHILD\",\"exit\",\"3\"],\"command_line\":\"$BROOD_CHILD exit 3\",\"pid\":"
has "$report" '"own":"group","guarantee":"none","code":3,"signal":null,"core_dumped":false,"reason":"exited","exit_status":3,'
has "$report" '"error_name":null,"message":null,'
[[ $report =~ \"minor_faults\":[1-9] ]] || fail "usage"

# to stderr: the last line, after the command's own
brood_run --report json -- "$BROOD_CHILD" err before
[[ $err == before$'\n'{*} ]] || fail "the report on stderr"

# alone ARGUMENT…: nothing else of ours is there, whatever there would be to say. Leaves it, parsed back, in $message.
alone() {
    brood_run --report json "$@"
    is "$(wc -l <err.txt)" 1
    LC_ALL=C grep -qE "$form" err.txt || fail "not of the form: $err"
    [[ $err =~ \"message\":(null|\"[^\"]*\") ]]
    message=${BASH_REMATCH[1]}
}
alone -- "$BROOD_CHILD" signal KILL
is "$message" '"ended by SIGKILL"'
alone -t 0.1 -- "$BROOD_CHILD" pause
has "$message" "timed out after 100ms"
alone -- no-such-program
has "$message" "exec "
alone --stdin /no/such -- true
has "$message" "No such file or directory"
alone --quiet -- no-such-program
alone --idle-timeout 1h --stdout /dev/full -- "$BROOD_CHILD" bytes 100000
is "$status" 125
has "$message" "brood could not copy its output on: No space left on device"
if BROOD_TEST_WITHOUT=cgroup "$BROOD" run --tree -- true 2>/dev/null; then
    BROOD_TEST_WITHOUT=cgroup brood_run --memory 1G --report json -- true
    is "$(wc -l <err.txt)" 1
    has "$err" '"memory_limited":"each"'
fi
refused "--verbose and --report would share standard error" --verbose --report json -- true
refused "--warn-zombies and --report would share standard error" --init -w --report json -- true
brood_run --verbose --report-file report -- true
has "$err" "exited with 0"

reported -- "$BROOD_CHILD" signal KILL
has "$report" '"code":null,"signal":"SIGKILL","core_dumped":false,"reason":"signaled","exit_status":137,'
has "$report" '"message":"ended by SIGKILL"'
reported -t 0.1 -- "$BROOD_CHILD" pause
has "$report" '"signal":"SIGTERM","core_dumped":false,"reason":"timed_out","exit_status":124,"error_name":"ETIMEDOUT"'
reported --idle-timeout 0.1 --own child -- "$BROOD_CHILD" pause
has "$report" '"own":"child"'
has "$report" '"reason":"idle","exit_status":124,"error_name":"ETIMEDOUT"'

# CPU time is the command's
reported -- "$BROOD_CHILD" burn 120
[[ $report =~ \"wall_ms\":([0-9]+) && ${BASH_REMATCH[1]} -ge 120 ]] || fail "wall_ms"
[[ $report =~ \"user_ms\":([0-9]+) ]]
user=${BASH_REMATCH[1]}
[[ $report =~ \"system_ms\":([0-9]+) ]]
((user + BASH_REMATCH[1] >= 100)) || fail "CPU time"

# not started
reported -- no-such-program
is "$status" 127
has "$report" '"pid":null,"own":"group","guarantee":"none","code":null,"signal":null,"core_dumped":null,"reason":"not_started","exit_status":127,'
has "$report" '"error_name":"ENOENT","message":"exec \"no-such-program\": not found in PATH"'
reported --cwd /no/such -- true
has "$report" '"exit_status":125,"error_name":"ENOENT","message":"chdir \"/no/such\": No such file or directory"'
reported --stdin /no/such -- true
has "$report" '"reason":"not_started","exit_status":125'
reported --user no-such-user -- true
has "$report" '"reason":"not_started","exit_status":125'

# whatever the arguments hold
reported -- "$BROOD_CHILD" exit 0 $'"\\/\b\f\n\r\t\001\037\177' 'é€😀' $'\xff\xc3\x28\xe2\x82\xf0\x9f\x98\xed\xa0\x80\xc0\xaf\xf5'
has "$report" '"\"\\/\b\f\n\r\t\u0001\u001f\u007f","é€😀"'
has "$report" $'\xef\xbf\xbd'
reported -- $'\xfe\n"'
is "$status" 127

# what is executed by --shell
reported --shell 'exit 4'
has "$report" '"command":["sh","-c","exit 4"],"command_line":"sh -c '\''exit 4'\''"'

# --append keeps earlier ones
brood_run --report-file report --append -- true
brood_run --report-file report --append -- true
is "$(LC_ALL=C grep -cE "$form" report)" 3

# one that cannot be written is told, and is a failure
brood_run --report-file /dev/full -- true
is "$status" 125
has "$err" "cannot write the report to /dev/full: No space left on device"
run bash -c '"$BROOD" run --report json -- true 2>&-'
is "$status" 125
