#!/bin/bash
# `doppel exec` and `doppel cp` with Debian's kernel: commands, streams, terminals, signals, trees there and back. Prints
# TAP.
# usage: exec.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
export DOPPEL_STATE=$scratch/state
trap '"$doppel" stop --all --force >/dev/null 2>&1; rm -rf "$scratch"' EXIT

# in_guest OPTION... -- COMMAND...: within the time of a test; a slow engine takes a while to start.
in_guest() {
	timeout -k 5 "$seconds" "$doppel" exec --timeout "${seconds}s" "${@:1:$#}"
}
copy() {
	timeout -k 5 "$seconds" "$doppel" cp --timeout "${seconds}s" "$@" 2>"$scratch/complaint"
}

# Names, kinds, modes, sizes and checksums of a tree, as busybox and the host both can tell.
describe='cd "$0" && find . ! -type d -exec stat -c "%n %f %s %Y" {} + | LC_ALL=C sort | md5sum
	find . -type d -exec stat -c "%n %f" {} + | LC_ALL=C sort | md5sum
	find . -type f -exec sh -c "for file; do echo \"\$file\"; md5sum <\"\$file\"; done" _ {} + | LC_ALL=C sort | md5sum'

make_tree() {
	mkdir -p "$1/a b/-r/deep/er" "$1/shut" "$1/"$'new\nline'
	printf 'x\0\377\r\n' >"$1/a b/*?[x]"
	echo quoted >"$1/a b/\"'\\\$HOME"
	echo bytes >"$1/"$'\303\274\377\001'
	head -c 2500000 /dev/urandom >"$1/large"
	: >"$1/-empty"
	ln -s 'a b/nowhere' "$1/link"
	truncate -s 100M "$1/holes"
	echo end >>"$1/holes"
	echo q >"$1/shut/file"
	chmod 400 "$1/shut/file"
	chmod 550 "$1/shut"
	chmod 751 "$1/large"
	touch -d '2001-02-03 04:05:06' "$1/large"
}


echo 1..20
"$doppel" create web debian-tiny --engine "$engine" --memory 512M >/dev/null && "$doppel" start web
result $? 'a machine is started'
in_guest web -- true
same_status 'a command is run as soon as somebody answers' 0 $?

in_guest web -- sh -c 'echo out; echo err >&2; exit 7' >"$scratch/out" 2>"$scratch/err" </dev/null
same_status 'its status is passed on' 7 $?
[ "$(cat "$scratch/out")" = out ] && [ "$(cat "$scratch/err")" = err ]
result $? 'stdout and stderr stay apart' "$(cat "$scratch/out" "$scratch/err")"
in_guest web -- sh -c 'kill -9 $$'
same_status 'a signal ends the command' 137 $?
in_guest web -- /no/such/program 2>/dev/null
same_status 'there is no such command' 127 $?

output=$(in_guest -e 'A=b c' -w /proc web -- sh -c 'pwd; echo "$A"; cat' <<<unread)
[ "$output" = $'/proc\nb c' ]
result $? 'folder, environment, and no input without -i' "$output"

head -c 3000000 /dev/urandom >"$scratch/data"
in_guest -i web -- sh -c 'cat; echo >&2' <"$scratch/data" 2>/dev/null | cmp - "$scratch/data"
result $? 'binary data through a command'

# Asks for a signal when it is ready, by a file.
"$doppel" exec web -- sh -c 'trap "exit 3" TERM; touch /ready; while :; do sleep 0.1; done' 2>/dev/null &
pid=$!
in_guest web -- sh -c 'while [ ! -e /ready ]; do sleep 0.1; done; rm /ready'
kill -TERM $pid
wait $pid
same_status 'a signal is passed on' 3 $?

"$doppel" exec web -- sh -c 'trap "" HUP TERM; (sleep 999 &); touch /ready; sleep 999' &
pid=$!
in_guest web -- sh -c 'while [ ! -e /ready ]; do sleep 0.1; done; rm /ready'
kill -KILL $pid
wait $pid 2>/dev/null
for ((tries = 0; tries < 50; tries++)); do
	in_guest web -- sh -c 'pidof sleep' >"$scratch/sleepers" || break
	sleep 0.1
done
[ ! -s "$scratch/sleepers" ]
result $? 'nothing is left when the host leaves' "$(cat "$scratch/sleepers")"

if command -v expect >/dev/null; then
	output=$(timeout -k 5 "$seconds" expect -c "
		set timeout $seconds
		set stty_init {rows 33 columns 77}
		spawn -noecho $doppel exec -it web -- sh -c {stty size; read line; echo \"<\$line>\"; exit 5}
		expect_after timeout { exit 99 } eof { exit 98 }
		expect -re {33 77\r?\n}
		send \"typed\r\"
		expect {<typed>}
		expect eof {}
		exit [lindex [wait] 3]" </dev/null 2>&1)
	same_status 'a terminal' 5 $? "$output"
else
	skip 'a terminal' 'there is no expect here'
fi

make_tree "$scratch/tree"
copy "$scratch/tree" web:/tmp
status=$?
there=$(in_guest web -- sh -c "$describe" /tmp/tree)
here=$(bash -c "$describe" "$scratch/tree")
[ $status = 0 ] && [ "$there" = "$here" ]
result $? 'a tree with odd names goes into the guest' "status $status; $there; $here; $(cat "$scratch/complaint")"
used=$(in_guest web -- du -k /tmp/tree/holes | cut -f1)
((used < 1000))
result $? 'holes stay holes' "$used KiB"
copy web:/tmp/tree "$scratch/back"
status=$?
back=$(bash -c "$describe" "$scratch/back")
[ $status = 0 ] && [ "$back" = "$here" ] && diff -r --no-dereference "$scratch/tree" "$scratch/back"
result $? 'and comes back' "status $status; $back; $here; $(cat "$scratch/complaint")"
chmod -R u+rwx "$scratch/tree" "$scratch/back"

copy - web:/tmp/stream <"$scratch/data" && copy web:/tmp/stream - | cmp - "$scratch/data"
result $? 'standard input and output' "$(cat "$scratch/complaint")"
copy web:/no/such/file "$scratch"
same_status 'what is not there' 3 $? "$(cat "$scratch/complaint")"

# The process that connects the guest to programs of the host dies.
pid=$("$doppel" ls --format json web | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["pid"])')
ended=
for helper in $(cat /proc/"$pid"/task/*/children 2>/dev/null); do
	[ "$(cat /proc/"$helper"/comm)" = doppel-vsock ] && kill -9 "$helper" && ended=yes
done
if [ -n "$ended" ]; then
	within "$seconds" grep -q 'process that connects the guest .* has ended' "$DOPPEL_STATE/machines/web/monitor.log"
	result $? 'a process of the vsock that died is told of' "$(cat "$DOPPEL_STATE/machines/web/monitor.log")"
	check 'and the machine runs on' there "$(in_guest web -- echo there)"
else
	skip 'a process of the vsock that dies' 'it is not found'
	skip 'and the machine runs on' 'nothing died'
fi

"$doppel" rm --force web
mkdir "$scratch/sockets"
"$doppel" run -d --name aside debian-tiny --engine "$engine" --memory 128M --vsock "$scratch/sockets:7" >/dev/null
output=$(in_guest aside -- cat /proc/sys/kernel/ostype 2>&1)
[ "$output" = Linux ]
result $? 'a machine whose sockets are in a folder of its own' "$output"

# For M-mode: j . ; nobody in it drives the socket device.
printf '\157\0\0\0' >"$scratch/spin"
"$doppel" create mute --engine "$engine" --firmware "$scratch/spin" >/dev/null && "$doppel" start mute
output=$(timeout -k 5 60 "$doppel" exec --timeout 1s mute -- true 2>&1)
status=$?
[ $status = 6 ] && grep -q 'the guest of mute does not answer' <<<"$output"
result $? 'a guest without the program' "status $status; $output"
exit $failed
