#!/bin/bash
# The image debian: to a login with everything running, apt against a mirror on this host through the user network, a
# seed, reboot and power-off, what is kept of its disk and what is not. Prints TAP.
# The image is made only when DOPPEL_LONG is set; otherwise it must be here already.
# usage: debian-boot.sh DOPPEL
set -u
if [ -z "${DOPPEL_NAMESPACE-}" ]; then
	map=()
	((EUID)) && map=(-r)
	unshare "${map[@]}" -n true 2>/dev/null || {
		echo '1..0 # SKIP no network namespace to be had here'
		exit 0
	}
	state=$("$1" image ls --format json | python3 -c '
import json, sys
print(next(row["state"] for row in json.load(sys.stdin) if row["name"] == "debian"))')
	if [ "$state" != ready ] && { [ -z "${DOPPEL_LONG-}" ] || ! "$1" image pull debian >&2; }; then
		echo "1..0 # SKIP the image debian is $state here"
		exit 0
	fi
	DOPPEL_NAMESPACE=1 exec unshare "${map[@]}" -n "$0" "$@"
fi
doppel=$(realpath "$1")
cd "$(dirname "$0")" || exit
. ./tap.sh
seconds=400
ip link set lo up
pids=()
end_all() {
	((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
	rm -rf "$scratch"
}
trap end_all EXIT

# A repository with one package, as a mirror serves it.
make_mirror() {
	mkdir -p "$scratch/mirror" "$scratch/package/DEBIAN" "$scratch/package/usr/bin"
	printf 'Package: from-the-host\nVersion: 1.0\nArchitecture: all\nMaintainer: x\nDescription: x\n' \
		>"$scratch/package/DEBIAN/control"
	printf '#!/bin/sh\necho it ran\n' >"$scratch/package/usr/bin/from-the-host"
	chmod 755 "$scratch/package/usr/bin/from-the-host"
	(
		cd "$scratch/mirror" || exit
		dpkg-deb --build --root-owner-group ../package package.deb >/dev/null
		cat ../package/DEBIAN/control
		printf 'Filename: ./package.deb\nSize: %s\nSHA256: %s\n\n' "$(stat -c %s package.deb)" \
			"$(sha256sum package.deb | cut -d' ' -f1)"
	) >"$scratch/packages"
	mv "$scratch/packages" "$scratch/mirror/Packages"
	(cd "$scratch/mirror" && exec python3 -m http.server --bind 127.0.0.1 8000) >/dev/null 2>&1 &
	pids+=($!)
}

# talk NAME COMMAND... : a session on the console, in the language of expect; `at` waits for the prompt and `tell`
# enters a line and checks what comes of it.
talk() {
	timeout --foreground "$((seconds * 3))" expect -c '
		set timeout '"$seconds"'
		proc at {} {
			expect {
				timeout { puts "\nNO PROMPT"; exit 1 }
				eof { puts "\nENDED"; exit 1 }
				-re {@[a-z0-9]+:~# }
			}
		}
		# From the prompt that was waited for: without marks of a terminal around what is typed.
		proc calm {} {
			send "bind \"set enable-bracketed-paste off\"\r"
			at
		}
		proc login {} {
			expect {
				timeout { puts "\nNO LOGIN"; exit 1 }
				eof { puts "\nENDED"; exit 1 }
				"login: "
			}
			send "root\r"
			at
			calm
		}
		proc tell {line pattern} {
			send "$line\r"
			expect {
				timeout { puts "\nNOT SEEN: $pattern"; exit 1 }
				-re $pattern
			}
			at
		}
		'"$1" 2>&1 | tee "${DOPPEL_TRACE:-/dev/null}"
	return "${PIPESTATUS[0]}"
}

export DOPPEL_STATE=$scratch/state
make_mirror
cat >"$scratch/user-data" <<'END'
#cloud-config
write_files:
  - path: /etc/from-seed
    permissions: '0600'
    content: |
      first line
        second
chpasswd:
  users:
    - name: root
      password: "secret word"
runcmd:
  - [touch, "/root/made by runcmd"]
  - echo "$(hostname)" >/root/name
packages: [nginx]
END

echo 1..5
output=$(talk "
	spawn -noecho $doppel run debian --keep $scratch/disk.raw --name web --cloud-init $scratch/user-data
	expect \"web login: \"
	send \"root\r\"
	expect \"Password: \"
	send \"secret word\r\"
	at
	calm
	tell {systemctl is-system-running --wait} {\nrunning}
	tell {systemctl --failed --no-legend | wc -l} {\n0\r}
	tell {stat -c %a /etc/from-seed; cat /etc/from-seed} {600.*first line\r\n  second}
	tell {ls /root; cat /root/name} {made by runcmd.*\nweb\r}
	tell {journalctl --no-pager -o cat -u doppel-seed} {ignored: packages}
	puts [exec $doppel exec web -- systemctl is-active doppel-guest]
	tell {ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null} {127.0.0.1 ssh-ed25519 }
	tell {ip -color=never -4 -brief address show scope global} {UP +10\.0\.2\.15/24}
	tell {rm /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] http://10.0.2.2:8000/ ./' >/etc/apt/sources.list} {}
	tell {apt-get -q update && apt-get -q install -y from-the-host && from-the-host} {\nit ran}
	tell {dpkg --audit | wc -l} {\n0\r}
	puts FIRST-BOOT
	send \"reboot\r\"
	expect \"web login: \"
	send \"root\r\"
	expect \"Password: \"
	send \"secret word\r\"
	at
	calm
	tell {from-the-host; systemctl is-system-running --wait} {it ran.*\nrunning}
	puts REBOOTED
	send \"poweroff\r\"
	expect eof
	exit [lindex [wait] 3]
")
status=$?
grep -q FIRST-BOOT <<<"$output"
result $? 'a seed, everything running, commands from the host, a key for ssh, apt from a mirror on the host' "$output"
grep -q REBOOTED <<<"$output"
result $? 'reboot, with what was installed' "$output"
[ $status = 0 ]
result $? 'power-off' "status $status: $output"
check=$(PATH=$PATH:/usr/sbin e2fsck -fn "$scratch/disk.raw" 2>&1)
result $? 'the kept file system is clean' "$check"

output=$(talk "
	spawn -noecho $doppel run debian --net none
	login
	tell {ls /usr/bin/from-the-host} {No such file}
	tell {touch /etc/mark && sync; echo done} {\ndone}
	send \"poweroff\r\"
	expect eof
	exit [lindex [wait] 3]
")
status=$?
[ $status = 0 ] && "$doppel" image ls | grep -q '^debian  *riscv64  *ready'
result $? 'a disk that is not kept leaves the image as it was' "status $status: $output"
exit $failed
