#!/bin/bash
# A guest's network cards on each back end, used by Debian's driver, on loopback and taps of a network namespace of its
# own. Prints TAP.
# usage: networks.sh DOPPEL ENGINE TRAFFIC_OF_THE_GUEST TRAFFIC_OF_THE_HOST
set -u
if [ -z "${DOPPEL_NAMESPACE-}" ]; then
	(
		doppel=$1
		. "$(dirname "$0")/tap.sh"
		need_image
	) | grep . && exit 0
	map=()
	((EUID)) && map=(-r)
	unshare "${map[@]}" -nm true 2>/dev/null || {
		echo "1..0 # SKIP no network namespace to be had here"
		exit 0
	}
	DOPPEL_NAMESPACE=1 exec unshare "${map[@]}" -nm "$0" "$@"
fi
doppel=$(realpath "$1")
engine=$2
traffic=$(realpath "$3")
host_traffic=$(realpath "$4")
cd "$(dirname "$0")" || exit
. ./tap.sh
need_engine
# Several guests, on a host that has other things to do.
seconds=400
need_tools python3 ip

pids=()
end_all() {
	local pid
	for pid in "${pids[@]}"; do
		# shellcheck disable=SC2046
		kill $(pgrep -P "$pid") "$pid" 2>/dev/null
	done
	rm -rf "$scratch"
}
trap end_all EXIT

ip link set lo up
mkdir "$scratch/www" "$scratch/run"
chmod 700 "$scratch/run"
export XDG_RUNTIME_DIR=$scratch/run
cp "$traffic" "$scratch/www/traffic"
head -c 5000000 /dev/urandom >"$scratch/www/file"
sum=$(md5sum <"$scratch/www/file")
echo 'nameserver 127.0.0.1' >"$scratch/resolv.conf"
mount --bind "$scratch/resolv.conf" "$(realpath /etc/resolv.conf)" || skip_all 'no mounts of our own here'
python3 -m http.server 8123 --bind 127.0.0.1 --directory "$scratch/www" >/dev/null 2>&1 &
pids+=($!)
# Every name has one address.
python3 - <<'END' &
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
while True:
    question, client = s.recvfrom(512)
    answer = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:]
    if question[-3:-2] == b"\x1c":
        answer = question[:2] + b"\x81\x80\0\1\0\0\0\0\0\0" + question[12:]
    else:
        answer += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\1\2\3"
    s.sendto(answer, client)
END
pids+=($!)
"$host_traffic" serve 9000 &
pids+=($!)

# What every guest here begins with: an address by DHCP, and the program by HTTP.
begin='lease() {
	[ "$1" = bound ] || exit 0
	ip addr add $ip/$mask dev $interface
	ip route add default via $router
	echo "nameserver $dns" >/etc/resolv.conf
	echo "leased $ip to $hostname"
}
mkdir -p /etc
{ echo "#!/bin/sh"; sed -n "/^lease()/,/^}/p" /tmp/me; echo "lease \$1"; } >/tmp/lease
chmod +x /tmp/lease
dhcp() { ip link set $1 up; udhcpc -i $1 -n -q -s /tmp/lease; }
fetch() { wget -q -O /tmp/$1 http://10.0.2.2:8123/$1 && chmod +x /tmp/$1; }
'

# boot COMMANDS OPTION...: runs a guest, several at once with one name; its output, with the status in the last line.
boot() {
	local commands=$begin$1
	shift
	DOPPEL_STATE=$(mktemp -d "$scratch/state.XXXXXX") "$doppel" run debian-tiny --engine "$engine" --timeout "$seconds" \
		--name tiny --rng off \
		--append "doppel.exec64=$(printf 'cat >/tmp/me <<"DOPPEL"\n%s\nDOPPEL\nsh /tmp/me' "$commands" | gzip -9c |
			base64 -w0 | { printf 'echo %s | base64 -d | gunzip >/tmp/all; sh /tmp/all' "$(cat)" | base64 -w0; })" \
		"$@" </dev/null 2>&1 | sed -u 's/\r//'
	echo "status ${PIPESTATUS[0]}"
}

# has NAME OUTPUT TEXT...: passes when the guest ended well and each text is there.
has() {
	local name=$1 output=$2 text
	shift 2
	for text in 'status 0' "$@"; do
		if ! grep -qF -- "$text" <<<"$output"; then
			result 1 "$name" "\"$text\" is missing in: $output"
			return
		fi
	done
	result 0 "$name"
}

# await FILE TEXT: until the text is in the file.
await() {
	local tries
	for tries in {1..300}; do
		grep -qF -- "$2" "$1" 2>/dev/null && return
		sleep 0.2
	done
	return 1
}

echo 1..8

output=$(boot 'dhcp eth0; nslookup some.name; fetch file; md5sum </tmp/file; ping -c 1 10.0.2.2
	ping -6 -c 1 fec0::2; fetch traffic
	/tmp/traffic 10.0.2.2 9000 send 20000000 && /tmp/traffic 10.0.2.2 9000 receive 20000000' --net user)
has 'user: DHCP, DNS, HTTP, IPv6, and TCP both ways' "$output" 'leased 10.0.2.15 to tiny' '10.1.2.3' "$sum" \
	'1 packets received' 'receive:'

boot 'dhcp eth0; fetch traffic; /tmp/traffic serve 80 & sleep 1; dhcp eth0; sleep 1; echo serving; wait' \
	--net user --publish 18080:80 --publish '[::1]:18081:80' >"$scratch/published" &
pids+=($!)
await "$scratch/published" serving
seen=$("$host_traffic" 127.0.0.1 18080 send 5000000 && "$host_traffic" 127.0.0.1 18080 receive 5000000 &&
	"$host_traffic" ::1 18081 receive 1000000)
result $? 'user: published ports, IPv4 and IPv6' "$seen $(cat "$scratch/published")"
again=$(boot true --net user --publish 18080:80)
grep -qF 'port 18080 of 127.0.0.1 is taken' <<<"$again"
result $? 'user: a port that is taken is told' "$again"
"$host_traffic" 127.0.0.1 18080 echo 10 >/dev/null
kill "$(pgrep -P "${pids[-1]}" -x doppel)" 2>/dev/null
unset 'pids[-1]'

output=$(boot 'dhcp eth0; wget -T 3 -q -O /tmp/file http://10.0.2.2:8123/file || echo shut' --net user,isolated)
has 'user: isolated, nothing is reached' "$output" 'leased 10.0.2.15' shut

peer_mac=52:54:00:00:00:02
boot 'dhcp eth0; fetch traffic; ip link set eth1 up; ip addr add 10.9.0.2/24 dev eth1
	/tmp/traffic serve 9001 & echo serving; wait' \
	--net user --net "switch=lan,mac=$peer_mac" >"$scratch/peer" &
pids+=($!)
await "$scratch/peer" serving
output=$(boot 'dhcp eth0; fetch traffic; ip link set eth1 up; ip addr add 10.9.0.1/24 dev eth1
	ping -c 2 10.9.0.2 && /tmp/traffic 10.9.0.2 9001 send 30000000 && /tmp/traffic 10.9.0.2 9001 receive 30000000 &&
	echo through
	ip link set eth1 down; ip link set eth1 address 52:54:00:00:00:99; ip link set eth1 up
	ping -c 2 -W 1 10.9.0.2 || echo dropped' --net user --net switch=lan,mac=52:54:00:00:00:01)
has 'switch: two guests ping and transfer, another address does not get out' "$output" through dropped
again=$(boot true --net "switch=lan,mac=$peer_mac")
grep -qF "has a machine with the MAC address $peer_mac already" <<<"$again"
result $? 'switch: no second machine with an address' "$again"
kill "$(pgrep -P "${pids[-1]}" -x doppel)" 2>/dev/null
unset 'pids[-1]'

if [ -w /dev/net/tun ] && ip tuntap add doppel0 mode tap 2>/dev/null; then
	ip addr add 10.8.0.1/24 dev doppel0
	ip link set doppel0 up
	output=$(boot 'dhcp eth0; fetch traffic; ip link set eth1 up; ip addr add 10.8.0.2/24 dev eth1
		ping -c 1 10.8.0.1; /tmp/traffic 10.8.0.1 9000 send 50000000 && /tmp/traffic 10.8.0.1 9000 receive 50000000' \
		--net user --net tap=doppel0)
	has 'tap: TCP both ways' "$output" '1 packets received' 'receive:'
else
	skip 'tap: TCP both ways' 'no taps here'
fi

boot 'dhcp eth0; echo leased; while [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.2; done
	echo carrier lost; echo lives' --net user --log-level error >"$scratch/killed" &
pids+=($!)
await "$scratch/killed" 'leased 10.0.2.15'
monitor=$(pgrep -P "$!" -x doppel)
kill -KILL "$(pgrep -P "$monitor" -x doppel-net)"
wait "${pids[-1]}"
unset 'pids[-1]'
has 'a killed back end takes the link down, the machine lives' "$(cat "$scratch/killed")" 'carrier lost' lives \
	'net0: the process of the user network was killed by SIGKILL; its link is down'

exit $failed
