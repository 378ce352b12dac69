#!/bin/bash
# How `doppel run` ends, and what is left then: exit status, terminal, processes; and what a guest at its prompt
# costs. Prints TAP.
# usage: ends.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image

# For M-mode: j . and: wait for an interrupt that never comes; j back
printf '\157\0\0\0' >"$scratch/spin"
printf '\163\0\120\020\157\360\337\377' >"$scratch/sleep"

# on_terminal NAME STATUS OPTIONS SCRIPT: runs `doppel run OPTIONS` in a shell on a terminal of its own while expect's
# SCRIPT acts on it; there, `started` waits until the terminal is raw, and [monitor] is the monitor's process. The
# terminal's settings are compared with those before, and nothing of the monitor may be left.
on_terminal() {
	local output status
	rm -f "$scratch"/{pid,before,after,status}
	cat >"$scratch/session" <<-EOS
		cd $scratch
		stty -g >before
		bash -c 'echo \$\$ >pid; exec $doppel run --engine $engine $3' 2>errors
		echo \$? >status
		stty -g >after
		echo session-is-over
	EOS
	output=$(expect -c "
		set timeout 60
		spawn -noecho bash $scratch/session
		expect_after timeout { exit 99 } eof { exit 99 }
		proc monitor {} { exec cat $scratch/pid }
		proc started {} {
			for {set i 0} {\$i < 500} {incr i} {
				if {[string match {*-icanon*} [exec stty -a < \$::spawn_out(slave,name)]]} return
				after 20
			}
			puts {never raw}
			exit 98
		}
		$4
		expect session-is-over
		expect eof" 2>&1)
	status=$(cat "$scratch/status")
	[ "$status" = "$2" ] && cmp -s "$scratch/before" "$scratch/after" && ! [ -e "/proc/$(cat "$scratch/pid")" ]
	result $? "$1" "exit status $status, expected $2; terminal $(cat "$scratch/before"), then $(cat "$scratch/after");
$(cat "$scratch/errors"); $output"
}

# signalled NAME SIGNAL STATUS PAYLOAD: a signal ends a monitor without a terminal, and its threads.
signalled() {
	local pid status
	"$doppel" run --engine "$engine" --cpus 2 --console none --firmware "$scratch/$4" 2>"$scratch/errors" &
	pid=$!
	sleep 0.3
	kill "-$2" $pid
	wait $pid 2>/dev/null
	status=$?
	[ $status = "$3" ] && ! [ -e /proc/$pid ]
	result $? "$1" "exit status $status, expected $3; $(cat "$scratch/errors")"
}

# ticks PID: processor time that it used, in clock ticks (100 a second).
ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# used_by_idle HARTS: percent of a core, once a guest has been at its prompt for a while.
used_by_idle() {
	local harts=$1 pid before after
	mkfifo "$scratch/input"
	"$doppel" run debian-tiny --engine "$engine" --cpus "$harts" <"$scratch/input" >"$scratch/output" 2>&1 &
	pid=$!
	exec 7>"$scratch/input"
	until grep -q 'debian-tiny:/#' "$scratch/output" || ! kill -0 $pid 2>/dev/null; do sleep 0.2; done
	sleep 2
	before=$(ticks $pid)
	sleep 5
	after=$(ticks $pid)
	printf 'exit\r' >&7
	exec 7>&-
	wait $pid
	rm "$scratch/input"
	awk -v used=$((after - before)) -v hertz="$(getconf CLK_TCK)" 'BEGIN { print 100 * used / hertz / 5 }'
}

# idle HARTS: a busy host gets a second chance.
idle() {
	local used
	for _ in 1 2; do
		used=$(used_by_idle "$1")
		awk -v used="$used" 'BEGIN { exit !(used < 2) }' && break
	done
	awk -v used="$used" 'BEGIN { exit !(used < 2) }'
	result $? "a guest with $1 harts at its prompt uses under 2 % of a core" "$used %"
}

echo 1..16
on_terminal 'power-off' 0 debian-tiny 'expect "debian-tiny:/#"; send "exit\r"'
on_terminal "the guest's own status" 9 'debian-tiny --append doppel.exec64=ZXhpdCA5' ''
on_terminal 'Ctrl-A x' 0 '--firmware spin' 'started; send "\001x"'
on_terminal 'Ctrl-A x while the guest sleeps' 0 '--firmware sleep --cpus 4' 'started; send "\001x"'
on_terminal 'the time limit' 6 '--firmware spin --timeout 700ms' ''
on_terminal 'SIGTERM' 143 '--firmware spin --cpus 2' 'started; exec kill -TERM [monitor]'
on_terminal 'SIGINT' 130 '--firmware sleep' 'started; exec kill -INT [monitor]'
on_terminal 'SIGHUP' 129 '--firmware spin' 'started; exec kill -HUP [monitor]'
on_terminal 'a crash' 139 '--firmware spin' 'started; exec kill -SEGV [monitor]'
on_terminal 'an abort' 134 '--firmware sleep' 'started; exec kill -ABRT [monitor]'
signalled 'SIGTERM without a terminal' TERM 143 spin
signalled 'SIGKILL' KILL 137 spin
signalled 'SIGKILL of a sleeper' KILL 137 sleep
"$doppel" run --engine "$engine" --console none --firmware "$scratch/sleep" --timeout 300ms 2>/dev/null
same_status 'the time limit of a guest that sleeps' 6 $?
idle 1
idle 4
exit $failed
