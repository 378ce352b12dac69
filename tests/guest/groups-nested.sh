#!/bin/bash
# nested/groups-inside on a host with control groups of version 2 and processors to spare, in QEMU. Prints TAP.
# usage: groups-nested.sh DOPPEL
set -u
doppel=$(realpath "$1")
cd "$(dirname "$0")" || exit
files=("$doppel=/host/doppel" nested/groups-inside tap.sh /bin/bash=/bin/bash)
./nested-run -c 3 -t 900 'bash groups-inside doppel' "${files[@]}"
status=$?
((status != 77)) || echo '1..0 # SKIP no nested host: qemu-system-x86 and a mirror of Debian are needed'
((status == 77)) || exit $status
