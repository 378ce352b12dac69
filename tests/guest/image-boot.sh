#!/bin/bash
# The guest debian-tiny as `doppel run` boots it: its tour, commands and their status, an interactive shell. Prints TAP.
# usage: image-boot.sh DOPPEL
set -u
doppel=$(realpath "$1")
seconds=300
number=0

# result STATUS NAME [DETAIL]: 0 is a pass.
result() {
	number=$((number + 1))
	if (($1 == 0)); then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		printf '# %s\n' "${3-}" | head -50 | sed '2,$s/^/# /'
	fi
}

run() {
	timeout "$seconds" "$doppel" run debian-tiny "$@" </dev/null 2>&1 | tr -d '\r'
	return "${PIPESTATUS[0]}"
}

# runs NAME STATUS PATTERN APPEND: boots, and compares status and output.
runs() {
	local output status
	output=$(run --append "$4")
	status=$?
	[ "$status" = "$2" ] && grep -qE -- "$3" <<<"$output"
	result $? "$1" "status $status, expected $2; pattern '$3' in: $output"
}

if ! "$doppel" image pull debian-tiny >/dev/null; then
	echo '1..0 # SKIP the image can not be obtained here'
	exit 0
fi
echo 1..7

runs 'the first line of user space' 0 '^doppel: init at [0-9.]+ s$' 'doppel.exec=true'
runs 'a command, its output and status' 7 '^two  words$' 'doppel.exec="echo two\ \ words; exit 7"'
runs 'a failing command' 1 'doppel: init' 'doppel.exec=false'
runs 'any text as base64' 44 '^A"B$' "doppel.exec64=$(printf 'echo a\\"b | tr a-z A-Z; exit 300' | base64 -w0)"
runs 'size of the terminal' 0 '^40 132$' 'doppel.size=132x40 doppel.exec="stty size"'
runs 'the tour' 0 '^  kernel +Linux 6\..*riscv64$' doppel.tour

output=$(timeout "$seconds" expect -c "
	set timeout $seconds
	spawn -noecho $doppel run debian-tiny
	expect {debian-tiny:/#}
	send {sleep 100}
	send \"\r\"
	sleep 1
	send \"\003\"
	expect {debian-tiny:/#}
	send {echo st=\$?, \$(tty), \$(hostname)}
	send \"\r\"
	expect -re {st=130, /dev/ttyS0, debian-tiny.*debian-tiny:/#} { puts SHELL-WORKS }
	send \"exit\r\"
	expect eof
	exit [lindex [wait] 3]" 2>&1)
status=$?
[ $status = 0 ] && grep -q SHELL-WORKS <<<"$output"
result $? 'a shell with job control, and power-off when it ends' "status $status: $output"
