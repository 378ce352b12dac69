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
told=$(mktemp)
trap 'rm -f "$told"' EXIT
limit=1200
[ "${DOPPEL_LONG:-0}" = 0 ] || limit=3400
# A host that crashed (125), which QEMU's emulation of one does now and then, says nothing of us: once more.
for try in 1 2; do
	./nested-run -t $limit "DOPPEL_LONG=${DOPPEL_LONG:-0} bash kvm-inside doppel" "${files[@]}" >"$told"
	status=$?
	((status == 125)) || break
	echo "kvm.sh: the nested host crashed, try $try of 2" >&2
done
cat "$told"
((status != 77)) || echo '1..0 # SKIP no nested host: qemu-system-x86 and a mirror of Debian are needed'
((status == 77)) || exit $status
