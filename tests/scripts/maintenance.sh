#!/bin/sh
# Takes a real server out of a service and puts it back, the way administrators do it with ipvsadm.
# usage: maintenance.sh VIRTUAL REAL COMMAND
set -eu

virtual=$1
real=$2
command=$3

rules=$(mktemp)
trap 'rm -f "$rules"' EXIT
ipvsadm-save -n > "$rules"

forward() {
    ipvsadm -L -n -t "$virtual" | awk -v real="$real" '$1 == "->" && $2 == real { print $3 }'
}

active() {
    ipvsadm -L -n -t "$virtual" | awk -v real="$real" '$1 == "->" && $2 == real { print $5 }'
}

case $(forward) in
    Masq) how=-m ;;
    Tunnel) how=-i ;;
    Route) how=-g ;;
    *) echo "$real is no real server of $virtual" >&2; exit 1 ;;
esac

# No new connections; wait for the established ones, but not for ever.
ipvsadm --edit-server --tcp-service "$virtual" --real-server "$real" $how --weight 0
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ "$(active)" -eq 0 ] && break
    sleep 0.5
done
if [ "$(active)" -ne 0 ]; then
    echo "$real still has $(active) connections" >&2
    exit 1
fi
ipvsadm -d -t "$virtual" -r "$real"

sh -c "$command"

ipvsadm-restore < "$rules"
ipvsadm -Z
