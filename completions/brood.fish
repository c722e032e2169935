# Completion of brood(1) for fish.

# The command's own words after `brood run [OPTION]...`, one a line; fails while there are none.
function __brood_run_words
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test $words[2] = run; or return 1
    set -l valued -C --cwd -e --env --user --group --groups --umask --nice --limit --stdin --stdout --stderr \
        -t --timeout --idle-timeout -k --kill-after -s --signal --own --require --memory --pids --cpu --cpu-time \
        --io-read --io-write \
        --remap-exit --parent-death --report --report-file
    set -l i 3
    while test $i -le (count $words)
        if test $words[$i] = --
            set i (math $i + 1)
            break
        else if contains -- $words[$i] $valued
            set i (math $i + 2)
        else if string match -q -- '-?*' $words[$i]
            set i (math $i + 1)
        else
            break
        end
    end
    # after --, even a first word is the command's; a value that is still to come is none
    test $i -le (count $words); or test $words[-1] = --; or return 1
    test $i -le (count $words); and printf '%s\n' $words[$i..-1]
    return 0
end

function __brood_run_complete_command
    set -l words (__brood_run_words)
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end

function __brood_in_run
    __fish_seen_subcommand_from run; and not __brood_run_words >/dev/null
end

set -l run -c brood -n __brood_in_run
set -l files '(__fish_complete_path (commandline -ct))'

complete -c brood -f
complete -c brood -n __fish_use_subcommand -a run -d 'Run a command within limits, and end as it ends'
complete -c brood -n __fish_use_subcommand -a talk -d 'Exchange messages with a program, a line of JSON each'
complete -c brood -n __fish_use_subcommand -a pool -d 'Have tasks done by a pool of workers'
complete -c brood -n __fish_use_subcommand -a doctor -d 'Tell what this host can promise, and why not'
complete -c brood -n __fish_use_subcommand -a help -d 'Print help'
complete -c brood -n __fish_use_subcommand -s h -l help -d 'Print help'
complete -c brood -n __fish_use_subcommand -s V -l version -d 'Print the version'
complete -c brood -n '__fish_seen_subcommand_from help' -a 'run talk pool doctor'

complete $run -s C -l cwd -x -a '(__fish_complete_directories (commandline -ct))' -d 'Run it in this directory'
complete $run -s e -l env -x -a '(set -nx)' -d 'Set NAME=VALUE, or take NAME away'
complete $run -l clear-env -d 'Start from an empty environment'
complete $run -l user -x -a '(__fish_complete_users)' -d 'Run it as this user'
complete $run -l group -x -a '(__fish_complete_groups)' -d 'Run it in this group'
complete $run -l groups -x -a '(__fish_complete_list , __fish_complete_groups)' -d 'Exactly these supplementary groups'
complete $run -l umask -x -a '022 027 077' -d 'File mode mask, in octal'
complete $run -l nice -x -d 'Add to its niceness'
complete $run -l limit -x -a 'as= core= cpu= data= fsize= locks= memlock= msgqueue= nice= nofile= nproc= rss= rtprio= rttime= sigpending= stack=' -d 'Resource limit'
complete $run -l shell -d 'The command is one text for /bin/sh -c'
complete $run -l stdin -x -a "null $files" -d 'Read its input from a file'
complete $run -l stdout -x -a "null $files" -d 'Write its output to a file'
complete $run -l stderr -x -a "null $files" -d 'Write its errors to a file'
complete $run -l stderr-to-stdout -d 'Its errors go where its output goes'
complete $run -l append -d 'Add to the files'
complete $run -l close-fds -d 'No descriptors but these three reach it'
complete $run -s t -l timeout -x -a '500ms 10s 1m 1h' -d 'Stop it after this time'
complete $run -l idle-timeout -x -a '10s 1m 1h' -d 'Stop it when it has written nothing for so long'
complete $run -s k -l kill-after -x -a '500ms 10s 1m' -d 'SIGKILL so long after the first signal'
complete $run -s s -l signal -x -a 'HUP INT QUIT USR1 USR2 ALRM TERM CONT WINCH KILL' -d 'The first signal of a stop'
complete $run -s p -l preserve-status -d 'Exit as the command did, also after a timeout'
complete $run -l tree -d 'Own all that descends from it'
complete $run -l pid-namespace -d 'Its tree has a PID namespace of its own'
complete $run -l require -x -a 'best-effort kernel' -d 'Do not start it with less of a guarantee'
complete $run -l own -x -a 'child\t"the process alone" group\t"a process group made for it" tree\t"all that descends from it" none\t"nothing"' -d 'What a stop reaches'
complete $run -l memory -x -a '512M 1G 4G' -d 'What its tree may use together'
complete $run -l pids -x -d 'Processes and threads of its tree'
complete $run -l cpu -x -d 'CPUs that its tree may use'
complete $run -l cpu-time -x -a '500ms 10s 1m 1h' -d 'Stop it after so much CPU time'
complete $run -l io-read -x -a '1M 10M 100M' -d 'Bytes a second that its tree may read from each disk'
complete $run -l io-write -x -a '1M 10M 100M' -d 'Bytes a second that its tree may write to each disk'
complete $run -l detach -d 'Start it, print its pid, leave'
complete $run -l init -d 'Adopt and reap orphans, pass signals on, end with the command'
complete $run -s g -l signal-group -d 'With --init: signals go to its process group'
complete $run -s w -l warn-zombies -d 'With --init: tell of each orphan that is reaped'
complete $run -l remap-exit -x -a '130 137 143' -d 'Exit with 0 if the command exits so'
complete $run -l parent-death -x -a 'HUP INT QUIT USR1 USR2 TERM KILL' -d 'A signal at the end of the parent'
complete $run -l report -x -a json -d 'Report how it ended'
complete $run -l report-file -r -F -d 'The report goes to a file'
complete $run -s q -l quiet -d 'Not a word about how it ended'
complete $run -s v -l verbose -d 'Say what is started, signalled and how it ended'
complete $run -s l -l license -d 'Print the license'
complete $run -s h -l help -d 'Print help'
complete $run -a '(__fish_complete_command)' -d Command
complete -c brood -n '__brood_run_words >/dev/null' -a '(__brood_run_complete_command)'

set -l talk -c brood -n '__fish_seen_subcommand_from talk'
complete $talk -s a -l advanced -d 'Send structured clone instead of JSON'
complete $talk -s r -l raw -d 'Lines are strings as they are'
complete $talk -s n -l replies -d 'Wait for as many messages as were sent'
complete $talk -s h -l help -d 'Print help'
complete $talk -a '(__fish_complete_subcommand --fcs-skip=2)' -d Command

set -l pool -c brood -n '__fish_seen_subcommand_from pool'
complete $pool -s w -l workers -x -d 'So many at a time'
complete $pool -l prefetch -x -d 'Tasks that a worker is sent ahead'
complete $pool -l recycle -x -d 'Replace a worker that has done so many'
complete $pool -l ready -d 'A worker says that it is ready'
complete $pool -s a -l advanced -d 'Send structured clone instead of JSON'
complete $pool -s t -l task-timeout -x -a '500ms 10s 1m 1h' -d 'Stop a worker that is so long at one task'
complete $pool -l attempts -x -d 'Begin a task so often at most'
complete $pool -l wrap -d 'Send tasks as {id, task}'
complete $pool -s k -l order -d 'Results in the order of the tasks'
complete $pool -l progress -d 'Tell how it is going'
complete $pool -l trace -r -F -d 'Write what each worker did when'
complete $pool -s q -l quiet -d 'No summary at the end'
complete $pool -s h -l help -d 'Print help'
complete $pool -a '(__fish_complete_subcommand --fcs-skip=2)' -d Command

set -l doctor -c brood -n '__fish_seen_subcommand_from doctor'
complete $doctor -l json -d 'One object of JSON'
complete $doctor -l require -x -a 'best-effort kernel' -d 'Fail unless a tree has this guarantee'
complete $doctor -s h -l help -d 'Print help'
