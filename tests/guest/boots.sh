#!/bin/bash
# What boots: Debian's kernel on machines of several sizes, under OpenSBI too; U-Boot. Prints TAP.
# usage: boots.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
opensbi=/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin
uboot=/usr/lib/u-boot/qemu-riscv64/u-boot.bin
uboot_smode=/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf
need_engine
need_image

# debian HARTS MIB [OPTION...]: boots and lets the guest say what it is. Linux keeps some of the memory for itself.
debian() {
	local harts=$1 mib=$2 output status total
	shift 2
	output=$("$doppel" run debian-tiny --engine "$engine" --timeout "$seconds" --cpus "$harts" --memory "${mib}M" \
		--append 'doppel.exec="nproc; free -m; uname -m; date +%s; sleep 0.3"' "$@" </dev/null 2>&1)
	status=$?
	output=$(tr -d '\r' <<<"$output")
	total=$(awk '/^Mem:/ { print $2 }' <<<"$output")
	[ $status = 0 ] && grep -qx "$harts" <<<"$output" && grep -qx riscv64 <<<"$output" &&
		((total > mib * 80 / 100 - 32 && total <= mib)) && clock_is_right "$output"
	result $? "Debian, $harts harts, $mib MiB${*:+, $1}" "exit status $status, $total MiB; $output"
}

# Linux takes a clock's second for its middle, so the guest may be half a second ahead.
clock_is_right() {
	local told now
	told=$(grep -x '[0-9]\{10,\}' <<<"$1")
	now=$(date +%s)
	((told <= now + 1 && told > now - 10))
}

# dialogue NAME STATUS OPTIONS SCRIPT: expect's SCRIPT holds the conversation with `doppel run OPTIONS`. It fails by
# itself with status 99 when what it waits for does not come.
dialogue() {
	local output status
	output=$(expect -c "
		set timeout 60
		spawn -noecho $doppel run --engine $engine --timeout $seconds $3
		expect_after timeout { exit 99 } eof { exit 99 }
		$4
		expect eof
		exit [lindex [wait] 3]" 2>&1)
	status=$?
	same_status "$1" "$2" $status "$output"
}

echo 1..12
debian 1 256
debian 2 1024
debian 4 4096
# An eighth of what it wants: what is translated again and again must not keep it from getting on.
debian 4 512 --code-cache 1M
if [ -e "$opensbi" ]; then
	debian 1 512 --firmware "$opensbi"
	./opensbi.py "$opensbi" "$scratch/opensbi.bin"
	debian 2 512 --firmware "$scratch/opensbi.bin"
else
	skip 'Debian under OpenSBI' 'opensbi is not installed'
	skip 'Debian under OpenSBI, 2 harts' 'opensbi is not installed'
fi

dialogue 'a guest that reboots, and powers off the second time' 0 'debian-tiny --cpus 2' '
	expect "debian-tiny:/#"
	send "reboot -f\r"
	expect "doppel: init at"
	expect "debian-tiny:/#"
	send "exit\r"'

prompt='expect "autoboot:" { send "\r" }
	expect "=> "'
if [ -e "$uboot" ]; then
	dialogue 'U-Boot in M-mode answers; the finisher ends with 0' 0 "--firmware $uboot" "$prompt"'
		send "setexpr a 0x123 * 3\rprintenv a\r"
		expect "a=369"
		send "mw.l 100000 5555\r"'
	dialogue 'the finisher ends with 42' 42 "--firmware $uboot --cpus 2" "$prompt"'
		send "mw.l 100000 2a3333\r"'
	dialogue 'the finisher resets' 0 "--firmware $uboot" "$prompt"'
		send "mw.l 100000 7777\r"
		'"$prompt"'
		send "poweroff\r"'
	dialogue 'U-Boot in S-mode answers, and powers off through SBI' 0 "--kernel $uboot_smode" "$prompt"'
		send "setexpr a 0x321 + 1\rprintenv a\r"
		expect "a=322"
		send "poweroff\r"'
	dialogue 'U-Boot in S-mode resets through SBI' 0 "--kernel $uboot_smode --cpus 2" "$prompt"'
		send "reset\r"
		'"$prompt"'
		send "poweroff\r"'
else
	for name in 'U-Boot in M-mode' 'ends with 0' 'ends with 42' 'resets' 'U-Boot in S-mode'; do
		skip "$name" 'u-boot-qemu is not installed'
	done
fi
exit $failed
