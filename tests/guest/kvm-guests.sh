#!/bin/bash
# nested/kvm-guests on a host with KVM in hardware, as QEMU emulates it. Prints TAP; on stderr as it comes.
# usage: kvm-guests.sh DOPPEL PEER PVH.elf MULTIBOOT.elf CLOCKS [PART...]
set -u
doppel=$(realpath "$1")
peer=$(realpath "$2")
pvh=$(realpath "$3")
multiboot=$(realpath "$4")
clocks=$(realpath "$5")
cd "$(dirname "$0")" || exit
. nested/outside.sh
kernel=${XDG_CACHE_HOME:-$HOME/.cache}/doppel/images/debian-tiny@x86_64/kernel
# The ELF file that Debian's kernel unpacks itself to: the Linux boot protocol's payload_offset, in the part behind setup_sects.
number() {
	od -An -j "$1" -N "$2" -t "u$2" "$kernel" | tr -d ' '
}
{
	tail -c +$((($(number 497 1) + 1) * 512 + $(number 584 4) + 1)) "$kernel" | head -c "$(number 588 4)" |
		zstd -dcq >"$scratch/vmlinux"
} 2>/dev/null
files+=("$peer=/host/peer" "$pvh=/host/pvh.elf" "$multiboot=/host/multiboot.elf" "$clocks=/host/clocks" "$scratch/vmlinux"
	nested/kvm-guests nested/kvm-tools.sh hugepages.sh bare-x86/run=/host/bare-x86/run "$(command -v flock)=/bin/flock")
nested -m 6G -t 3400 "bash kvm-guests doppel peer vmlinux ${*:6}"
