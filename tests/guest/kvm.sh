#!/bin/bash
# nested/kvm-inside on a host with KVM in hardware, as QEMU emulates it. Prints TAP; on stderr as it comes.
# usage: kvm.sh DOPPEL
set -u
doppel=$(realpath "$1")
cd "$(dirname "$0")" || exit
. nested/outside.sh
files+=(nested/kvm-inside nested/kvm-tools.sh)
limit=1200
[ "${DOPPEL_LONG:-0}" = 0 ] || limit=3400
nested -t $limit "DOPPEL_LONG=${DOPPEL_LONG:-0} bash kvm-inside doppel"
