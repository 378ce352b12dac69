#!/bin/bash
# Linux in each compression that a bzImage may have unpacks itself and starts its first program, on a host with KVM in hardware, as
# QEMU emulates it. Prints TAP.
# usage: compressions.sh DOPPEL INIT
set -u
doppel=$(realpath "$1")
init=$(realpath "$2")
cd "$(dirname "$0")" || exit
. ./tap.sh
kernels=${XDG_CACHE_HOME:-$HOME/.cache}/doppel/nested/bzimages
kernels/make-kernels "$kernels" >&2 || skip_all 'the kernels can not be made here'

# The payload's first bytes: at payload_offset of the Linux boot protocol, in the part behind setup_sects.
number() {
	od -An -j "$2" -N "$3" -t "u$3" "$1" | tr -d ' '
}
magic() {
	od -An -j $((($(number "$1" 497 1) + 1) * 512 + $(number "$1" 584 4))) -N 3 -t x1 "$1" | tr -d ' '
}
python3 - "$init" "$scratch/initrd" <<'END'
import pathlib, sys
sys.path.insert(0, "../bench")
import payload
with open(sys.argv[2], "wb") as out:
    archive = payload.Archive(out)
    archive.file("init", pathlib.Path(sys.argv[1]).read_bytes())
    archive.end()
END
./nested-run -t 900 'for kernel in bzImage-*; do
		timeout 200 doppel run --arch x86_64 --engine kvm --memory 64M --kernel $kernel --initrd initrd \
			--append "console=ttyS0 panic=-1" </dev/null >said 2>&1
		echo "$kernel $? $(tr -d "\r" <said | grep -x "user space") $(grep -ao "Linux version [0-9.]*" said)"
	done' "$doppel" "$scratch/initrd" "$kernels"/bzImage-* >"$scratch/told"
status=$?
((status != 77)) || skip_all 'no nested host: qemu-system-x86 and a mirror of Debian are needed'
while read -r name bytes; do
	check "$name is what the kernel of that name is packed with" "$bytes" "$(magic "$kernels/bzImage-$name")"
done <<'END'
GZIP 1f8b08
BZIP2 425a68
LZMA 5d0000
XZ fd377a
LZO 894c5a
LZ4 02214c
ZSTD 28b52f
END
for kernel in "$kernels"/bzImage-*; do
	name=${kernel##*/}
	grep -q "^$name 33 user space Linux version" "$scratch/told"
	result $? "$name starts its first program" "status $status: $(cat "$scratch/told")"
done
echo "1..$number"
exit $failed
