#!/bin/bash
# nested/kvm-debian on a host with KVM in hardware, as QEMU emulates it. The image is made when it is not there. Prints TAP; on
# stderr as it comes.
# usage: kvm-debian.sh DOPPEL
set -u
doppel=$(realpath "$1")
cd "$(dirname "$0")" || exit
"$doppel" image pull debian --arch x86_64 >&2 || {
	echo '1..0 # SKIP the image debian for x86_64 can not be obtained here'
	exit 0
}
. nested/outside.sh
image=${XDG_CACHE_HOME:-$HOME/.cache}/doppel/images/debian@x86_64
files+=("$image/kernel" "$image/initramfs" nested/kvm-debian nested/kvm-tools.sh)
nested -m 1536M -t 3000 -d "$image/disk.raw" 'bash kvm-debian doppel kernel initramfs'
