#!/bin/bash
# Guests that use all they can get get no more than their share: of processors, in any second, and of memory. Prints TAP.
# With idle processors they also get it; a host that is busy can not give it. DOPPEL_LONG=1: more quotas, for longer.
# usage: shares.sh DOPPEL ENGINE WATCH PAYLOAD.elf...
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
. ./tap.sh
need_engine
((${#payloads[@]})) || skip_all 'no compiler for the guests'

quotas=(40)
time=2.5
if [ -n "${DOPPEL_LONG:-}" ]; then
	quotas=(1 5 20 40 100 150 200)
	time=10
fi
head -c 32M /dev/urandom >"$scratch/disk.raw"

# gets NAME ALLOWED LEAST OPTION...: watches a machine for a while.
gets() {
	local name=$1 allowed=$2 least=$3 output status
	shift 3
	output=$("$watch" "$time" "$allowed" "$doppel" run --engine "$engine" --memory 128M --console none \
		--log-level error "$@" 2>&1 </dev/null)
	status=$?
	if ((status == 0)); then
		# worst W least L mean M idle I
		set -- $output
		awk -v mean="$6" -v least="$least" -v idle="$8" 'BEGIN { exit !(idle < 50 || mean >= least) }'
		status=$?
	fi
	result $status "$name: $output" "$output"
}

# payload NAME
payload() {
	local file
	for file in "${payloads[@]}"; do
		[ "$(basename "$file" .elf)" != "$1" ] || echo "$file"
	done
}

echo "1..$((${#payloads[@]} * ${#quotas[@]} + 5))"
for quota in "${quotas[@]}"; do
	for file in "${payloads[@]}"; do
		name=$(basename "$file" .elf)
		how=--firmware
		[ "$name" != s_calls ] || how=--kernel
		gets "$name, $quota%" "$quota" 0 "$how" "$file" --cpus 2 --disk "$scratch/disk.raw" --cpu-quota "$quota%"
	done
done
gets 'one vCPU at 30% gets it' 30 28 --firmware "$(payload loop)" --cpu-quota 30%
gets 'two vCPUs at 25% each' 50 47 --firmware "$(payload loop)" --cpus 2 --vcpu-quota 25%
gets 'two vCPUs at 25% each, 30% for all' 30 28 --firmware "$(payload loop)" --cpus 2 --vcpu-quota 25% --cpu-quota 30%

# The guest uses all of its memory, and the monitor its caches: as much as it can be made to hold.
"$doppel" run --engine "$engine" --memory 64M --memory-max 200M --console none --timeout 4 --disk "$scratch/disk.raw" \
	--net user --firmware "$(payload memory)" 2>"$scratch/errors" &
pid=$!
sleep 3
held=$(awk '/^(RssAnon|RssShmem)/ { sum += $2 } END { print int(sum / 1024) }' /proc/$pid/status)
limit=$(awk '/^Max data size/ { print int($4 / 1048576) }' /proc/$pid/limits)
wait $pid
same_status 'a machine below its ceiling runs' 6 $? "$(cat "$scratch/errors")"
((held <= 200 && limit > 0))
result $? "$held MiB are held of 200, the kernel would refuse beyond $limit" "$(cat "$scratch/errors")"
exit $failed
