# Completion of brood(1) for bash. Needs nothing but bash; with bash-completion the command to run is completed as itself.

_brood_run_options='--cwd -C --env -e --clear-env --user --group --groups --umask --nice --limit --shell
    --stdin --stdout --stderr --stderr-to-stdout --append --close-fds
    --timeout -t --idle-timeout --kill-after -k --signal -s --preserve-status -p --own --tree --pid-namespace --require
    --memory --pids --cpu --cpu-time --io-read --io-write --detach
    --init --signal-group -g --warn-zombies -w --remap-exit --parent-death
    --report --report-file --quiet -q --verbose -v --license -l --help -h'

# Whether an option of `brood run` takes a value.
_brood_run_takes_value() {
    case $1 in
    --cwd | -C | --env | -e | --user | --group | --groups | --umask | --nice | --limit) return 0 ;;
    --stdin | --stdout | --stderr | --timeout | -t | --idle-timeout | --kill-after | -k) return 0 ;;
    --signal | -s | --own | --require | --report | --report-file) return 0 ;;
    --memory | --pids | --cpu | --cpu-time | --io-read | --io-write) return 0 ;;
    --remap-exit | --parent-death) return 0 ;;
    esac
    return 1
}

# Values of option $1 that begin with $2.
_brood_run_value() {
    local cur=$2 IFS=$'\n'
    case $1 in
    --cwd | -C)
        compopt -o filenames
        COMPREPLY=($(compgen -d -- "$cur"))
        ;;
    --stdin | --stdout | --stderr | --report-file)
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$cur"))
        [[ $1 == --report-file ]] || COMPREPLY+=($(compgen -W null -- "$cur"))
        ;;
    --env | -e) COMPREPLY=($(compgen -e -- "$cur")) ;;
    --user) COMPREPLY=($(compgen -u -- "$cur")) ;;
    --group) COMPREPLY=($(compgen -g -- "$cur")) ;;
    --groups)
        local before=
        [[ $cur == *,* ]] && before=${cur%,*},
        COMPREPLY=($(compgen -P "$before" -g -- "${cur##*,}"))
        ;;
    --limit)
        compopt -o nospace
        COMPREPLY=($(compgen -S = -W $'as\ncore\ncpu\ndata\nfsize\nlocks\nmemlock\nmsgqueue\nnice\nnofile\nnproc\nrss\nrtprio\nrttime\nsigpending\nstack' -- "$cur"))
        ;;
    --signal | -s | --parent-death) COMPREPLY=($(compgen -W $'HUP\nINT\nQUIT\nUSR1\nUSR2\nALRM\nTERM\nCONT\nWINCH\nKILL' -- "$cur")) ;;
    --own) COMPREPLY=($(compgen -W $'child\ngroup\ntree\nnone' -- "$cur")) ;;
    --require) COMPREPLY=($(compgen -W $'best-effort\nkernel' -- "$cur")) ;;
    --remap-exit) COMPREPLY=($(compgen -W $'130\n137\n143' -- "$cur")) ;;
    --report) COMPREPLY=($(compgen -W json -- "$cur")) ;;
    --umask) COMPREPLY=($(compgen -W $'022\n027\n077' -- "$cur")) ;;
    --memory) COMPREPLY=($(compgen -W $'512M\n1G\n4G' -- "$cur")) ;;
    --io-read | --io-write) COMPREPLY=($(compgen -W $'1M\n10M\n100M' -- "$cur")) ;;
    --timeout | -t | --idle-timeout | --kill-after | -k | --cpu-time) COMPREPLY=($(compgen -W $'500ms\n10s\n1m\n1h' -- "$cur")) ;;
    esac
}

# The words after `run` begin at $1. Finds out what the word at the cursor is: an option, its value, or the command's.
_brood_run() {
    local i=$1 word option= command=
    for (( ; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then # bash takes --own=group apart
            continue
        elif [[ $option ]]; then
            option=
            if [[ ${COMP_WORDS[i + 1]-} == = ]]; then # and NAME=value, too
                ((i += 2))
                ((i < COMP_CWORD)) || return 0
            fi
        elif [[ $word == -- ]]; then
            command=$((++i))
            break
        elif [[ $word != -?* ]]; then
            command=$i
            break
        elif _brood_run_takes_value "$word"; then
            option=$word
        fi
    done
    local cur=${COMP_WORDS[COMP_CWORD]}
    if [[ $option ]]; then
        [[ $cur == = ]] && cur=
        _brood_run_value "$option" "$cur"
    elif [[ $command || $cur != -* ]]; then
        if declare -F _command_offset >/dev/null; then
            _command_offset "${command:-$COMP_CWORD}"
        elif ((i < COMP_CWORD)); then
            compopt -o default
        else
            COMPREPLY=($(compgen -c -- "$cur"))
        fi
    else
        COMPREPLY=($(compgen -W "$_brood_run_options" -- "$cur"))
    fi
}

_brood_talk() {
    local i cur=${COMP_WORDS[COMP_CWORD]}
    for ((i = 2; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -?* && ${COMP_WORDS[i]} != -- ]] && continue
        [[ ${COMP_WORDS[i]} == -- ]] && ((++i))
        if declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        else
            compopt -o default
        fi
        return
    done
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '--advanced -a --raw -r --replies -n --help -h' -- "$cur"))
    else
        COMPREPLY=($(compgen -c -- "$cur"))
    fi
}

_brood_pool_takes_value() {
    case $1 in
    --workers | -w | --prefetch | --recycle | --task-timeout | -t | --attempts | --trace) return 0 ;;
    esac
    return 1
}

_brood_pool() {
    local i cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    for ((i = 2; i < COMP_CWORD; i++)); do
        if _brood_pool_takes_value "${COMP_WORDS[i]}"; then
            ((++i < COMP_CWORD)) && continue
            break
        fi
        [[ ${COMP_WORDS[i]} == -?* && ${COMP_WORDS[i]} != -- ]] && continue
        [[ ${COMP_WORDS[i]} == -- ]] && ((++i))
        if declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        else
            compopt -o default
        fi
        return
    done
    case $before in
    --trace)
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$cur"))
        ;;
    --task-timeout | -t) COMPREPLY=($(compgen -W $'500ms\n10s\n1m\n1h' -- "$cur")) ;;
    --workers | -w | --prefetch | --recycle | --attempts) ;;
    *)
        if [[ $cur == -* ]]; then
            COMPREPLY=($(compgen -W '--workers -w --prefetch --recycle --ready --advanced -a --task-timeout -t --attempts --wrap
                --order -k --progress --trace --quiet -q --help -h' -- "$cur"))
        else
            COMPREPLY=($(compgen -c -- "$cur"))
        fi
        ;;
    esac
}

_brood_doctor() {
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    if [[ $cur == = ]]; then # bash takes --require=kernel apart
        cur=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [[ $before == --require ]]; then
        COMPREPLY=($(compgen -W $'best-effort\nkernel' -- "$cur"))
    else
        COMPREPLY=($(compgen -W '--json --require --help -h' -- "$cur"))
    fi
}

_brood() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'run talk pool doctor help --help -h --version -V' -- "$cur"))
    elif [[ ${COMP_WORDS[1]} == run ]]; then
        _brood_run 2
    elif [[ ${COMP_WORDS[1]} == help && $COMP_CWORD -eq 2 ]]; then
        COMPREPLY=($(compgen -W 'run talk pool doctor' -- "$cur"))
    elif [[ ${COMP_WORDS[1]} == talk ]]; then
        _brood_talk
    elif [[ ${COMP_WORDS[1]} == pool ]]; then
        _brood_pool
    elif [[ ${COMP_WORDS[1]} == doctor ]]; then
        _brood_doctor
    fi
}

complete -F _brood brood
