#!/bin/bash
# Memory that a guest frees leaves the monitor's resident memory; a guest begins with what its balloon leaves. Prints TAP.
# usage: balloon.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image

# dialogue OPTIONS: fills 200 MiB of files in the guest and removes them; the monitor's resident MiB before, between, after.
# The kernel reports free pages two seconds after it has them.
dialogue() {
	expect -c "
		proc resident {pid} {
			set status [open /proc/\$pid/status]
			regexp {VmRSS:\\s+(\\d+)} [read \$status] all kib
			close \$status
			return [expr \$kib / 1024]
		}
		set timeout 90
		set pid [spawn -noecho $doppel run debian-tiny --engine $engine --timeout $seconds --memory 512M $1]
		expect_after timeout { exit 99 } eof { exit 99 }
		expect {debian-tiny:/#}
		set before [resident \$pid]
		send {dd if=/dev/zero of=/fill bs=1M count=200; echo filled=\$?}
		send \\r
		expect {filled=0}
		set filled [resident \$pid]
		send {rm /fill; sleep 7; echo removed=\$?}
		send \\r
		expect {removed=0}
		set after [resident \$pid]
		send exit\\r
		expect eof
		puts \"resident \$before \$filled \$after\"" | tr -d '\r' | awk '/^resident/ { print $2, $3, $4 }'
}

# shrinks NAME OPTIONS: at least three quarters of what was filled are gone again.
shrinks() {
	local before filled after
	read -r before filled after < <(dialogue "$2")
	[ -n "${after-}" ] && ((filled - before > 150 && filled - after > (filled - before) * 3 / 4))
	result $? "$1" "resident MiB before, filled, after: ${before-} ${filled-} ${after-}"
}

echo 1..3
shrinks 'free pages are reported and leave the monitor' '--balloon 512M'
shrinks 'free pages are reported through split rings' '--balloon 512M --virtio-without packed --cpus 2'

# It gives its memory in its own time.
commands='for i in $(seq 60); do sleep 1; [ $(free -m | sed -n "s/^Mem: *[0-9]* *[0-9]* *\([0-9]*\).*/\1/p") -lt 64 ] && break; done
free -m'
output=$("$doppel" run debian-tiny --engine "$engine" --timeout "$seconds" --memory 512M --balloon 128M \
	--append "doppel.exec64=$(base64 -w0 <<<"$commands")" </dev/null 2>&1)
free=$(tr -d '\r' <<<"$output" | awk '/^Mem:/ { print $4 }')
[ -n "$free" ] && ((free < 64))
result $? 'a guest of 512 MiB whose balloon leaves 128 MiB' "$output"
exit $failed
