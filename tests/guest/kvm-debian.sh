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
tar -C "${XDG_CACHE_HOME:-$HOME/.cache}/doppel/images/debian@x86_64" -cSf "$scratch/image.tar" manifest kernel initramfs disk.raw
files+=("$scratch/image.tar" nested/kvm-debian nested/kvm-tools.sh "$(command -v tar)=/usr/bin/tar")
nested -m 3G -t 3400 'PATH=/usr/bin:$PATH bash kvm-debian doppel image.tar'
