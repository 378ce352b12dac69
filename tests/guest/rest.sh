#!/bin/bash
# A machine that is idle for a while gives back what its engine can make again, and goes on as before. Prints TAP.
# usage: rest.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
trap 'timeout 60 "$doppel" stop --force --all 2>/dev/null; rm -rf "$scratch"' EXIT
# More than a whole machine at rest takes, and a fraction of what its guest's boot leaves behind.
most=10240

# beside PID: KiB of memory beside the guest's, which is the largest mapping.
beside() {
	awk '/^[0-9a-f]+-/ { guest = 0 } /^Size:/ { guest = $2 == 262144 } /^Pss:/ && !guest { sum += $2 } END { print sum }' \
		"/proc/$1/smaps"
}

rests() {
	(($(beside "$pid") < most))
}

timeout 300 "$doppel" run -d --name web debian-tiny --memory 256M --engine "$engine" >/dev/null
timeout 300 "$doppel" exec --timeout 290s web -- true
result $? 'a guest starts'
pid=$(timeout 60 "$doppel" inspect web --format json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
before=$(beside "$pid")
((before > most))
result $? "its boot left $before KiB beside the guest's memory" "expected more than $most"
# Half a minute, if nobody else delays it.
within 600 rests
result $? "they become $(beside "$pid")" "still not under $most"
check 'it goes on' "$(seq 3)" "$(timeout 120 "$doppel" exec --timeout 110s web -- seq 3)"
check 'as often as wanted' "$(seq 30 | sha256sum)" "$(timeout 120 "$doppel" exec --timeout 110s web -- sh -c 'seq 30 | sha256sum')"
timeout 120 "$doppel" stop --timeout 60s web
result $? 'and ends by its button'
echo "1..$number"
exit $failed
