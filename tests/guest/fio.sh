#!/bin/bash
# fio with verification in a guest, on each kind of disk: several jobs, many requests in flight, mixed sizes, discards; what
# was written is read back and compared by fio. Prints TAP, a line for each kind of disk.
# usage: fio.sh DOPPEL ENGINE
# DOPPEL_FIO_SIZE: MiB that each job writes to each disk (4; 48 in the thorough form, 12 interpreted).
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
[ "$engine" = interpret ] && much=12 || much=48
size=${DOPPEL_FIO_SIZE:-${DOPPEL_LONG:+$much}}
size=${size:-4}
seconds=${DOPPEL_LONG:+1500}
seconds=${seconds:-900}

# Each job has a part of the disk to itself, so that no other writes what it verifies.
cat >"$scratch/jobs" <<END
[global]
filename=/dev/vda
ioengine=libaio
direct=1
iodepth=32
size=${size}m
verify=crc32c
verify_fatal=1
verify_dump=0
[mixed]
rw=randwrite
bssplit=4k/50:8k/20:64k/20:128k/10
[small]
rw=randwrite
bs=4k
offset=64m
fsync=64
[sectors]
rw=randwrite
bsrange=512-16k
offset=128m
[row]
rw=write
bs=256k
offset=192m
[readers]
stonewall
rw=randrw
bs=4k
offset=64m
END
cat >"$scratch/trim" <<END
[trim]
filename=/dev/vda
ioengine=libaio
direct=1
iodepth=32
rw=randtrimwrite
bs=16k
size=${size}m
offset=128m
verify=crc32c
verify_fatal=1
verify_dump=0
END
kernel=$(./package.py fio usr/bin/fio "$scratch/initrd" "$scratch/jobs" "$scratch/trim" 2>/dev/null) ||
	skip_all "Debian's fio can not be obtained here"
commands='dmesg -n 1; cd /fio/root; for i in proc sys dev; do mount --bind /$i $i; done
mkdir -p dev/shm; mount -t tmpfs tmpfs dev/shm
for i in jobs trim; do chroot /fio/root /usr/bin/fio --minimal /tmp/$i || { echo "fio $i: $?"; exit 1; }; done
echo all verified'

# disk NAME OPTION: a guest with this disk.
disk() {
	local output status
	output=$("$doppel" run --engine "$engine" --cpus 2 --memory 1G --timeout "$seconds" --rng off --console stdio \
		--kernel "$kernel" --initrd "$scratch/initrd" --disk "$2" \
		--append "console=ttyS0 quiet doppel.exec64=$(base64 -w0 <<<"$commands")" </dev/null 2>&1)
	status=$?
	((status == 0)) && grep -q 'all verified' <<<"$output" && ! grep -qi 'verify:\|verification' <<<"$output"
	result $? "$1, $size MiB a job" "exit status $status; $output"
}

echo 1..5
truncate -s 256M "$scratch/disk.raw"
disk raw "$scratch/disk.raw"
disk 'raw, direct, with limits' "$scratch/disk.raw,direct,iops=4000,bps=64M"
disk overlay "$scratch/disk.raw,overlay"
"$doppel" disk create "$scratch/disk.qcow2" 256M >/dev/null || echo '# no qcow2 image'
disk qcow2 "$scratch/disk.qcow2"
said=$("$doppel" disk check "$scratch/disk.qcow2" 2>&1)
result $? 'the qcow2 image is sound' "$said"
exit $failed
