#!/bin/sh
# Tests one by one, each with a limit: a line for each, then how many held, and those that did not.
# run-tests LIMIT ARGUMENTS PROGRAM…: ARGUMENTS are one word here; names among them choose tests, and options go to each.
limit=$1 arguments=$2
shift 2
options='' wants_value=''
for word in $arguments; do
    case $wants_value$word in
    --test-threads | --skip | --color | --format | --logfile | --shuffle-seed) options="$options $word" wants_value=' ' ;;
    ' '* | -*) options="$options $word" wants_value='' ;;
    esac
done
total=0 held=0 failed=/tmp/failed output=/tmp/output
: >$failed

one() {
    start=$(cut -d ' ' -f 1 /proc/uptime)
    timeout "$limit" "$1" --exact $options "$2" >$output 2>&1
    status=$?
    end=$(cut -d ' ' -f 1 /proc/uptime)
    case $status in
    0) word=ok held=$((held + 1)) ;;
    143) word=late ;;
    *) word=FAILED ;;
    esac
    total=$((total + 1))
    line=$(echo "$word $start $end ${1##*/} $2" | awk '{ printf "%-6s %7.1f  %s %s", $1, $3 - $2, $4, $5 }')
    echo "$line"
    [ $status = 0 ] && return
    echo "$line" >>$failed
    cat $output
}

echo "result seconds  test"
for program; do
    for test in $("$program" --list --format terse $arguments | sed -n 's/: test$//p'); do
        one "$program" "$test"
    done
done
echo "$held of $total tests hold on $(uname -r), each in at most $limit s"
cat $failed
[ ! -s $failed ] && [ $total -gt 0 ]
