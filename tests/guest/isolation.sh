#!/bin/bash
# Machines side by side: some of them crash, hammer their devices, are killed, lose their disks or fill their file system.
# The others are witnesses: a line every 10 ms, with the time of their clock. Prints TAP. Phases in which the bad ones are
# paused take turns with phases in which they are not; how late the witnesses' lines are is told of both.
# DOPPEL_LONG=1: 20 machines, for minutes. DOPPEL_PHASE is the length of a phase in seconds, DOPPEL_ROUNDS their number of each
# kind; with DOPPEL_FREE_CORE=1 the last processor is for the witnesses and who listens to them, and all else stays off it.
# usage: isolation.sh DOPPEL ENGINE WATCH PAYLOAD.elf...
set -u
doppel=$(realpath "$1")
engine=$2
watch=$(realpath "$3")
shift 3
payloads=()
for file; do
	payloads+=("$(realpath "$file")")
done
cd "$(dirname "$0")" || exit
# A small file system of its own, which nobody else sees; for that, root.
if [ -z "${DOPPEL_OWN_MOUNTS:-}" ] && unshare --mount true 2>/dev/null; then
	DOPPEL_OWN_MOUNTS=1 exec unshare --mount --propagation private "./$(basename "$0")" "$doppel" "$engine" "$watch" "${payloads[@]}"
fi
. ./tap.sh
need_engine
((${#payloads[@]})) || skip_all 'no compiler for the guests'
export XDG_CACHE_HOME=$scratch/cache
state=$DOPPEL_STATE
small=$scratch/small
mkdir "$small"
small_is_there=
if [ -n "${DOPPEL_OWN_MOUNTS:-}" ] && mount -t tmpfs -o size=3m none "$small"; then
	small_is_there=1
fi
exec 3>/dev/null
trap 'end_all' EXIT

end_all() {
	exec 3>&-
	d rm --force --all >/dev/null 2>&1
	DOPPEL_STATE=$small/state d rm --force --all >/dev/null 2>&1
	[ -z "$small_is_there" ] || umount -l "$small"
	rm -rf "$scratch"
}

witnesses=(witness-1 witness-2)
hammers=(hammer)
others=(notifies resets)
share=8
rounds=${DOPPEL_ROUNDS:-2}
phase=${DOPPEL_PHASE:-4}
if [ -n "${DOPPEL_LONG:-}" ]; then
	witnesses=(witness-1 witness-2 witness-3 witness-4)
	hammers=(hammer hammer-2 hammer-3 hammer-4)
	others=(notifies resets kicks console traps s_calls reads)
	share=5
	rounds=${DOPPEL_ROUNDS:-4}
	phase=${DOPPEL_PHASE:-20}
fi

d() {
	timeout 60 "$doppel" "$@"
}

# keep_to here|away: this shell, and what it starts from now on, for the sake of the witnesses.
keep_to() {
	local last=$(($(nproc --all) - 1)) where
	[ -n "${DOPPEL_FREE_CORE:-}" ] && ((last > 0)) || return 0
	where=$last
	[ "$1" = here ] || where=0-$((last - 1))
	taskset -cp "$where" $$ >/dev/null
}

# payload NAME
payload() {
	local file
	for file in "${payloads[@]}"; do
		[ "$(basename "$file" .elf)" != "$1" ] || echo "$file"
	done
}

# begin NAME PAYLOAD OPTION...: a machine that runs by itself.
begin() {
	local name=$1 guest=$2 how=--firmware
	shift 2
	[[ $guest != s_* ]] || how=--kernel
	d run -d --name "$name" --engine "$engine" --memory 64M "$how" "$(payload "$guest")" "$@" >/dev/null
}

# begin_bad NAME PAYLOAD OPTION...: one that is not to get more than its share.
steady=()
begin_bad() {
	steady+=("$1")
	begin "$@" --cpu-quota "$share%"
}

# field MACHINE KEY: of what inspect tells.
field() {
	d inspect "$1" --format json | sed -n "s/.*\"$2\": \"\\{0,1\\}\\([^\",]*\\).*/\\1/p" | head -n 1
}

has_line() {
	grep -aq "$1" "$2"
}

# all VERB: of those that are always there, also of the one on the small file system.
all() {
	d "$1" "${steady[@]}"
	[ -z "$small_is_there" ] || DOPPEL_STATE=$small/state d "$1" full
}

# Until there is a file $scratch/calm: machines that crash, and monitors that are killed.
be_bad() {
	local turns=0
	while [ ! -e "$scratch/calm" ]; do
		d start crash 2>/dev/null
		kill -KILL "$(field victim pid)"
		sleep 0.5
		d start victim 2>/dev/null
		sleep 0.5
		turns=$((turns + 1))
	done
	echo $turns >>"$scratch/turns"
}

# disturb SECONDS
disturb() {
	rm -f "$scratch/calm"
	be_bad &
	sleep "$1"
	touch "$scratch/calm"
	wait $!
}

# What is told of the witnesses, apart from the time.
records() {
	local name
	for name in "${witnesses[@]}"; do
		cat "$state/machines/$name/state.json" "$state/machines/$name/machine.yaml" "$state/history/$name.jsonl"
		stat -c '%n %a %u %i' "$state/machines/$name" "$state/machines/$name"/*
	done
}

# left: processes of the machines here.
left() {
	grep -alsF "DOPPEL_STATE=$scratch" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
		[ "$pid" = $$ ] || [ "$(ps -o ppid= -p "$pid" | tr -d ' ')" = $$ ] || ps -o pid=,args= -p "$pid"
	done | grep doppel
	find /sys/fs/cgroup -type d \( -name '*witness-*' -o -name '*victim*' \) 2>/dev/null
}

# ---- They begin ----

keep_to here
for name in "${witnesses[@]}"; do
	begin "$name" beats || exit
done
keep_to away
yes | head -c 32M >"$scratch/text.raw"
for name in "${hammers[@]}"; do
	truncate -s 32M "$scratch/$name.raw"
	begin_bad "$name" hammer --cpus 2 --disk "$scratch/$name.raw" --net user
done
for name in "${others[@]}"; do
	begin_bad "$name" "$name" --disk "$scratch/text.raw,ro"
done
# Compressed clusters can not be read once other bytes stand there.
d disk convert --compress "$scratch/text.raw" "$scratch/damaged.qcow2" >/dev/null 2>&1
truncate -s 32M "$scratch/truncated.raw"
begin_bad truncated disk --disk "$scratch/truncated.raw"
begin_bad damaged disk --disk "$scratch/damaged.qcow2"
d create victim --engine "$engine" --memory 32M --firmware "$(payload loop)" --cpu-quota "$share%" >/dev/null
d create crash --engine "$engine" --memory 32M --firmware "$(payload crash)" >/dev/null
d start victim
if [ -n "$small_is_there" ]; then
	truncate -s 32M "$small/disk.raw"
	DOPPEL_STATE=$small/state begin full disk --cpu-quota "$share%" --disk "$small/disk.raw"
fi
within 20 has_line works "$state/machines/truncated/console.log" &&
	within 20 has_line works "$state/machines/damaged/console.log"
result $? "$(d ps -q | wc -l) machines run" "$(d ps)"
# Who is not root can not look into processes behind walls.
[ -n "$(left)" ] || ((EUID))
result $? 'their processes are found' "$(ps -eo pid,args)"

# ---- Calm and bad in turns ----

all pause
pids=$(for name in "${witnesses[@]}"; do field "$name" pid; done)
mkfifo "$scratch/phases"
keep_to here
timeout 1200 "$watch" "$doppel" "${witnesses[@]}" <"$scratch/phases" >"$scratch/beats" 2>"$scratch/wrong" &
watcher=$!
keep_to away
exec 3>"$scratch/phases"
for name in "${witnesses[@]}"; do
	within 20 has_line 'console attached' "$state/history/$name.jsonl"
done
records >"$scratch/before"
load=$(cut -d ' ' -f 1 /proc/loadavg)
for ((i = 0; i < rounds; i++)); do
	sleep 1
	echo quiet >&3
	sleep "$phase"
	echo rest >&3
	all resume
	if ((i == 0)); then
		truncate -s 0 "$scratch/truncated.raw"
		dd if=/dev/urandom of="$scratch/damaged.qcow2" bs=4k seek=16 conv=notrunc status=none \
			count=$(($(stat -c %s "$scratch/damaged.qcow2") / 4096 - 16))
		[ -z "$small_is_there" ] || head -c 4M /dev/zero >"$small/filled" 2>/dev/null
	fi
	echo disturbed >&3
	disturb "$phase"
	echo rest >&3
	((i + 1 == rounds)) || all pause
done
echo end >&3
wait $watcher
status=$?
sed 's/^/# /' "$scratch/beats"
echo "# load average $load before, $(cut -d ' ' -f 1 /proc/loadavg) after; $(nproc --all) processors"
result $status "what ${#witnesses[@]} witnesses say is complete, in order, and their clocks are right" \
	"$(cat "$scratch/wrong" "$scratch/beats")"

# Hosts of tests are busy: only what no busy host explains fails.
awk '$1 == "quiet" { quiet = $9 } $1 == "disturbed" { disturbed = $9 } END { exit !(quiet && disturbed <= 500 + 10 * quiet) }' \
	"$scratch/beats"
result $? 'nor are they late beyond all bounds' "$(cat "$scratch/beats")"

# ---- What became of them ----

records >"$scratch/after"
cmp "$scratch/before" "$scratch/after" >/dev/null
result $? 'their records, histories and files are as they were' "$(diff "$scratch/before" "$scratch/after")"
[ "$pids" = "$(for name in "${witnesses[@]}"; do field "$name" pid; done)" ]
result $? 'and so are their monitors' "$(d ls)"
bad=0
for name in "${steady[@]}"; do
	[ "$(field "$name" state)" = running ] || bad=1
done
result $bad 'the bad ones run on' "$(d ls; tail -n 3 "$state"/machines/*/monitor.log)"
d top --format json | awk '/"given"/ { given = $2 + 0; rows++ }
	/"ballooned"/ && $2 + 0 > given { bad = 1 } END { exit bad || rows < 5 }'
result $? 'nothing that they say of themselves is beyond what they have' \
	"$(d top --format json | grep -E 'name|given|balloon')"
has_line fails "$state/machines/damaged/console.log"
result $? 'a disk that fails is the trouble of the guest that has it' \
	"$(tail -n 5 "$state"/machines/{truncated,damaged}/*.log)"
grep -q '"event": *"killed"' "$state/history/victim.jsonl" && has_line crashes "$state/machines/crash/console.log" &&
	within 20 eval '[ "$(field crash exit_code)" = 9 ]'
result $? "a monitor was killed and a kernel crashed $(paste -sd + "$scratch/turns") times" \
	"$(d inspect crash; d history victim)"
if [ -n "$small_is_there" ]; then
	# A pause ends what waits; the next write waits again.
	within 30 eval '[ "$(DOPPEL_STATE=$small/state field full stalled)" = true ]'
	result $? 'a full file system: its machine is held' "$(DOPPEL_STATE=$small/state d inspect full)"
	rm "$small/filled"
	mount -o remount,size=64m "$small"
	within 30 eval '[ "$(DOPPEL_STATE=$small/state field full stalled)" = false ]'
	result $? 'and goes on when there is room' "$(DOPPEL_STATE=$small/state d inspect full)"
else
	skip 'a full file system' 'no mounts here'
	skip 'and one with room' 'no mounts here'
fi

# ---- The end ----

bad=0
d stop --force "${witnesses[@]}"
for name in "${witnesses[@]}"; do
	"$watch" --log "$state/machines/$name/console.log" >>"$scratch/logs" 2>&1 || bad=1
done
result $bad 'their logs have every line, from the first' "$(cat "$scratch/logs")"
d rm --force --all
[ -z "$small_is_there" ] || DOPPEL_STATE=$small/state d rm --force --all
within 20 eval '[ -z "$(left)" ]'
result $? 'no process and no group is left' "$(left)"
[ -z "$(ls -A "$state/machines")" ] && [ "$(ls -A "$state" | sort | tr '\n' ' ')" = 'history machines ' ] &&
	[ -z "$(find "$scratch" -newer "$scratch/before" -type s)" ]
result $? 'and no file' "$(find "$scratch")"
echo "1..$number"
exit $failed
