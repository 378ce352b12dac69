#!/bin/bash
# A guest's virtio devices, each used by Debian's drivers, with a verified pattern. Prints TAP.
# usage: devices.sh DOPPEL ENGINE PEER_OF_THE_GUEST PEER_OF_THE_HOST
set -u
doppel=$(realpath "$1")
engine=$2
peer=$(realpath "$3")
host_peer=$(realpath "$4")
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image

shared=$scratch/shared
mkdir "$shared" "$scratch/vsock"
cp "$peer" "$shared/peer"
mount='mkdir -p /s && mount -t virtiofs share /s'

# guest NAME CHECK COMMANDS [OPTION...]: passes when the commands end with 0 and so does CHECK, on the host, which finds
# what they printed in $output.
guest() {
	local name=$1 check=$2 commands=$3 status
	shift 3
	output=$("$doppel" run debian-tiny --engine "$engine" --timeout "$seconds" --share "$shared" \
		--append "doppel.exec64=$(base64 -w0 <<<"$commands")" "$@" </dev/null 2>&1)
	status=$?
	output=$(tr -d '\r' <<<"$output")
	((status == 0)) && "$check"
	result $? "$name" "exit status $status; $output $(cat "$scratch/host" 2>/dev/null)"
}

# Runs one of the host's ends as soon as the guest says that it listens (or its socket is there), once.
host_end() {
	local tries
	for tries in {1..300}; do
		"$host_peer" "$@" >"$scratch/host" 2>&1 && return
		sleep 0.2
	done
}

# What the checks look at.
same_files() {
	cmp -s "$shared/from-host" "$shared/made/copy" && [ "$(stat -c %a "$shared/made/copy")" = 640 ] &&
		grep -qF "$(md5sum <"$shared/from-host")" <<<"$output"
}
nothing_changed() {
	[ -s "$shared/from-host" ] && [ ! -e "$shared/new" ] && [ ! -e "$shared/folder" ]
}
host_is_content() {
	wait "$end" && grep -q '^exchanged' "$scratch/host"
}
host_is_done() {
	wait "$end"
}

echo 1..7
guest 'random bytes' true 'head -c 1000 /dev/hwrng | wc -c | grep -x 1000'

head -c 3000000 /dev/urandom >"$shared/from-host"
guest 'a shared folder is read and written' same_files "$mount
	cp /s/from-host /s/from-guest && mkdir /s/made && mv /s/from-guest /s/made/copy && ln -s copy /s/made/link &&
	md5sum </s/made/link && chmod 640 /s/made/copy && umount /s"

echo secret >"$scratch/secret"
ln -s ../secret "$shared/out"
guest 'nothing leads out of a shared folder' true "$mount
	! cat /s/out && ! cat /s/../secret && ln -s ../../../../etc/hostname /s/up && ! cat /s/up && rm /s/up"

guest 'a read-only share can not be changed' nothing_changed 'mkdir -p /r && mount -t virtiofs reading /r &&
	cat /r/from-host >/dev/null && ! touch /r/new && ! rm /r/from-host && ! mkdir /r/folder &&
	! chmod 777 /r/from-host' --share "$shared:reading:ro"

"$host_peer" "unix-listen:$scratch/vsock/500" echo >/dev/null &
end=$!
guest 'a socket from the guest to the host' host_is_done \
	"$mount; /s/peer vsock:500 exchange 3000000 && ! /s/peer vsock:501 exchange 1" --vsock "$scratch/vsock"

host_end "greet:$scratch/vsock:600" exchange 2000000 &
end=$!
guest 'a socket from the host to the guest' host_is_content "$mount; /s/peer vsock-listen:600 echo" \
	--vsock "$scratch/vsock"

host_end "unix:$scratch/agent" exchange 1000000 &
end=$!
guest 'a channel' host_is_content \
	"$mount; grep -x agent /sys/class/virtio-ports/*/name && /s/peer file:\$(ls /dev/vport*p0) echo" \
	--channel "agent=$scratch/agent"
exit $failed
