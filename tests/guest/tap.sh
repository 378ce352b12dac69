# What the scripts here share. The caller has set `doppel` and `engine`, and ends with `exit $failed`.
number=0
failed=0
seconds=${DOPPEL_SECONDS:-300}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Machines with names are of their own too.
export DOPPEL_STATE=$scratch/state

# result STATUS NAME [DETAIL]: one line of TAP; 0 is a pass.
result() {
	number=$((number + 1))
	if (($1 == 0)); then
		echo "ok $number - $2"
	else
		failed=1
		echo "not ok $number - $2"
		tr -d '\r' <<<"${3-}" | tail -n 60 | sed 's/^/# /'
	fi
}

# check NAME EXPECTED FOUND: two texts that are the same, byte for byte.
check() {
	number=$((number + 1))
	if [[ $3 == "$2" ]]; then
		echo "ok $number - $1"
	else
		failed=1
		echo "not ok $number - $1"
		printf '# expected: %q\n# found:    %q\n' "$2" "$3"
	fi
}

# within SECONDS COMMAND...: whether it succeeds in time. `rest`: seconds between two tries.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep "${rest:-0.1}"
	done
}

skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# skip_all REASON: this script has nothing to do here.
skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}

# need_tools COMMAND...: all of them.
need_tools() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || skip_all "no $tool here"
	done
}

need_engine() {
	"$doppel" engines | awk -v name="$engine" '$1 == name && $3 == "yes" { usable = 1 } END { exit !usable }' ||
		skip_all "no engine $engine on this host"
}

need_image() {
	local arch=riscv64
	[ "${engine-}" != kvm ] || arch=x86_64
	"$doppel" image pull debian-tiny --arch $arch >/dev/null || skip_all 'the image can not be obtained here'
}

# same_status NAME EXPECTED FOUND OUTPUT
same_status() {
	[ "$3" = "$2" ]
	result $? "$1" "exit status $3, expected $2; output: ${4-}"
}
