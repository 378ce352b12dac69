# What scripts on the nested host share, beside tap.sh. The caller has set `doppel` and `engine`.
. ./tap.sh
need_engine
# For each step: a busy host that emulates one.
seconds=600
# A program that starts here takes half a second of the only processor, from the guest that it asks about.
rest=3
# What a short life does without.
quiet="mitigations=off nokaslr cryptomgr.notests audit=0 apparmor=0"
servers=()
trap '"$doppel" stop --all --force >/dev/null 2>&1; kill "${servers[@]}" 2>/dev/null; rm -rf "$scratch"' EXIT

does() {
	timeout -k 5 "$seconds" "$doppel" "$@" </dev/null 2>&1
}
# boots NAME STATUS PATTERN COMMAND OPTION...: boots, and compares status and output.
boots() {
	local name=$1 expected=$2 pattern=$3 command=$4 output status
	shift 4
	output=$(does run debian-tiny --arch x86_64 --engine kvm "$@" --append "$quiet" \
		--append "doppel.exec64=$(base64 -w0 <<<"$command")" | tr -d '\r'; exit "${PIPESTATUS[0]}")
	status=$?
	[ "$status" = "$expected" ] && grep -qE -- "$pattern" <<<"$output"
	result $? "$name" "status $status, expected $expected; pattern '$pattern' in: $output"
}
# in_guest COMMAND [NAME]
in_guest() {
	does exec --timeout "${seconds}s" "${2:-web}" -- "${shell:-sh}" -c "$1"
}
# says NAME EXPECTED COMMAND [MACHINE]
says() {
	check "$1" "$2" "$(in_guest "$3" "${4:-web}" | tr -d '\r')"
}
state() {
	does ls --format csv "${1:-web}" | tail -n 1 | tr ',' '\n' | grep -xE 'created|running|paused|stopped|failed'
}
is() {
	[ "$(state)" = "$1" ]
}
# it NAME STATE COMMAND...: does it, and the machine is in that state.
it() {
	local name=$1 expected=$2 output
	shift 2
	output=$(does "$@") && [ "$(state)" = "$expected" ]
	result $? "$name" "$(state): $output"
}
# fails NAME WORDS COMMAND...: it is refused with these words.
fails() {
	local name=$1 words=$2 output
	shift 2
	output=$(does "$@")
	[[ $? != 0 && $output == *"$words"* ]]
	result $? "$name" "expected '$words' in: $output"
}
# there COMMAND...: in the other registry of machines.
there() {
	DOPPEL_STATE=$scratch/there "$@"
}
# Both registries take machines that move, at here.sock and there.sock.
receivers() {
	mkdir "$scratch/there"
	"$doppel" receive "unix:$scratch/here.sock" </dev/null >"$scratch/here.log" 2>&1 &
	servers+=($!)
	DOPPEL_STATE=$scratch/there "$doppel" receive "unix:$scratch/there.sock" </dev/null >"$scratch/there.log" 2>&1 &
	servers+=($!)
	within "$seconds" [ -S "$scratch/here.sock" ]
	within "$seconds" [ -S "$scratch/there.sock" ]
}
