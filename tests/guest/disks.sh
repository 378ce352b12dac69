#!/bin/bash
# A guest's disks, used by Debian's driver: what it writes is on the host, all of it and nothing else, whatever happens to
# the host's file, its file system, or the monitor. Prints TAP.
# usage: disks.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image

# The pattern: lines from A to B, which both sides can make.
pattern='pattern() { seq $1 $2; }; put() { pattern $2 $3 | dd of=$1 bs=64k seek=${4:-0} conv=fsync,notrunc; }
	bytes() { pattern $1 $2 | wc -c; }; has() { head -c $(bytes $2 $3) $1 | cmp - <(pattern $2 $3); }'
eval "$pattern"
in_guest='pattern() { seq $1 $2; }; put() { pattern $2 $3 | dd of=$1 bs=64k seek=${4:-0} conv=fsync; }
	has() { pattern $2 $3 >/p && head -c $(wc -c </p) $1 | cmp - /p; }'

# start COMMANDS [OPTION...]: runs the commands in a guest; what it and the monitor print is in $scratch/output.
start() {
	local commands=$in_guest$'\n'$1
	shift
	"$doppel" run debian-tiny --engine "$engine" --timeout "$seconds" \
		--append "doppel.exec64=$(base64 -w0 <<<"$commands")" "$@" </dev/null >"$scratch/output" 2>&1
}

# begin ...: the same beside this script, as job $!.
begin() {
	: >"$scratch/output"
	start "$@" &
}

# says TEXT: waits until the guest or the monitor has said so.
says() {
	local tries
	for tries in {1..600}; do
		grep -q "$1" "$scratch/output" && return
		sleep 0.1
	done
	return 1
}

# ended STATUS NAME: the result, with what was printed.
ended() {
	result "$1" "$2" "$(cat "$scratch/output")"
}

echo 1..12
cd "$scratch" || exit

truncate -s 16M a.raw
start 'put /dev/vda 1 300000 && has /dev/vda 1 300000' --disk a.raw && has a.raw 1 300000
ended $? 'a raw disk has what the guest wrote'

"$doppel" disk create b.qcow2 64M >/dev/null
start 'put /dev/vda 1 300000 && put /dev/vda 7 200000 800 && has /dev/vda 1 300000' --disk b.qcow2 &&
	"$doppel" disk check b.qcow2 >/dev/null && "$doppel" disk convert b.qcow2 b.raw >/dev/null 2>&1 &&
	has b.raw 1 300000 && has <(tail -c +$((800 * 65536 + 1)) b.raw) 7 200000
ended $? 'a qcow2 disk has what the guest wrote'

if type qemu-img >/dev/null 2>&1; then
	[ "$(qemu-img compare -f qcow2 -F raw b.qcow2 b.raw)" = 'Images are identical.' ] && qemu-img check -q b.qcow2
	result $? 'qemu-img finds the same in it'
else
	skip 'qemu-img finds the same in it' 'no qemu-img here'
fi

before=$(md5sum <a.raw)
start 'has /dev/vda 1 300000 && ! put /dev/vda 5 10 && ! blkdiscard /dev/vda' --disk a.raw,ro &&
	[ "$(md5sum <a.raw)" = "$before" ]
ended $? 'a read-only disk can be read, and not written'

start 'has /dev/vda 1 300000 && put /dev/vda 5 100000 && has /dev/vda 5 100000' --disk a.raw,overlay &&
	[ "$(md5sum <a.raw)" = "$before" ]
ended $? 'an overlay leaves its base as it is'

truncate -s 8M c.raw
start '[ $(blockdev --getsize64 /dev/vda) = 8388608 ] && [ $(blockdev --getsize64 /dev/vdb) = 67108864 ] &&
	put /dev/vda 3 1000 && has /dev/vdb 1 300000' --disk c.raw --disk b.qcow2 && has c.raw 3 1000
ended $? 'disks come in the order of their options'

truncate -s 16M d.raw
start 'put /dev/vda 1 1500000 && [ $(blockdev --getsize64 /dev/vda) = 16777216 ] && echo written && blkdiscard /dev/vda &&
	head -c 4096 /dev/zero >/z && head -c 4096 /dev/vda | cmp - /z' --disk d.raw && [ "$(du -k d.raw | cut -f1)" -lt 1024 ]
ended $? 'a discard gives room on the host back'

# The limit leaves room for the translator's code.
truncate -s 512M e.raw
(
	ulimit -f 204800
	start 'put /dev/vda 1 1000 && ! put /dev/vda 1 100000 4000 && put /dev/vda 2 2000 && has /dev/vda 2 2000' --disk e.raw
) && has e.raw 2 2000 && grep -q 'I/O error' output
ended $? 'an error of the host reaches the guest as one'

# The guest's writes need more than the file system has; the ballast goes once the machine stands still.
full_disk() {
	local machine status
	mkdir small && mount -t tmpfs -o size=8m small small || return 77
	truncate -s 16M small/f.raw && head -c 6M /dev/zero >small/ballast || return 77
	begin 'put /dev/vda 1 800000 && echo 3 >/proc/sys/vm/drop_caches && has /dev/vda 1 800000' --disk small/f.raw
	machine=$!
	says 'stands still until the host has room' && sleep 2 && rm small/ballast && wait $machine &&
		says 'goes on' && ! grep -qi 'I/O error' output && has small/f.raw 1 800000
	status=$?
	umount -l small
	return $status
}
export -f full_disk begin start says has pattern bytes
export doppel engine scratch seconds in_guest
if unshare -m true 2>/dev/null; then
	unshare -m bash -c full_disk
	status=$?
else
	status=77
fi
if [ $status = 77 ]; then
	skip 'a full host stalls the machine, and nothing is lost' 'no file system can be mounted here'
else
	ended $status 'a full host stalls the machine, and nothing is lost'
fi

# Killed while the guest goes on writing elsewhere.
killed() {
	begin 'put /dev/vda 1 300000 && echo synced && while put /dev/vda 9 300000 400; do :; done' --disk "$1"
	machine=$!
	says '^synced' && sleep 0.5 && end_machine -KILL
}

# The monitor is the job's child, or the job itself.
end_machine() {
	kill "$1" "$(pgrep -P "$machine" || echo "$machine")"
	wait "$machine" 2>/dev/null
}
truncate -s 64M g.raw
killed g.raw
has g.raw 1 300000
ended $? 'a raw disk keeps what was synced when the monitor is killed'

"$doppel" disk create h.qcow2 64M >/dev/null
killed h.qcow2
"$doppel" disk check h.qcow2 --repair >check 2>&1 && "$doppel" disk convert h.qcow2 h.raw >/dev/null 2>&1 && has h.raw 1 300000
ended $? 'a qcow2 disk keeps what was synced when the monitor is killed'

begin 'echo running && sleep 60' --disk a.raw
machine=$!
says '^running' && ! "$doppel" run debian-tiny --disk a.raw --timeout 60 </dev/null >second 2>&1 && grep -q 'a.raw' second
ended $? 'a second machine with the same image is refused'
end_machine -TERM
exit $failed
