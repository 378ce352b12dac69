#!/bin/bash
# Power cuts: the monitor is killed amid writes that the guest makes durable. What the guest reported as flushed must be in
# the image, whose tables and file system must be sound after what any journal replay does; the next guest goes on with the
# same disk. Prints TAP, a line for each kind of disk.
# usage: powercuts.sh DOPPEL ENGINE RECORDS_OF_THE_GUEST RECORDS_OF_THE_HOST
# DOPPEL_POWERCUTS: cuts for each kind of disk (1; 17 in the thorough form). DOPPEL_SEED: of the moments.
set -u
doppel=$(realpath "$1")
engine=$2
records=$(realpath "$3")
host_records=$(realpath "$4")
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
PATH=$PATH:/usr/sbin:/sbin
need_tools mke2fs e2fsck debugfs qemu-img
cuts=${DOPPEL_POWERCUTS:-${DOPPEL_LONG:+17}}
cuts=${cuts:-1}
# Interpreted, on a busy host, the driver of ext4 takes a minute to load.
seconds=600
RANDOM=${DOPPEL_SEED:-$((RANDOM))}

monitor=
end_all() {
	[ -n "$monitor" ] && kill -KILL "$monitor" 2>/dev/null
	rm -rf "$scratch"
}
trap end_all EXIT

# A small journal, which wraps often.
mkdir "$scratch/files"
cp "$records" "$scratch/files/records"
mke2fs -q -F -t ext4 -J size=4 -d "$scratch/files" "$scratch/base" 96M >/dev/null || skip_all 'no file system can be made here'
commands='dmesg -n 1; echo mounting; mount -o discard /dev/vda /mnt && mkdir -p /mnt/streams && /mnt/records write /mnt/streams 4'

# cut DISK FILE: a guest that writes, until it is killed at some moment between mounting and three seconds of
# records.
cut() {
	local tries
	: >"$scratch/console"
	"$doppel" run debian-tiny --engine "$engine" --timeout "$seconds" --cpus 2 --rng off --disk "$1" \
		--append "doppel.exec64=$(base64 -w0 <<<"$commands")" </dev/null >"$scratch/console" 2>&1 &
	monitor=$!
	for tries in {1..2500}; do
		grep -q mounting "$scratch/console" && break
		kill -0 "$monitor" 2>/dev/null || break
		sleep 0.1
	done
	# Most cuts come amid records, some amid the replay of the journal.
	if ((cuts == 1 || RANDOM % 5)); then
		for tries in {1..2500}; do
			grep -q flushed "$scratch/console" && break
			kill -0 "$monitor" 2>/dev/null || break
			sleep 0.1
		done
	fi
	sleep "$((RANDOM % 3)).$((RANDOM % 9 + 1))"
	kill -KILL "$monitor" 2>/dev/null
	wait "$monitor" 2>/dev/null
	local status=$?
	monitor=
	tr -d '\r' <"$scratch/console" >>"$scratch/reported"
	((status == 137)) || {
		echo "the guest ended by itself, status $status"
		cat "$scratch/console"
		return 1
	}
}

# sound FILE FORMAT: the image and the file system in it, and its records, on copies.
sound() {
	local raw=$scratch/check.raw status
	if [ "$2" = qcow2 ]; then
		"$doppel" disk check "$1" || return
		# 3: clusters that nobody uses, which a cut may leave.
		qemu-img check -q "$1"
		status=$?
		((status == 0 || status == 3)) || { echo "qemu-img check: status $status"; return 1; }
		qemu-img convert -O raw "$1" "$raw" || return
	else
		cp --sparse=always "$1" "$raw" || return
	fi
	e2fsck -p "$raw" || (($? == 1)) || { e2fsck -fn "$raw"; return 1; }
	e2fsck -fn "$raw" || return
	rm -rf "$scratch/found"
	mkdir "$scratch/found"
	debugfs -R "rdump /streams $scratch/found" "$raw" >/dev/null 2>&1
	mkdir -p "$scratch/found/streams"
	"$host_records" check "$scratch/found/streams" <"$scratch/reported"
}

# series NAME FILE FORMAT DISK: all cuts of one disk.
series() {
	local i
	: >"$scratch/reported"
	for ((i = 1; i <= cuts; i++)); do
		{ cut "$4" && sound "$2" "$3"; } >"$scratch/said" 2>&1 || {
			result 1 "$1" "cut $i: $(cat "$scratch/said")"
			[ -n "${DOPPEL_POWERCUTS_KEEP-}" ] && cp -r "$scratch" "$DOPPEL_POWERCUTS_KEEP"
			return
		}
	done
	grep -q flushed "$scratch/reported"
	result $? "$1: $cuts cuts, $(tail -n 1 "$scratch/said")"
}

echo 1..3
cp --sparse=always "$scratch/base" "$scratch/disk.raw"
series raw "$scratch/disk.raw" raw "$scratch/disk.raw"
qemu-img convert -f raw -O qcow2 "$scratch/base" "$scratch/disk.qcow2"
series qcow2 "$scratch/disk.qcow2" qcow2 "$scratch/disk.qcow2"
mv "$scratch/base" "$scratch/base.raw"
sum=$(md5sum <"$scratch/base.raw")
series 'kept overlay' "$scratch/overlay.qcow2" qcow2 "$scratch/base.raw,overlay=$scratch/overlay.qcow2"
[ "$sum" = "$(md5sum <"$scratch/base.raw")" ] || {
	echo '# the base of the overlay was changed'
	failed=1
}
exit $failed
