#!/bin/bash
# iperf3 between two machines on one switch: TCP both ways at once and over several streams, UDP; what one says that
# it sent the other received, but for what is under way at the end. UDP is sent ever more slowly until nearly all of it arrives:
# how long a receiver waits for its processor, and what its 2 MiB at the switch can not hold meanwhile, is the host's affair. In a
# network namespace of its own. Prints TAP.
# usage: iperf.sh DOPPEL ENGINE
# DOPPEL_IPERF_MIB: of each transfer (16; 512 in the thorough form, 64 interpreted).
set -u
if [ -z "${DOPPEL_NAMESPACE-}" ]; then
	map=()
	((EUID)) && map=(-r)
	unshare "${map[@]}" -n true 2>/dev/null || {
		echo '1..0 # SKIP no network namespace to be had here'
		exit 0
	}
	# Packages come over the network that is here, so before.
	warm=$(mktemp)
	"$(dirname "$0")/package.py" iperf3 usr/bin/iperf3 "$warm" >/dev/null 2>&1
	status=$?
	rm -f "$warm"
	((status == 0)) || {
		echo "1..0 # SKIP Debian's iperf3 can not be obtained here"
		exit 0
	}
	DOPPEL_NAMESPACE=1 exec unshare "${map[@]}" -n "$0" "$@"
fi
doppel=$(realpath "$1")
engine=$2
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
need_image
[ "$engine" = interpret ] && much=64 || much=512
mib=${DOPPEL_IPERF_MIB:-${DOPPEL_LONG:+$much}}
mib=${mib:-16}
seconds=${DOPPEL_LONG:+1500}
seconds=${seconds:-900}

peer=
end_all() {
	[ -n "$peer" ] && kill "$peer" 2>/dev/null
	rm -rf "$scratch"
}
trap end_all EXIT
mkdir -m 700 "$scratch/run"
export XDG_RUNTIME_DIR=$scratch/run
ip link set lo up
kernel=$(./package.py iperf3 usr/bin/iperf3 "$scratch/initrd" 2>/dev/null) || skip_all 'the guest can not be made here'

# boot ADDRESS COMMANDS: a guest on the segment.
boot() {
	local commands="dmesg -n 1; cd /iperf3/root; for i in proc sys dev; do mount --bind /\$i \$i; done
ip link set lo up; ip link set eth0 up; ip addr add 10.9.0.$1/24 dev eth0
iperf() { chroot /iperf3/root /usr/bin/iperf3 \"\$@\"; }
$2"
	exec "$doppel" run --engine "$engine" --cpus 2 --timeout "$seconds" --rng off --console stdio --name "peer$1" \
		--kernel "$kernel" --initrd "$scratch/initrd" --net "switch=iperf,mac=52:54:00:00:00:0$1" \
		--append "console=ttyS0 quiet doppel.exec64=$(base64 -w0 <<<"$commands")" </dev/null 2>&1
}

(boot 2 'echo serving; iperf -s >/tmp/log; tail -n 5 /tmp/log') >"$scratch/server" &
peer=$!
for ((tries = 0; tries < 1500; tries++)); do
	grep -q serving "$scratch/server" && break
	sleep 0.2
done

# Every test prints JSON between two lines; the guest says how each ended. The server takes one client at a time, and needs a moment
# after each. There is room for 1024 bytes of command line.
(boot 1 "for i in \$(seq 100); do ping -c 1 -W 1 10.9.0.2 >/dev/null && break; done
try() { n=\$1; shift; sleep 3; echo begin \$n; iperf -c 10.9.0.2 -J -n ${mib}M \"\$@\"; echo end \$n \$?; }
try tcp; try reverse -R; try streams -P 4; try bidirectional --bidir
for r in 40 10 3 1; do
try udp -u -b \${r}M -l 1400 -n \$(($mib*r/40+1))M | tee /tmp/u
awk -F: '/lost_p/{l=\$2+0}END{exit l>5}' /tmp/u && break
done") >"$scratch/client"
status=$?

# judge NAME: the sums of one test: sent and received bytes, and what was lost.
judge() {
	# The last one of that name counts.
	tr -d '\r' <"$scratch/client" | awk -v name="$1" '$0 == "begin " name { text = ""; on = 1 } on { text = text $0 "\n" }
		$1 == "end" && $2 == name { on = 0 } END { printf "%s", text }' | python3 -c "
import json, sys
lines = sys.stdin.read().splitlines()
if not lines or lines[-1].split()[-1] != '0':
    sys.exit('it failed: ' + ' '.join(line for line in lines if 'error' in line) or ' '.join(lines[-3:]))
end = json.loads('\n'.join(lines[1:-1]))['end']
wanted = $mib << 20
if '$1' == 'udp':
    found = end['sum']
    print(found['bytes'], 'bytes,', found['lost_packets'], 'of', found['packets'], 'packets lost, at',
          round(found['bits_per_second'] / 1e6), 'Mbit/s')
    sys.exit(found['bytes'] < 1 << 20 or found['lost_packets'] * 20 > found['packets'])
pairs = [('sum_sent', 'sum_received', wanted // 2)]
if '$1' == 'bidirectional':
    # It ends when one direction has enough; how far the other is then depends on who ran.
    pairs.append(('sum_sent_bidir_reverse', 'sum_received_bidir_reverse', 1))
for sent, received, least in pairs:
    sent, received = end[sent], end[received]
    print(f\"{sent['bytes']} bytes sent, {received['bytes']} received, {received['bits_per_second'] / 1e6:.0f} Mbit/s\")
    # Of what is under way when the client has enough, some is not counted.
    if received['bytes'] > sent['bytes'] or sent['bytes'] - received['bytes'] > 4 << 20 or received['bytes'] < least:
        sys.exit(1)
"
}

echo 1..5
for name in tcp reverse streams bidirectional udp; do
	said=$(judge "$name" 2>&1)
	result $? "$name: $said" "$said; status $status; the server: $(tail -n 5 "$scratch/server")"
done
exit $failed
