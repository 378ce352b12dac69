# What tests have in common that run x86-64 guests on a nested host. The caller has set `doppel`; after this, `files` has doppel and
# the image debian-tiny for x86_64, `scratch` is a folder, and `nested OPTION-OF-NESTED-RUN... COMMANDS` ends the script with what
# came of the commands.
"$doppel" image pull debian-tiny --arch x86_64 >&2 || {
	echo '1..0 # SKIP the image for x86_64 can not be obtained here'
	exit 0
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
files=("$doppel=/host/doppel" tap.sh /bin/bash=/bin/bash)
for file in kernel initramfs manifest; do
	place=doppel/images/debian-tiny@x86_64/$file
	files+=("${XDG_CACHE_HOME:-$HOME/.cache}/$place=/root/.cache/$place")
done

# A host that crashed or stood still (125), which QEMU's emulation of one may do (boot-tests.md), says nothing of us: once more. So
# its lines are known to be of the right try only at the end; until then they are on stderr.
nested() {
	local told=$scratch/told try status
	for try in 1 2; do
		./nested-run "$@" "${files[@]}" | tee "$told" >&2
		status=${PIPESTATUS[0]}
		((status == 125)) || break
		echo "the nested host ended, try $try of 2" >&2
	done
	cat "$told"
	((status != 77)) || echo '1..0 # SKIP no nested host: qemu-system-x86 and a mirror of Debian are needed'
	((status == 77)) || exit $status
	exit 0
}
