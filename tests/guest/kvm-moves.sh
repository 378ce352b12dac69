#!/bin/bash
# connections.py with x86-64 guests, on hosts with KVM in hardware, as QEMU emulates them: one for each number of CPUs and way of
# moving, so that one which crashes takes little with it. Prints TAP; on stderr as it comes.
# usage: kvm-moves.sh DOPPEL HEART [CPUS,... [MOVES]]
set -u
doppel=$(realpath "$1")
heart=$(realpath "$2")
cd "$(dirname "$0")" || exit
. nested/outside.sh
files+=("$heart=/host/heart" connections.py hosts.py tap.py)
for program in ip tc unshare mount umount; do
	files+=("$(command -v $program)=/usr/bin/$program")
done
all=$scratch/all
failed=0

# The programs of these names before those of busybox.
moves() {
	nested -p -t 1700 "export PATH=/usr/bin:\$PATH DOPPEL_PATIENCE=600 DOPPEL_MODES=$2
		python3 connections.py doppel kvm $1 $3 heart"
}

for cpus in $(tr , ' ' <<<"${3:-1,2}"); do
	for mode in offline pre-copy post-copy; do
		(moves "$cpus" "$mode" "${4:-20}") >"$scratch/part"
		status=$?
		if grep '^1\.\.0' "$scratch/part"; then
			exit 0
		fi
		cat "$scratch/part" >>"$all"
		((status == 0)) && continue
		failed=1
		grep -q '^not ok' "$scratch/part" || echo "not ok 0 - harts: $cpus: $mode, the nested host told no end" >>"$all"
	done
done
# Each part counted from 1.
awk '/^1\.\./ { next } /^(not )?ok / { sub(/ok [0-9]+/, "ok " ++n) } { print } END { print "1.." n }' "$all"
exit $failed
