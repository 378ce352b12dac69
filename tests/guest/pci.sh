#!/bin/bash
# Every virtio device as a function of PCI, all in one machine, used by Debian's drivers; a reboot between two rounds.
# Prints TAP. usage: pci.sh DOPPEL ENGINE CPUS
set -u
doppel=$(realpath "$1")
engine=$2
cpus=$3
cd "$(dirname "$0")" || exit
. ./tap.sh
seconds=600 # the interpreter on a busy host
need_engine
need_image

mkdir "$scratch/shared" "$scratch/vsock"
head -c 1000000 /dev/urandom >"$scratch/shared/from-host"
truncate -s 4M "$scratch/disk.raw"
# The first round writes and reboots, the second reads and ends.
cat >"$scratch/shared/commands" <<'END'
set -e
for d in /sys/bus/pci/devices/*; do
	driver=$(readlink $d/driver || true)
	echo "function ${d##*/} $(cat $d/vendor) $(cat $d/device) $(cat $d/class) ${driver##*/}"
done
head -qn 1 /sys/bus/pci/drivers/virtio-pci/*/resource | sort -u | wc -l | sed 's/^/places /'
echo "wires $(grep -c 'PLIC.*virtio' /proc/interrupts)"
ip link set eth0 up
udhcpc -i eth0 -n -q -s /bin/true >/dev/null 2>&1 && echo card
if [ -e /s/round ]; then
	head -c 1000000 /dev/vda | cmp - /s/from-host && echo disk kept
	umount /s
	exit 33
fi
dd if=/s/from-host of=/dev/vda bs=4k conv=notrunc 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
head -c 1000000 /dev/vda | cmp - /s/from-host && echo disk same
[ $(head -c 1000 /dev/hwrng | wc -c) = 1000 ] && echo random
grep -qx agent /sys/class/virtio-ports/*/name && echo channel
[ -e /dev/vsock ] && echo socket
for i in $(seq 100); do
	awk '/MemAvailable/ { exit $2 > 300000 }' /proc/meminfo && echo balloon && break
	sleep 0.3
done
touch /s/round
umount /s
reboot -f
END
commands='mkdir -p /s && mount -t virtiofs share /s && cp /s/commands /tmp && sh /tmp/commands'
output=$("$doppel" run debian-tiny --engine "$engine" --cpus "$cpus" --transport pci --timeout "$seconds" \
	--disk "$scratch/disk.raw" --net user --balloon 256M --rng on --share "$scratch/shared" --vsock "$scratch/vsock" \
	--channel "agent=$scratch/agent" --console-device virtio \
	--append "console=hvc0 doppel.exec64=$(base64 -w0 <<<"$commands")" </dev/null 2>&1)
status=$?
output=$(tr -d '\r' <<<"$output")

# told NAME PATTERN TIMES: that many lines match.
told() {
	[ "$(grep -cE "$2" <<<"$output")" = "$3" ]
	result $? "$1" "$output"
}
echo 1..10
same_status 'two rounds, and the status of the second' 33 "$status" "$output"
told 'a host bridge, in both rounds' '^function 0000:00:00.0 0x1b36 0x0008 0x060000' 2
told 'eight functions that drivers took' '^function 0000:00:..\.0 0x1af4 0x10.. 0x...... virtio-pci$' 16
told 'each has its place' '^places 8$' 2
told 'the disk reads what was written' '^disk same$' 1
told 'and keeps it' '^disk kept$' 1
told 'random bytes, a channel, sockets, a balloon' '^(random|channel|socket|balloon)$' 4
told 'a lease from the network, in both rounds' '^card$' 2
told 'interrupts come by wires' '^wires [1-9]' 2
[ -e "$scratch/shared/round" ]
result $? 'the shared folder was written'
exit $failed
