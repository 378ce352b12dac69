#!/bin/bash
# What can go wrong with machines that have names: two of one name, monitors that are killed, a host that was started anew,
# folders that vanish, damaged records, a thousand machines. The guests are a few instructions. Prints TAP.
# usage: lifecycle.sh DOPPEL
set -u
doppel=$(realpath "$1")
cd "$(dirname "$0")" || exit
. ./tap.sh
export DOPPEL_STATE=$scratch/state XDG_CACHE_HOME=$scratch/cache
trap 'end_all; rm -rf "$scratch"' EXIT
PATH=$(dirname "$doppel"):$PATH

# An x for the serial line, and then interrupts that never come: lui, addi, sb, wfi, j.
guest=$scratch/guest
printf '\267\2\0\20\23\3\200\7\43\200\142\0\163\0\120\20\157\360\337\377' >"$guest"

# Monitors that were started here, also those that no registry knows any more.
pids=()
end_all() {
	doppel rm --force --all >/dev/null 2>&1
	((${#pids[@]})) && kill -9 "${pids[@]}" 2>/dev/null
}

# field MACHINE KEY: of what ls tells.
field() {
	doppel ls --format json "$1" 2>/dev/null | python3 -c 'import json, sys; print(json.load(sys.stdin)[0][sys.argv[1]])' "$2"
}

is() {
	[ "$(field "$1" "$2")" = "$3" ]
}

# begin NAME: a machine that runs by itself; its guest need not have come far.
begin() {
	doppel run -d --name "$1" --firmware "$guest" >/dev/null 2>"$scratch/begin" || return
	pids+=("$(field "$1" pid)")
}

ended() {
	! kill -0 "$1" 2>/dev/null
}

# fails NAME STATUS WORDS COMMAND...: its exit status, and what it says.
fails() {
	local name=$1 wanted=$2 words=$3 output status
	shift 3
	output=$(timeout $seconds "$@" 2>&1 </dev/null)
	status=$?
	[ $status = "$wanted" ] && [[ $output == *$words* ]]
	result $? "$name" "exit status $status, expected $wanted; output: $output"
}

# ---- Two of one name ----

begin web
result $? 'a machine runs' "$(doppel ls)"
fails 'a second one of that name is refused' 4 'web' doppel run -d --name web --firmware "$guest"
fails 'also in the foreground' 4 'web' doppel run --name web --firmware "$guest"
fails 'also a configuration of that name' 4 'web' doppel create web --firmware "$guest"
fails 'starting it twice is refused' 4 'web' doppel start web
fails 'removing it is refused' 4 '--force' doppel rm web
is web state running && kill -0 "$(field web pid)"
result $? 'the first one runs on' "$(doppel ls)"
for i in 1 2 3 4 5 6; do
	{
		doppel run -d --name race --firmware "$guest" >/dev/null 2>&1
		echo $? >>"$scratch/race"
	} &
	racers[i]=$!
done
wait "${racers[@]}"
[ "$(sort "$scratch/race" | tr '\n' ' ')" = '0 4 4 4 4 4 ' ] && is race state running
result $? 'of six that begin at once one wins' "$(sort "$scratch/race" | tr '\n' ' '); $(doppel ls)"
doppel stop --force race
rm -f "$scratch/race"
for i in 1 2 3 4; do
	{
		doppel start race >/dev/null 2>&1
		echo $? >>"$scratch/race"
	} &
	racers[i]=$!
done
wait "${racers[@]}"
[ "$(sort "$scratch/race" | tr '\n' ' ')" = '0 4 4 4 ' ] && is race state running
result $? 'of four that start it at once one wins' "$(sort "$scratch/race" | tr '\n' ' '); $(doppel ls)"

# ---- Illegal steps ----

fails 'a running machine can not be resumed' 4 'running' doppel resume race
doppel pause race
fails 'a paused one can not be paused' 4 'paused' doppel pause race
fails 'a paused one can not be started' 4 'race' doppel start race
doppel stop --force race
for verb in stop pause resume console; do
	fails "a stopped one: $verb" 4 'stopped' doppel "$verb" race
done
fails 'a name that is not there' 3 'did you mean race' doppel stop raec
doppel create racer --firmware "$guest" >/dev/null
fails 'the beginning of two names' 2 'race, racer' doppel rm rac
doppel rm racer && doppel rm rac
result $? 'the beginning of one' "$(doppel ls)"

# ---- Killed monitors ----

pid=$(field web pid)
kill -9 "$pid"
within 20 is web state failed && [ -S "$DOPPEL_STATE/machines/web/control" ]
result $? 'a killed monitor is noticed; its socket is left' "$(doppel ls; ls "$DOPPEL_STATE/machines/web")"
[[ $(field web note) == *"$pid"*killed* ]]
result $? 'it says so' "$(field web note)"
for verb in stop pause console; do
	fails "what its monitor would do: $verb" 4 'failed' doppel "$verb" web
done
doppel start web && is web state running && doppel inspect web >/dev/null
result $? 'it starts again over what was left' "$(doppel ls)"
pids+=("$(field web pid)")
doppel console --read-only web </dev/null >"$scratch/console" 2>&1 &
viewer=$!
doppel wait web >"$scratch/wait" 2>&1 &
waiter=$!
doppel events >"$scratch/events" 2>&1 &
follower=$!
within 20 test -s "$scratch/console"
kill -9 "$(field web pid)"
within 20 ended $viewer && within 20 ended $waiter
result $? 'who hung on it is let go' "$(jobs)"
doppel rm web && ! ended $follower
result $? 'it can be removed' "$(doppel ls)"
kill $follower 2>/dev/null
wait $follower 2>/dev/null
doppel history w | grep -q removed && [ "$(doppel history web | wc -l)" -ge 4 ]
result $? 'its history stays' "$(doppel history web 2>&1)"

# ---- A monitor that hangs ----

begin stuck
pid=$(field stuck pid)
kill -STOP "$pid"
timeout 20 doppel ls >/dev/null && is stuck state running
result $? 'a monitor that hangs holds nobody up who lists' "$(doppel ls)"
kill -CONT "$pid"
doppel stop --force stuck && doppel rm stuck
result $? 'it goes on when it is let' "$(doppel ls)"

# ---- A host that was started anew ----

DOPPEL_BOOT_ID=0 begin web
kill -9 "$(field web pid)"
within 20 is web state failed
[[ $(field web note) == *'started anew'* ]]
result $? 'a restart of the host is told from a killed monitor' "$(field web note)"
doppel start web && is web state running
result $? 'its machines start again' "$(doppel ls)"
pids+=("$(field web pid)")

# ---- Damage ----

for damage in '' '{' '[]' '{"version": 1}'; do
	printf '%s' "$damage" >"$DOPPEL_STATE/machines/web/state.json"
	doppel ls >/dev/null && doppel inspect web >/dev/null 2>&1
	result $? "a record that is '$damage' hides no monitor" "$(doppel ls; doppel inspect web 2>&1)"
done
doppel pause web && is web state paused && doppel resume web
result $? 'the next change mends it' "$(doppel ls; doppel pause web 2>&1)"
rm "$DOPPEL_STATE/machines/web/state.json"
fails 'without a record it can not be removed under its monitor' 4 '' doppel rm web
doppel stop --force web && doppel ls >/dev/null
result $? 'but stopped' "$(doppel ls)"
printf 'memory: [' >"$DOPPEL_STATE/machines/web/machine.yaml"
fails 'a damaged document does not start' 2 'machine.yaml' doppel start web
is web state failed && doppel rm web
result $? 'and is told' "$(doppel ls)"

# ---- Folders that vanish ----

begin web
pid=$(field web pid)
rm -rf "$DOPPEL_STATE/machines/web"
fails 'its folder is gone: nobody finds it' 3 'web' doppel stop web
lost=$pid
begin web
result $? 'the name is free again' "$(doppel ls)"
pid=$(field web pid)
mv "$DOPPEL_STATE" "$scratch/away"
[ -z "$(doppel ls -q)" ] && doppel create other --firmware "$guest" >/dev/null && [ "$(doppel ls -q)" = other ]
result $? 'the whole directory is gone: another one is made' "$(doppel ls)"
rm -rf "$DOPPEL_STATE"
mv "$scratch/away" "$DOPPEL_STATE"
is web pid "$pid" && doppel stop --force web
result $? 'it comes back: its machine ran on' "$(doppel ls)"
begin other
pid=$(field other pid)
rm -rf "$DOPPEL_STATE"
lost_with_all=$pid
[ -z "$(doppel ls -q)" ]
result $? 'all of it is gone for good' "$(doppel ls)"

# ---- Removal ----

begin web
doppel console --read-only web </dev/null >"$scratch/console" 2>&1 &
viewer=$!
doppel events web >"$scratch/events" 2>&1 &
follower=$!
doppel events >"$scratch/all" 2>&1 &
all=$!
pids+=($all)
# Until all of them are there.
within 20 eval 'doppel pause web; doppel resume web; test -s "$scratch/events" && test -s "$scratch/all"'
within 20 test -s "$scratch/console"
doppel rm --force web && [ -z "$(ls -A "$DOPPEL_STATE/machines")" ]
result $? 'a machine is removed while a console hangs on it' "$(ls -A "$DOPPEL_STATE/machines")"
within 20 ended $viewer && within 20 ended $follower && grep -q '"event": *"stopped"' "$scratch/events"
result $? 'which ends, and so do its events, after the last' "$(jobs; cat "$scratch/events")"
begin web
within 20 grep -q started "$scratch/all" && ! ended $all
result $? 'the next one of that name is followed with all' "$(cat "$scratch/all")"
kill $all
for i in 1 2 3; do
	begin "web$i"
done
doppel rm --force --all && [ -z "$(ls -A "$DOPPEL_STATE/machines")" ]
result $? 'all at once' "$(doppel rm --force --all 2>&1; ls -A "$DOPPEL_STATE/machines")"

# ---- A thousand ----

doppel create machine-0 --firmware "$guest" >/dev/null
python3 -c 'import shutil, sys
for number in range(1, 1000):
    shutil.copytree(sys.argv[1] + "/machine-0", f"{sys.argv[1]}/machine-{number}")' "$DOPPEL_STATE/machines"
[ "$(doppel ls -q | wc -l)" = 1000 ] && [ "$(doppel ls | wc -l)" = 1001 ] && [ -z "$(doppel ps -q)" ]
result $? 'a thousand machines are listed' "$(doppel ls -q | wc -l)"
begin machine
[ "$(doppel ps -q)" = machine ] && doppel stop --force machine
result $? 'one that runs among them' "$(doppel ps)"
fails 'the beginning of very many' 2 '1001 machines: machine, machine-0, ' doppel rm mach

# What nobody can find any more asked its guest to power off, which does not hear it, and is switched off.
within 90 ended "$lost" && within 90 ended "$lost_with_all"
result $? 'machines whose folders vanished did not run on in the dark' "$(ps -o pid,args -p "$lost,$lost_with_all")"
echo "1..$number"
exit $failed
