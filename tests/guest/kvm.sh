#!/bin/bash
# nested/kvm-inside on a host with KVM in hardware, as QEMU emulates it. Prints TAP.
# usage: kvm.sh DOPPEL
set -u
doppel=$(realpath "$1")
cd "$(dirname "$0")" || exit
"$doppel" image pull debian-tiny --arch x86_64 >&2 || {
	echo '1..0 # SKIP the image for x86_64 can not be obtained here'
	exit 0
}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/doppel/images/debian-tiny@x86_64
files=("$doppel=/host/doppel" nested/kvm-inside tap.sh /bin/bash=/bin/bash)
for file in kernel initramfs manifest; do
	files+=("$cache/$file=/root/.cache/doppel/images/debian-tiny@x86_64/$file")
done
./nested-run -t 3600 "DOPPEL_LONG=${DOPPEL_LONG:-0} bash kvm-inside doppel" "${files[@]}"
status=$?
((status != 77)) || echo '1..0 # SKIP no nested host: qemu-system-x86 and a mirror of Debian are needed'
((status == 77)) || exit $status
