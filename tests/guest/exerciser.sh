#!/bin/bash
# A shared folder under random operations of two programs at once, each beside a model of its part; in the end the host
# finds in the folder what the models say. Prints TAP.
# usage: exerciser.sh DOPPEL ENGINE EXERCISER_OF_THE_GUEST EXERCISER_OF_THE_HOST
# DOPPEL_OPERATIONS: of each program (2000; 60000 in the thorough form, 15000 of them interpreted). DOPPEL_SEED: of what
# they do.
set -u
doppel=$(realpath "$1")
engine=$2
exerciser=$(realpath "$3")
host_exerciser=$(realpath "$4")
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
[ "$engine" = interpret ] && many=15000 || many=60000
operations=${DOPPEL_OPERATIONS:-${DOPPEL_LONG:+$many}}
operations=${operations:-2000}
seed=${DOPPEL_SEED:-$RANDOM}
seconds=${DOPPEL_LONG:+1600}
seconds=${seconds:-900}

shared=$scratch/shared
mkdir "$shared" "$shared/0" "$shared/1"
cp "$exerciser" "$shared/exerciser"
commands="dmesg -n 1; mkdir /s; mount -t virtiofs share /s && cp /s/exerciser /tmp/e || exit 1
/tmp/e run /s/0 $operations $seed /s/list0 & /tmp/e run /s/1 $operations $((seed + 1)) /s/list1 && wait \$! &&
umount /s"
output=$("$doppel" run debian-tiny --engine "$engine" --timeout "$seconds" --cpus 2 --rng off --share "$shared" \
	--append "doppel.exec64=$(base64 -w0 <<<"$commands")" </dev/null 2>&1)
status=$?
echo 1..2
((status == 0))
result $? "$operations operations, twice at once, are answered as by the model (DOPPEL_SEED=$seed)" \
	"exit status $status; $output"
detail=$(for i in 0 1; do
	"$host_exerciser" list "$shared/$i" | diff "$shared/list$i" - && [ -s "$shared/list$i" ] || echo differs
done 2>&1)
[ -z "$detail" ]
result $? "the folder on the host is what the models say" "$detail"
exit $failed
