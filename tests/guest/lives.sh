#!/bin/bash
# The life of machines with names, from outside: every verb, every illegal transition, and what is left after each end. The
# guests are a few instructions in M-mode. Prints TAP.
# usage: lives.sh DOPPEL
set -u
doppel=$(realpath "$1")
engine=
cd "$(dirname "$0")" || exit
. ./tap.sh
export DOPPEL_STATE=$scratch/state XDG_CACHE_HOME=$scratch/cache
trap 'timeout 60 "$doppel" stop --force --all 2>/dev/null; rm -rf "$scratch"' EXIT

# j . and: wait for an interrupt that never comes, j back; and: end with status 7, through the finisher at 0x100000
printf '\157\0\0\0' >"$scratch/spin"
printf '\163\0\120\020\157\360\337\377' >"$scratch/sleep"
printf '\267\2\20\0\67\63\7\0\23\3\63\63\43\240\142\0\157\0\0\0' >"$scratch/end"

d() {
	timeout 60 "$doppel" "$@"
}

# expect NAME STATUS TEXT ARGUMENTS...: the command's exit status, and that its output has TEXT in it.
expect() {
	local name=$1 status=$2 text=$3 output found
	shift 3
	output=$(timeout 60 "$doppel" "$@" 2>&1 </dev/null)
	found=$?
	[ $found = "$status" ] && [[ $output == *"$text"* ]]
	result $? "$name" "doppel $*: exit status $found, expected $status; output: $output; expected in it: $text"
}

# state NAME WORD
state() {
	local found
	found=$(d inspect "$1" --format json | sed -n 's/.*"state": "\(.*\)".*/\1/p')
	[ "$found" = "$2" ]
	result $? "$1 is $2" "it is $found"
}

monitor_of() {
	d inspect "$1" --format json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'
}

# until_true COMMAND...: tries for a while.
until_true() {
	local i
	for i in $(seq 400); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}

# is_gone PID: with all of its threads, whose files are closed only then.
is_gone() {
	[ ! -d "/proc/$1" ] ||
		{ [ "$(sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null)" = Z ] && [ "$(ls "/proc/$1/task" | wc -l)" = 1 ]; }
}

has_line() {
	grep -q "$1" "$2"
}

one_name() {
	expect 'run -d prints the name' 0 web run -d --name web --firmware "$scratch/sleep"
	state web running
	expect 'a second one of that name' 4 'there is a machine web already' run -d --name web --firmware "$scratch/sleep"
	expect 'a beginning of the name is enough' 0 'running' inspect w
	expect 'start of what runs' 4 'web is running and can not be started; doppel stop web' start web
	expect 'resume of what runs' 4 'web is running and can not be resumed' resume web
	expect 'rm of what runs' 4 'web is running and can not be removed' rm web
	expect 'pause' 0 '' pause web
	state web paused
	expect 'pause of what is paused' 4 'web is paused and can not be paused; doppel resume web' pause web
	expect 'wait for a state that is there' 0 '' wait web --for paused
	expect 'wait for one that does not come' 6 'web was not running within 200ms' wait web --for running --timeout 200ms
	expect 'resume' 0 '' resume web
	expect 'set of a quota' 0 '' set web --cpu-quota 50%
	expect 'set tells what is set' 0 '"machine": 50' set web --format json
	expect 'port' 0 'GUEST PORT' port web
	expect 'a guest that ignores the button is switched off' 0 'web did not power off in time' stop web --timeout 300ms
	state web stopped
	expect 'stop of what is stopped' 4 'web is stopped and can not be stopped; doppel start web' stop web
	expect 'pause of what is stopped' 4 'web is stopped and can not be paused' pause web
	expect 'start again' 0 '' start web
	expect 'stop --force' 0 '' stop --force web
	expect 'restart of what is stopped starts it' 0 '' restart web
	expect 'restart of what runs' 0 '' restart --force web
	state web running
	expect 'rm --force' 0 '' rm --force web
	expect 'inspect of what is gone' 3 'no machine' inspect web
	[ -z "$(ls "$DOPPEL_STATE/machines")" ]
	result $? 'nothing is left' "$(find "$DOPPEL_STATE/machines")"
	expect 'history stays' 0 'removed' history web
}

# How many of so many guests, each waited for while its monitor ends, are told by their status.
waited_for() {
	local told=0 i
	for ((i = 0; i < $1; i++)); do
		d run -d --name soon --firmware "$scratch/end" >/dev/null
		d wait soon
		[ $? = 7 ] && told=$((told + 1))
		d rm soon
	done 2>&1
	echo "$told told"
}

ends() {
	check 'wait tells those that are just ending' '12 told' "$(waited_for 12)"
	expect 'the status of a guest' 0 end run -d --name end --firmware "$scratch/end"
	expect 'wait tells it' 7 '' wait end
	expect 'and inspect' 0 '"exit_code": 7' inspect end --format json
	d rm end
	expect 'a kernel that is not there' 3 'nowhere' run -d --name bad --kernel /nowhere/kernel
	expect 'what never ran is not left' 3 'no machine' inspect bad
	cp "$scratch/sleep" "$scratch/soon"
	d create later --firmware "$scratch/soon"
	state later created
	rm "$scratch/soon"
	expect 'a firmware that is gone at the start' 3 'soon' start later
	state later failed
	cp "$scratch/sleep" "$scratch/soon"
	expect 'and is back' 0 '' start later
	expect 'all at once' 0 '' stop --all --force
	d rm --all
}

monitors() {
	local pid
	d run -d --name web --firmware "$scratch/spin" >/dev/null
	pid=$(monitor_of web)
	kill -KILL "$pid"
	until_true is_gone "$pid"
	state web failed
	expect 'a killed monitor is told' 0 "its monitor, process $pid, was killed" inspect web
	expect 'its machine starts again' 0 '' start web
	expect 'and its history tells why' 0 "killed    monitor=$pid" history web
	pid=$(monitor_of web)
	kill -TERM "$pid"
	until_true has_line stopping "$DOPPEL_STATE/history/web.jsonl"
	kill -TERM "$pid"
	until_true is_gone "$pid"
	result $? 'two SIGTERM end it' "$(ps -p "$pid")"
	state web stopped
	d start web
	pid=$(monitor_of web)
	rm -rf "$DOPPEL_STATE/machines/web"
	until_true has_line 'folder removed' "$DOPPEL_STATE/history/web.jsonl"
	result $? 'a folder that is removed is noticed' "$(cat "$DOPPEL_STATE/history/web.jsonl")"
	kill -TERM "$pid"
	until_true is_gone "$pid"
	result $? 'and the monitor ends' "$(ps -p "$pid")"
	[ -z "$(ls "$DOPPEL_STATE/machines")" ]
	result $? 'and leaves nothing' "$(find "$DOPPEL_STATE/machines")"
}

# What a machine was told to listen on, outside of its folder.
sockets() {
	local pid i
	mkdir "$scratch/vsock"
	d run -d --name web --firmware "$scratch/sleep" --channel "talk=$scratch/talk" --vsock "$scratch/vsock" >/dev/null
	[ -S "$scratch/talk" ] && [ -S "$scratch/vsock/guest" ]
	result $? 'sockets are there' "$(ls "$scratch" "$scratch/vsock")"
	d stop --force web
	[ ! -e "$scratch/talk" ] && [ ! -e "$scratch/vsock/guest" ]
	result $? 'and are not when it has stopped' "$(ls "$scratch" "$scratch/vsock")"
	d start web
	d restart --force web
	pid=$(monitor_of web)
	[ -S "$scratch/talk" ] && [ -S "$scratch/vsock/guest" ]
	result $? 'a restart makes them anew' "$(ls "$scratch" "$scratch/vsock")"
	kill -KILL "$pid"
	until_true eval '[ ! -e "$scratch/talk" ] && [ ! -e "$scratch/vsock/guest" ]'
	result $? 'a killed monitor leaves none either' "$(ls "$scratch" "$scratch/vsock")"
	for i in 1 2 3; do
		d start web
		pid=$(monitor_of web)
		kill -KILL "$pid"
		until_true is_gone "$pid"
	done
	d start web
	sleep 0.3
	[ -S "$scratch/talk" ] && [ -S "$scratch/vsock/guest" ]
	result $? 'those of the next one stay' "$(ls "$scratch" "$scratch/vsock")"
	d rm --force web
	[ ! -e "$scratch/talk" ] && [ ! -e "$scratch/vsock/guest" ]
	result $? 'until it goes' "$(ls "$scratch" "$scratch/vsock")"
}

races() {
	local i won=0 pids=()
	d create web --firmware "$scratch/sleep"
	for i in 1 2 3 4; do
		timeout 60 "$doppel" start web >"$scratch/race.$i" 2>&1 &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" && won=$((won + 1))
	done
	[ $won = 1 ]
	result $? 'of four starts at once one wins' "$won won; $(cat "$scratch"/race.*)"
	state web running
	d rm --force web
}

# A session's end must not reach the machine, nor must it keep the terminal.
terminals() {
	local pid
	script -qec "$doppel run -d --name web --firmware $scratch/sleep" /dev/null >/dev/null </dev/null
	sleep 0.3
	state web running
	pid=$(monitor_of web)
	[ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ] && [ "$(ps -o tty= -p "$pid" | tr -d ' ')" = '?' ]
	result $? 'a machine outlives its terminal, in a session of its own' "$(ps -o pid,sid,tty -p "$pid")"
	! find "/proc/$pid/fd" -lname '/dev/pts/*' -o -lname "$scratch/[^s]*" | grep -q .
	result $? 'and holds nothing of it' "$(ls -l "/proc/$pid/fd")"
	d rm --force web
}

foreground() {
	local pid
	timeout 60 "$doppel" run --name here --console none --firmware "$scratch/sleep" 2>"$scratch/errors" &
	pid=$!
	until_true test -S "$DOPPEL_STATE/machines/here/control"
	expect 'a machine on a terminal has its socket too' 0 '' wait here --for running
	expect 'and is told as such' 0 '"foreground": true' inspect here --format json
	expect 'and is stopped by it' 0 '' stop --force here
	wait $pid
	same_status 'which ends the command' 0 $? "$(cat "$scratch/errors")"
	[ ! -e "$DOPPEL_STATE/machines/here" ]
	result $? 'and removes the machine' "$(ls "$DOPPEL_STATE/machines")"
	expect 'a guest that ends itself' 7 '' run --name here --console none --firmware "$scratch/end"
	expect 'its time is over' 6 'did not end within' run --name here --console none --firmware "$scratch/spin" \
		--timeout 300ms
}

# told EVENT COUNT: whether it was told so often of web.
told() {
	[ "$(grep '"web"' "$scratch/all" | grep -c "$1")" = "$2" ]
}

events() {
	local pid monitor wanted
	d run -d --name other --firmware "$scratch/sleep" >/dev/null
	timeout 300 "$doppel" events >"$scratch/all" 2>"$scratch/errors" &
	pid=$!
	until_true eval 'd pause other; d resume other; test -s "$scratch/all"'
	d run -d --name web --firmware "$scratch/sleep" >/dev/null
	until_true told started 1
	d pause web
	d resume web
	d stop --force web
	until_true told stopped 1
	d start web
	until_true told started 2
	monitor=$(monitor_of web)
	kill -KILL "$monitor"
	until_true is_gone "$monitor"
	d start web
	until_true told started 3
	d rm --force web
	until_true told stopped 2
	kill $pid
	wait $pid 2>/dev/null
	d rm --force other
	grep '"web"' "$scratch/all" >"$scratch/events"
	wanted='started paused resumed stopped started started stopped '
	[ "$(sed 's/.*"event":"\([a-z]*\)".*/\1/' "$scratch/events" | tr '\n' ' ')" = "$wanted" ]
	result $? 'events are told, of machines that come later too' "$(cat "$scratch/events" "$scratch/errors")"
}

# Nobody looks at a thousand others to start one.
thousand() {
	local i
	d create first --firmware "$scratch/sleep"
	for i in $(seq 1000); do
		cp -r "$DOPPEL_STATE/machines/first" "$DOPPEL_STATE/machines/many-$i"
	done
	ASAN_OPTIONS=detect_leaks=0 strace -e trace=%file -o "$scratch/calls" "$doppel" start first
	state first running
	! grep many- "$scratch/calls" >"$scratch/looks"
	result $? 'a thousand machines are not looked at when one starts' "$(head "$scratch/looks")"
	expect 'nor are they in its way' 0 '' stop --force first
	rm -rf "$DOPPEL_STATE/machines"
}

one_name
ends
monitors
sockets
races
terminals
foreground
events
if command -v strace >/dev/null; then thousand; else skip thousand 'no strace'; fi
echo "1..$number"
exit $failed
