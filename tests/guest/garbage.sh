#!/bin/bash
# Guests that loop, jump to nowhere, fault in their trap handlers, write garbage everywhere, or are garbage: the
# monitor bears them until its time limit, and says so. Prints TAP.
# usage: garbage.sh DOPPEL ENGINE PAYLOAD.elf...
set -u
doppel=$(realpath "$1")
engine=$2
shift 2
payloads=()
for file; do
	payloads+=("$(realpath "$file")")
done
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine

# bears NAME OPTION...: half a second, and nothing but the time limit ends it.
bears() {
	local name=$1 output status
	shift
	output=$("$doppel" run --engine "$engine" --timeout 500ms --memory 64M --console none "$@" 2>&1)
	status=$?
	[ $status = 6 ] && grep -q 'did not end within 0.5 s' <<<"$output"
	result $? "$name" "exit status $status, expected 6; $output"
}

# random_bytes SEED COUNT
random_bytes() {
	awk -v seed="$1" -v count="$2" '
		BEGIN { srand(seed); for (i = 0; i < count; i++) printf "\\x%02x", int(256 * rand()) }' | xargs -0 printf '%b'
}

seed=${DOPPEL_SEED:-$(date +%s)}
seeds=3
[ -z "${DOPPEL_LONG:-}" ] || seeds=100
echo "1..$((${#payloads[@]} + seeds))"
for payload in "${payloads[@]}"; do
	name=$(basename "$payload" .elf)
	case $name in
	m_*) bears "$name, 4 harts" --cpus 4 --firmware "$payload" ;;
	*) bears "$name" --kernel "$payload" ;;
	esac
done
for ((i = 0; i < seeds; i++)); do
	random_bytes $((seed + i)) 8192 >"$scratch/random"
	bears "random bytes, DOPPEL_SEED=$((seed + i))" --cpus 2 --firmware "$scratch/random"
done
exit $failed
