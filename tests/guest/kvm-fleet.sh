#!/bin/bash
# A mixed fleet: machines that are saved on a host with KVM and taken back on another, whose processor has less. Both are as QEMU
# emulates them. Prints TAP.
# usage: kvm-fleet.sh DOPPEL PVH.elf
set -u
doppel=$(realpath "$1")
pvh=$(realpath "$2")
cd "$(dirname "$0")" || exit
feature=sse4a
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
printf -- '-%s\n' $feature >"$scratch/model"
files=("$doppel=/host/doppel" "$pvh=/host/pvh.elf" "$scratch/model" nested/kvm-fleet tap.sh /bin/bash=/bin/bash)
./nested-run -t 1500 'bash kvm-fleet first /host/model' "${files[@]}" >"$scratch/state.tar"
status=$?
if ((status == 77)); then
	echo '1..0 # SKIP no nested host: qemu-system-x86 and a mirror of Debian are needed'
	exit 0
fi
((status == 0)) || exit $status
./nested-run -t 1500 -f $feature=off "bash kvm-fleet second $feature" "${files[@]}" "$scratch/state.tar"
