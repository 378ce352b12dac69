#!/bin/bash
# The console of a machine that runs by itself: `doppel console` on terminals and pipes, several at once, and what they see
# when the machine ends in any way; `doppel logs`. Prints TAP.
# usage: viewers.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
export DOPPEL_STATE=$scratch/state
trap '"$doppel" rm --force --all >/dev/null 2>&1; rm -rf "$scratch"' EXIT

logged() {
	"$doppel" logs "$1" 2>/dev/null | grep -q -- "$2"
}

shown() {
	grep -q -- "$2" "$1" 2>/dev/null
}

begin() {
	"$doppel" run -d --name "$1" --engine "$engine" --memory 256M debian-tiny >/dev/null && within $seconds logged "$1" 'exit powers'
}

# on_terminal NAME STATUS OPTIONS MESSAGE SCRIPT: `doppel console OPTIONS` on a terminal of its own while expect's SCRIPT
# acts on it; the terminal is as before afterwards, and standard error has the MESSAGE.
on_terminal() {
	local output status
	rm -f "$scratch"/{before,after,status,errors}
	cat >"$scratch/session" <<-EOS
		stty -g >$scratch/before
		$doppel console $3 2> >(trap '' HUP; exec tee $scratch/errors >&2)
		echo \$? >$scratch/status
		stty -g >$scratch/after
		echo session-is-over
	EOS
	output=$(expect -c "
		set timeout $seconds
		spawn -noecho bash $scratch/session
		expect_after timeout { exit 99 } eof { exit 99 }
		$5
		expect session-is-over
		expect eof" 2>&1)
	status=$(cat "$scratch/status" 2>/dev/null)
	# Nobody waits for tee, which outlives the terminal.
	[ "$status" = "$2" ] && cmp -s "$scratch/before" "$scratch/after" && within 10 shown "$scratch/errors" "$4"
	result $? "$1" "exit status $status, expected $2; $(cat "$scratch/errors"); $output"
}

if ! command -v expect >/dev/null; then
	skip_all 'expect is not installed'
fi
begin web
result $? 'a machine runs by itself'

# ---- Coming and leaving ----

on_terminal 'a terminal types, sees the answer, and leaves' 0 web 'left the console; web goes on' '
	expect "exit powers"
	send "echo \$((40 + 2))\r"
	expect "\r\n42\r\n"
	send "\001h"
	expect "leave; the machine goes on"
	send "\001d"'
on_terminal 'it comes again, by the beginning of the name, and sees what was' 0 w 'left the console' '
	expect "\r\n42\r\n"
	send "\001d"'
on_terminal 'the guest knows nothing of it' 0 web 'left the console' '
	send "uptime\r"
	expect "load average"
	send "\001d"'
printf 'echo $((50 + 5))\n' | timeout $seconds "$doppel" console web >"$scratch/piped" 2>/dev/null &
viewer=$!
within $seconds shown "$scratch/piped" '^55'
result $? 'a pipe types, too' "$(cat "$scratch/piped")"
kill $viewer
wait $viewer
same_status 'a signal ends it' 143 $?

# ---- Several ----

mkfifo "$scratch/holder"
"$doppel" console web <"$scratch/holder" >"$scratch/held" 2>"$scratch/held.errors" &
holder=$!
exec 8>"$scratch/holder"
within $seconds shown "$scratch/held" 42
output=$("$doppel" console web </dev/null 2>&1)
status=$?
same_status 'a second one can not write' 4 $status "$output"
[[ $output == *"(process $holder)"*--take* ]]
result $? 'it is told who does' "$output"
on_terminal 'but watch' 0 'web --read-only' 'to be watched only' '
	send "echo \$((70 + 7))\r"
	expect "\r\n42\r\n"
	exec sleep 0.5
	send "\001d"'
! logged web '^77'
result $? 'who watches types nothing'
on_terminal 'or take over' 0 'web --take' 'left the console' '
	send "echo \$((80 + 8))\r"
	expect "\r\n88\r\n"
	send "\001d"'
within $seconds shown "$scratch/held.errors" 'has taken the console; you only watch now'
result $? 'who was relieved is told' "$(cat "$scratch/held.errors")"
within $seconds shown "$scratch/held" '^88'
result $? 'and still sees all' "$(cat "$scratch/held")"

# ---- Logs ----

"$doppel" logs web --follow >"$scratch/followed" &
follower=$!
within $seconds logged web '^88' && [ "$("$doppel" logs web | grep -c '^88')" = 1 ]
result $? 'the log has what was shown' "$("$doppel" logs web)"
[ "$("$doppel" logs web --tail 2 | wc -l)" -le 2 ] && [ -z "$("$doppel" logs web --tail 0)" ]
result $? 'its last lines' "$("$doppel" logs web --tail 2)"
"$doppel" create never debian-tiny >/dev/null
output=$("$doppel" logs never 2>&1)
same_status 'a machine that never ran has none' 3 $? "$output"
output=$("$doppel" console never 2>&1 </dev/null)
same_status 'nor a console' 4 $? "$output"
"$doppel" rm never

# ---- Ends ----

"$doppel" logs web | wc -l >"$scratch/lines"
on_terminal 'the guest powers off: so ends the console' 0 'web --take' 'web has stopped' '
	expect "\r\n88\r\n"
	exec sh -c "'"$doppel"' stop web >/dev/null 2>&1 &"
	expect "power button was pressed"'
wait $holder
same_status 'who watched is told, too' 0 $? "$(cat "$scratch/held.errors")"
grep -q 'web has stopped' "$scratch/held.errors"
result $? 'in words' "$(cat "$scratch/held.errors")"
exec 8>&-
within 20 test ! -e "/proc/$follower" && cmp -s "$scratch/followed" <("$doppel" logs web)
result $? 'who follows the log has it all, and ends' "$(tail -n 3 "$scratch/followed")"

"$doppel" start web && within $seconds eval '[ "$("$doppel" logs web | grep -c "exit powers")" = 2 ]'
result $? 'the log goes on with the next life' "$("$doppel" logs web)"
on_terminal 'its process is killed: the console ends' 1 web 'ended without a word' "
	expect \"exit powers\"
	exec kill -9 $(sed -n 's/.*"monitor": *\([0-9]*\).*/\1/p' "$DOPPEL_STATE/machines/web/state.json")"

"$doppel" start web && within $seconds eval '[ "$("$doppel" logs web | grep -c "exit powers")" = 3 ]'
"$doppel" logs web --follow >"$scratch/followed" 2>"$scratch/follow.errors" &
follower=$!
on_terminal 'it is removed: the console ends' 0 web 'web \(has stopped\|was switched off\)' '
	expect "exit powers"
	exec sh -c "'"$doppel"' rm --force web >/dev/null 2>&1 &"'
wait $follower
same_status 'and so does the log' 0 $? "$(cat "$scratch/follow.errors")"

# ---- The size of the terminal ----

"$doppel" run -d --name sized --engine "$engine" --memory 256M --console-device virtio --append 'console=hvc0 quiet' \
	debian-tiny >/dev/null && within $seconds logged sized 'built-in commands'
result $? 'a machine has a virtio terminal'
on_terminal 'whose size is that of the terminal that writes, also when it changes' 0 sized 'left the console' '
	set terminal $spawn_out(slave,name)
	exec stty cols 97 rows 31 < $terminal
	expect "built-in commands"
	foreach {rows columns} {31 97 50 120} {
		exec stty cols $columns rows $rows < $terminal
		for {set i 0} {1} {incr i} {
			send "stty size\r"
			expect -re "\n$rows $columns" break -re "\n\[0-9\]+ \[0-9\]+"
			if {$i == 50} { exit 97 }
			after 100
		}
	}
	send "\001d"'
"$doppel" rm --force sized

# ---- Beside a terminal ----

output=$(expect -c "
	set timeout $seconds
	spawn -noecho $doppel run --name front --engine $engine --memory 256M debian-tiny
	expect_after timeout { exit 99 } eof { exit 98 }
	expect {exit powers}
	set busy [catch {exec $doppel console front </dev/null 2>@1} text]
	puts \"<\$text>\"
	set front \$spawn_id
	spawn -noecho $doppel console front --take
	set other \$spawn_id
	expect -i \$front {has taken the console}
	send -i \$other \"echo \\\$((90 + 9))\r\"
	expect -i \$other {99}
	expect -i \$front {99}
	send -i \$other \"\001d\"
	expect -i \$front {the console is yours again}
	send -i \$front \"exit\r\"
	expect -i \$front {is switched off} {} eof {}
	exit 0" 2>&1)
same_status 'a machine in the foreground is taken from its terminal, and given back' 0 $? "$output"
[[ $output == *'<doppel: '*'the terminal that the machine runs on writes to this console already'*--take* ]]
result $? 'its terminal is a writer' "$output"
echo "1..$number"
exit $failed
