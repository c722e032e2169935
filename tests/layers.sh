#!/bin/bash
# The plan of the house, checked: includes point one way, no room reaches into another's private header, every file says
# what it is in charge of, and no line holds a tab or ends in a blank.
set -euo pipefail
cd "$(dirname "$0")/.."

# Each room and what it may include. Public headers count as their room's.
declare -A below=(
    [base]=""
    [process]="base"
    [value]="base"
    [loop]="base process value"
    [stream]="base process value loop"
    [own]="base process value loop"
    [channel]="base process value loop"
    [child]="base process value loop stream own channel"
    [pool]="base process value loop stream own channel child"
    [cluster]="base process value loop stream own channel child pool"
)
failures=0

complain() { # WHERE WHAT
    echo "$1: $2"
    failures=$((failures + 1))
}

check_include() { # FILE:LINE ROOM INCLUDED
    local where=$1 room=$2 included=$3
    case $included in
    '<uv.h>' | '<uv/'*)
        [[ $room != @(base|process|value) && $where != include/* ]] || complain "$where" "knows nothing of libuv"
        ;;
    '<brood.h>')
        [[ $room == cli ]] || complain "$where" "include the headers of the rooms that are needed, not all"
        ;;
    '<brood/'*)
        local other=${included#<brood/}
        allowed "$room" "${other%.h>}" || [[ $room == cli ]] || complain "$where" "$room is below ${other%.h>}"
        ;;
    '"'*/*'"')
        local other=${included#\"}
        other=${other%%/*}
        if [[ $other != "$room" && $included == *[-_]private.h* ]]; then
            complain "$where" "$included is private to $other"
        elif [[ $room == cli && $other != cli ]]; then
            complain "$where" "the command sees public headers only"
        else
            allowed "$room" "$other" || complain "$where" "$room is below $other, or beside it"
        fi
        ;;
    esac
}

allowed() { # ROOM OTHER
    [[ $1 == "$2" || " ${below[$1]-} " == *" $2 "* ]]
}

room_of() { # FILE, into $room; empty for brood.h, which includes everything
    room=$1
    case $1 in
    include/brood.h) room="" ;;
    include/*) room=${room##*/} room=${room%.h} ;;
    src/*) room=${room#src/} room=${room%%/*} ;;
    esac
}

mapfile -t files < <(find src include -name '*.[ch]' | sort)
for file in "${files[@]}"; do
    room_of "$file"
    [[ -z $room || $room == cli || -v below[$room] ]] || complain "$file" "a room that tests/layers.sh does not know"
    read -rn 2 opening <"$file" || true
    [[ $opening == '/*' ]] || complain "$file:1" "does not open with a comment that says what it is in charge of"
done

include='^ *# *include *(["<][^">]*[">])'
while IFS=: read -r file line text; do
    room_of "$file"
    [[ -z $room || ! $text =~ $include ]] || check_include "$file:$line" "$room" "${BASH_REMATCH[1]}"
done < <(grep -nE "$include" /dev/null "${files[@]}")

while IFS=: read -r file line _; do
    complain "$file:$line" "a tab, or a blank at the end of the line"
done < <(find src include tests examples bench fuzz -name '*.[ch]' -exec grep -nP '\t|[ \r]$' /dev/null {} + 2>/dev/null)

echo "layers: ${#files[@]} files, $failures complaints"
[[ ${#files[@]} -gt 0 && $failures -eq 0 ]]
