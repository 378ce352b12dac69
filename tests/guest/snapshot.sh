#!/bin/bash
# Debian's kernel is saved amid its work, taken back, copied, and moved to the other engine: memory, disk, timers and float loops
# go on as if nothing had been. Prints TAP.
# usage: snapshot.sh DOPPEL ENGINE
set -u
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
export DOPPEL_STATE=$scratch/state
trap 'for DOPPEL_STATE in "$scratch"/{state,elsewhere}; do "$doppel" rm --all --force >/dev/null 2>&1; done; rm -rf "$scratch"' EXIT
other=translate
[[ $engine = translate ]] && other=interpret

in_guest() {
	timeout -k 5 "$seconds" "$doppel" exec --timeout "${seconds}s" "$@" 2>&1
}
does() {
	timeout -k 5 "$seconds" "$doppel" "$@" 2>&1
}
# fails NAME WORDS COMMAND...
fails() {
	local name=$1 words=$2 output
	shift 2
	output=$(does "$@")
	[[ $? != 0 && $output == *"$words"* ]]
	result $? "$name" "$output"
}

# An image that has a disk too.
does image export debian-tiny "$scratch/image" >/dev/null
truncate -s 64M "$scratch/image/disk.raw"
export XDG_CACHE_HOME=$scratch/cache
does image import --name own "$scratch/image" >/dev/null
output=$(does create web own --net user --memory 192M --cpus 2 --engine "$engine") && output+=$(does start web)
result $? 'a machine with a disk of its own' "$output"
check 'its guest is there' here "$(in_guest web -- echo here)"

# A file in memory that is known, a loop of floats, a count that sleeps, and writes to the disk, all at once.
work='seq 1 50000 >/tmp/known
	(awk "BEGIN { for (i = 1; i <= 50000; i++) s += 1 / (i * i); printf \"%.15f\\n\", s }" >/tmp/float) &
	(for i in $(seq 20); do sleep 0.05; done; echo 20 >/tmp/slept) &
	(for i in $(seq 16); do dd if=/tmp/known of=/dev/vda bs=16k count=1 seek=$i conv=notrunc; sync; done; echo done >/tmp/wrote) 2>/dev/null &
	sleep 0.2'
answer='for f in float slept wrote; do until [ -s /tmp/$f ]; do sleep 0.1; done; done
	sync; echo 3 >/proc/sys/vm/drop_caches
	cat /tmp/float /tmp/slept; md5sum </tmp/known; dd if=/dev/vda bs=16k skip=1 count=16 2>/dev/null | md5sum'
in_guest web -- setsid sh -c "($work) >/dev/null 2>&1 </dev/null"
output=$(does snapshot web amid)
result $? 'it is saved amid its work' "$output"
undisturbed=$(in_guest web -- sh -c "$answer")

# A stream that goes on as long as the machine is being saved, and a while longer.
python3 - "$scratch" <<'END' &
import hashlib, os, pathlib, random, socket, sys, time
scratch, sum, left = pathlib.Path(sys.argv[1]), hashlib.md5(), 64
server = socket.create_server(("127.0.0.1", 0))
(scratch / "port.new").write_text(str(server.getsockname()[1]))
(scratch / "port.new").rename(scratch / "port")
server.settimeout(300)
client = server.accept()[0]
client.recv(4096)
client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
while left:
    piece = random.randbytes(16384)
    sum.update(piece)
    client.sendall(piece)
    left -= (scratch / "saved").exists()
    time.sleep(0.002)
client.close()
(scratch / "sum").write_text(sum.hexdigest() + "  -\n")
END
server=$!
until [[ -e $scratch/port ]]; do sleep 0.1; done
in_guest web -- setsid sh -c "(ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
	wget -q -O - http://10.0.2.2:$(cat "$scratch/port")/ | tee /tmp/stream | md5sum >/tmp/sum.new; mv /tmp/sum.new /tmp/sum) >/dev/null 2>&1 </dev/null &"
check 'data flows to the guest' flows "$(in_guest web -- sh -c 'until [ -s /tmp/stream ]; do sleep 0.1; done; echo flows')"
output=$(does snapshot web flowing)
result $? 'it is saved amid network traffic' "$output"
touch "$scratch/saved"
output=$(in_guest web -- sh -c 'until [ -s /tmp/sum ]; do sleep 0.1; done; cat /tmp/sum; rm /tmp/stream /tmp/sum')
wait $server
check 'what it receives is what was sent' "$(cat "$scratch/sum")" "$output"
does snapshot rm web flowing >/dev/null

# A connection in which nothing happens, so that only a reset ends it.
python3 - "$scratch" <<'END' &
import pathlib, socket, sys
scratch = pathlib.Path(sys.argv[1])
server = socket.create_server(("127.0.0.1", 0))
(scratch / "silent.new").write_text(str(server.getsockname()[1]))
(scratch / "silent.new").rename(scratch / "silent")
server.settimeout(300)
client = server.accept()[0]
client.recv(4096)
(scratch / "asked").touch()
client.recv(4096)
END
server=$!
until [[ -e $scratch/silent ]]; do sleep 0.1; done
in_guest web -- setsid sh -c "(wget -q -O - http://10.0.2.2:$(cat "$scratch/silent")/; echo over >/tmp/over) >/dev/null 2>&1 </dev/null &"
until [[ -e $scratch/asked ]] || ! kill -0 $server 2>/dev/null; do sleep 0.1; done
does snapshot web waiting >/dev/null
check 'a connection waits for an answer' waits "$(in_guest web -- sh -c '[ -e /tmp/over ] || echo waits')"
output=$(does restore --force --no-check web waiting)
result $? 'it is taken back to amid a connection' "$output"
wait $server
check 'which is reset' over "$(in_guest web -- sh -c 'until [ -e /tmp/over ]; do sleep 0.1; done; cat /tmp/over')"
[[ $(does history web) == *'connections dropped'* ]]
result $? 'and that is told' "$(does history web)"
does snapshot rm web waiting >/dev/null
in_guest web -- rm -f /tmp/over
in_guest web -- sh -c 'echo spoilt >/tmp/known; dd if=/dev/zero of=/dev/vda bs=1M count=8 2>/dev/null; sync'
fails 'it is not taken back while it runs, unless that is meant' 'restore --force' restore web amid
output=$(does restore --force web amid)
result $? 'it is taken back' "$output"
check 'all that it did comes out the same' "$undisturbed" "$(in_guest web -- sh -c "$answer")"
output=$(does restore --force --eager web amid)
result $? 'it is taken back with all its memory at once' "$output"
check 'and once more' "$undisturbed" "$(in_guest web -- sh -c "$answer")"

# ---- Increments ----

in_guest web -- sh -c 'echo later >/tmp/later'
output=$(does snapshot web later --parent amid)
result $? 'what has changed is saved' "$output"
fails 'what it builds on stays' 'builds on amid' snapshot rm web amid
fails 'and is not replaced' 'builds on amid' snapshot web amid --force
fails 'none builds on itself' 'another name' snapshot web later --force --parent later
in_guest web -- rm /tmp/later
output=$(does restore --force web later)
result $? 'it is taken back to an increment' "$output"
check 'which has what it had' later "$(in_guest web -- cat /tmp/later)"
output=$(does snapshot inspect web later --verify)
result $? 'all of it is whole' "$output"
in_guest web -- sh -c 'echo latest >/tmp/latest'
does snapshot web latest --parent later >/dev/null
check 'a chain of three' 3 "$(does snapshot inspect web latest --format json | python3 -c 'import json, sys; print(json.load(sys.stdin)["chain"])')"
output=$(does snapshot collapse web latest)
result $? 'it is collapsed' "$output"
check 'into one' 1 "$(does snapshot inspect web latest --format json | python3 -c 'import json, sys; print(json.load(sys.stdin)["chain"])')"
output=$(does restore --force web latest)
result $? 'it is taken back to that' "$output"
check 'which has what all three had' $'later\nlatest' "$(in_guest web -- cat /tmp/later /tmp/latest)"
does snapshot rm web latest >/dev/null
output=$(does snapshot web small --compress)
result $? 'it is saved compressed' "$output"
(($(stat -c %b "$DOPPEL_STATE/machines/web/snapshots/small.snap") < $(stat -c %b "$DOPPEL_STATE/machines/web/snapshots/amid.snap")))
result $? 'which takes less room' "$(ls -ls "$DOPPEL_STATE/machines/web/snapshots")"
output=$(does restore --force web small)
result $? 'and can be taken back to' "$output"
check 'with all that it had' $'later\nlatest' "$(in_guest web -- cat /tmp/later /tmp/latest)"
does restore --force web later >/dev/null
does snapshot rm web small >/dev/null

# ---- Clones ----

output=$(does clone web --count 2)
check 'two clones' $'web-1\nweb-2' "$output"
in_guest web-1 -- sh -c 'echo one >/tmp/own; dd if=/tmp/own of=/dev/vda conv=notrunc 2>/dev/null; sync'
check 'one does not see what the other writes' '' "$(in_guest web-2 -- sh -c 'cat /tmp/own 2>/dev/null; dd if=/dev/vda bs=3 count=1 2>/dev/null | tr -d "\\0"')"
random=$(for name in web web-1 web-2; do in_guest $name -- sh -c 'head -c 16 /dev/urandom | md5sum'; done | sort | uniq | wc -l)
check 'each has random numbers of its own' 3 "$random"
[[ $(in_guest web-1 -- dmesg) == *'reseeded due to virtual machine fork'* ]]
result $? 'the kernel of a clone knows that it is one' "$(in_guest web-1 -- sh -c 'dmesg | tail -n 3')"
# A host's disk that is full: one in memory with too little room, which only the command sees.
if [[ $(id -u) = 0 ]] && unshare -m true 2>/dev/null; then
	folder=$DOPPEL_STATE/machines/web-1/snapshots
	mkdir -p "$folder"
	output=$(timeout -k 5 "$seconds" unshare -m sh -c 'mount -t tmpfs -o size=4m none "$1" && ! "$2" snapshot web-1 full 2>&1 &&
		ls -A "$1"' - "$folder" "$doppel")
	[[ $? = 0 && $output = *'No space left'* && $output != *$'\n'* ]]
	result $? 'a save that finds no room fails and leaves nothing' "$output"
	check 'and the machine runs on' one "$(in_guest web-1 -- cat /tmp/own)"
	output=$(does snapshot web-1 fits)
	result $? 'and is saved where there is room' "$output"
else
	skip 'a save that finds no room' 'takes root'
fi
does rm --force web-1 web-2 >/dev/null

# ---- What goes wrong ----

fails 'a snapshot that is not there' 'has no snapshot nothing' restore --force web nothing
fails 'one that is there is not replaced' '--force replaces it' snapshot web amid
snapshots=$DOPPEL_STATE/machines/web/snapshots
cp --sparse=always "$snapshots/amid.snap" "$snapshots/bad.snap"
printf x | dd of="$snapshots/bad.snap" bs=1 seek=4200 conv=notrunc 2>/dev/null
fails 'a damaged one is refused' 'table of pages' restore --force web bad
check 'and the machine runs on' web "$(does ps --quiet)"
truncate -s -1 "$snapshots/bad.snap"
fails 'one that was cut is refused' 'it was cut' restore --force web bad
[[ $(does snapshot ls web) == *bad*'(unreadable)'* ]]
result $? 'and listed as one that can not be read' "$(does snapshot ls web)"
# Its memory stands behind a row of 24 bytes for each page.
cp --sparse=always "$snapshots/amid.snap" "$snapshots/bad.snap"
printf x | dd of="$snapshots/bad.snap" bs=1 seek=$((4096 + 24 * 192 * 256 + 5)) conv=notrunc 2>/dev/null
fails 'one with damaged memory is refused' 'is damaged in the file' restore --force --eager web bad
check 'before the machine is ended for it' web "$(does ps --quiet)"
rm "$snapshots/bad.snap"

# Killed while it is saved: nothing is seen of it.
pid=$(does ls --format json web | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["pid"])')
does snapshot web dying >/dev/null 2>&1 &
sleep 0.0$((RANDOM % 10))
kill -9 "$pid"
wait $!
left=$(does snapshot ls web --quiet | tr '\n' ' ')
[[ $left = 'amid later ' || $left = 'amid later dying ' ]] && { [[ $left != *dying* ]] || does snapshot inspect web dying --verify >/dev/null; }
result $? 'a monitor that is killed leaves a whole snapshot or none' "$left"
output=$(does restore web later)
result $? 'and the machine goes on from another' "$output"
check 'as it was' later "$(in_guest web -- cat /tmp/later)"
# ---- The other engine ----

does stop --force web >/dev/null
sed -i "s/^engine: .*/engine: $other/" "$DOPPEL_STATE/machines/web/machine.yaml"
output=$(does restore web amid)
result $? "it goes on under engine $other" "$output"
check 'with the same results' "$undisturbed" "$(in_guest web -- sh -c "$answer")"

# ---- In one file, to another registry ----

output=$(does snapshot export web later "$scratch/web.snap")
result $? 'an increment is written into one file' "$output"
fails 'which is not replaced' '--force replaces it' snapshot export web later "$scratch/web.snap"
check 'and tells what it has' later "$(does snapshot inspect "$scratch/web.snap" --verify --format json 2>/dev/null |
	sed -n '/^{/,$p' | python3 -c 'import json, sys; print(json.load(sys.stdin)["tag"])')"
fails 'a snapshot that needs no name needs one' 'needs --name' restore "$scratch/web.snap"
output=$(does snapshot rm web later amid)
result $? 'snapshots are removed' "$output"
does rm --force web >/dev/null
here=$DOPPEL_STATE
export DOPPEL_STATE=$scratch/elsewhere
output=$(does restore "$scratch/web.snap" --name new)
result $? 'a machine is made of it elsewhere' "$output"
check 'which has what it had' later "$(in_guest new -- cat /tmp/later)"
check 'and its disk' "${undisturbed##*$'\n'}" "$(in_guest new -- sh -c 'echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=16k skip=1 count=16 2>/dev/null | md5sum')"
printf x | dd of="$scratch/web.snap" bs=1 seek=$(($(stat -c %s "$scratch/web.snap") - 100)) conv=notrunc 2>/dev/null
fails 'a damaged file makes no machine' 'is damaged' restore "$scratch/web.snap" --name bad
check 'and leaves nothing' new "$(does ls --quiet)"
does rm --all --force >/dev/null
export DOPPEL_STATE=$here
echo "1..$number"
exit $failed
