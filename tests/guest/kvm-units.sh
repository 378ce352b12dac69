#!/bin/bash
# The unit tests of the engine kvm on a host with KVM in hardware, as QEMU emulates it. Prints TAP.
# usage: kvm-units.sh TEST...
set -u
tests=()
for test; do
	tests+=("$(realpath "$test")")
done
cd "$(dirname "$0")" || exit
names=$(basename -a "${tests[@]}" | tr '\n' ' ')
./nested-run -t 3000 "number=0
	failed=0
	for test in $names; do
		output=\$(./\$test 2>&1) && word=ok || { word='not ok'; failed=1; }
		echo \"\$word \$((number += 1)) - \$test\"
		[ \"\$word\" = ok ] || echo \"\$output\" | tail -n 40 | sed 's/^/# /'
	done
	echo 1..\$number
	exit \$failed" "${tests[@]}"
status=$?
((status != 77)) || echo '1..0 # SKIP no nested host: qemu-system-x86 and a mirror of Debian are needed'
((status == 77)) || exit $status
