#!/bin/bash
# Guest memory out of the host's reserved huge pages: refused where there are too few; a guest that restarts, is saved and taken
# back. Reserves pages for the time of the test where this user may. Prints TAP.
# usage: hugepages.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
pool=/sys/kernel/mm/hugepages/hugepages-2048kB
megabytes=96
[ "$engine" != kvm ] || megabytes=160
pages=$((megabytes / 2))
does() {
	timeout -k 5 "$seconds" "$doppel" "$@" 2>&1
}
in_guest() {
	does exec --timeout "${seconds}s" web -- sh -c "$1"
}
# refused NAME WORDS OPTION...
refused() {
	local name=$1 words=$2 output
	shift 2
	output=$(does run debian-tiny --engine "$engine" --hugepages "$@" </dev/null)
	[[ $? != 0 && $output == *"$words"* ]]
	result $? "$name" "$output"
}

refused 'a balloon' 'leave --balloon out' --memory 96M --balloon 64M
refused 'memory that is not of such pages' 'multiples of 2M' --memory 97M
refused 'more than is reserved' 'reserve more as root' --memory "$((($(cat $pool/nr_hugepages) + 1) * 2 + 64))M"

# One such test at a time on this host, and afterwards it is as it was.
exec 9<$pool/nr_hugepages
flock 9
before=$(cat $pool/nr_hugepages)
trap '"$doppel" rm --all --force >/dev/null 2>&1; [ ! -w $pool/nr_hugepages ] || echo "$before" >$pool/nr_hugepages; rm -rf "$scratch"' EXIT
{ echo $((before + pages)) >$pool/nr_hugepages; } 2>/dev/null
if (($(cat $pool/free_hugepages) - $(cat $pool/resv_hugepages) < pages)); then
	skip 'a guest in huge pages' 'this user can not reserve any'
	echo "1..$number"
	exit $failed
fi

output=$(does create web debian-tiny --memory "${megabytes}M" --engine "$engine" --hugepages) && output+=$(does start web)
result $? 'a machine in huge pages' "$output"
check 'its guest is there' here "$(in_guest 'echo here; echo kept >/word')"
used=$((before + pages - $(cat $pool/free_hugepages)))
((used > 0))
result $? 'its memory is of them' "$used"
output=$(does snapshot save web one)
result $? 'it is saved' "$output"
in_guest 'rm /word' >/dev/null
output=$(does stop --force web) && output+=$(does restore web one)
result $? 'and taken back' "$output"
check 'as it was' kept "$(in_guest 'cat /word')"
in_guest 'reboot -f' >/dev/null
new() {
	[[ $(in_guest 'cat /word || echo new') == *new* ]]
}
within "$seconds" new
result $? 'it restarts' "$(does logs web | tail -5)"
output=$(does stop --force web)
result $? 'it ends' "$output"
check 'and gives its pages back' "$((before + pages))" "$(cat $pool/free_hugepages)"
echo "1..$number"
exit $failed
