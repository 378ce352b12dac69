#!/bin/bash
# Control groups as a monitor makes them, on Debian's kernel: in a guest, since hosts of tests seldom have them. Prints TAP.
# usage: groups.sh DOPPEL ENGINE PROGRAM
set -u
doppel=$(realpath "$1")
engine=$2
program=$(realpath "$3")
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
mkdir "$scratch/shared"
cp "$program" "$scratch/shared/groups"
# Its own command line leaves the memory controller out.
"$doppel" image export debian-tiny "$scratch/image" >/dev/null || skip_all 'the image can not be exported'

# inside NAME WHAT CPUS
inside() {
	local status output
	output=$("$doppel" run --kernel "$scratch/image/kernel" --initrd "$scratch/image/initramfs" --engine "$engine" --timeout "$seconds" --cpus "$3" --memory 256M \
		--share "$scratch/shared" --append "console=ttyS0 quiet doppel.exec64=$(base64 -w0 <<<"mkdir -p /s /sys/fs/cgroup &&
			mount -t virtiofs share /s && mount -t cgroup2 none /sys/fs/cgroup && /s/groups $2")" </dev/null 2>&1)
	status=$?
	output=$(tr -d '\r' <<<"$output" | grep -E 'weight|at most|group|others|is still|needs|can not|controller' | tail -n 12)
	result $status "$1" "exit status $status; $output"
	((status)) || sed 's/^/# /' <<<"$output"
}

echo 1..4
inside 'shares follow the weights 1 : 2 : 4 within 3 %' weights 1
inside 'a maximum of processor time' maximum 1
inside 'a maximum of memory' memory 1
inside 'a processor of its own' partition 2
exit $failed
