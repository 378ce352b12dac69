#!/bin/bash
# connections.py with x86-64 guests, on a host with KVM in hardware, as QEMU emulates it. Prints TAP; on stderr as it comes.
# One CPU unless told otherwise: a guest with two has not been seen to answer beside namespaces on a host that QEMU emulates, of which
# one stood still meanwhile; it is not understood why. kvm-long moves guests with two.
# usage: kvm-moves.sh DOPPEL HEART [CPUS,... [MOVES]]
set -u
doppel=$(realpath "$1")
heart=$(realpath "$2")
cd "$(dirname "$0")" || exit
. nested/outside.sh
files+=("$heart=/host/heart" connections.py hosts.py tap.py)
for program in ip tc unshare mount umount; do
	files+=("$(command -v $program)=/usr/bin/$program")
done
# The programs of these names before those of busybox.
nested -p -t 3400 "export PATH=/usr/bin:\$PATH DOPPEL_PATIENCE=600; python3 connections.py doppel kvm ${3:-1} ${4:-4} heart"
