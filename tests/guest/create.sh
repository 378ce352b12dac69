#!/bin/bash
# Machines from documents: doppel create, without a guest. Prints TAP.
# usage: create.sh DOPPEL
set -u
doppel=$(realpath "$1")
. "$(dirname "$0")/tap.sh"
export XDG_CACHE_HOME=$scratch/cache

# An image with a disk: nothing that would boot.
mkdir -p "$scratch/small" "$scratch/documents/data"
head -c 1000000 /dev/urandom >"$scratch/small/disk.raw"
echo kernel >"$scratch/small/kernel"
"$doppel" image import "$scratch/small" >/dev/null || exit 1
machines=$DOPPEL_STATE/machines
cd "$scratch/documents" || exit 1

cat >web.yaml <<'END'
# all that is needed
name: web
image: small
memory: 64M
shares: {folder: data, ro: true}
publish:
  - 8080:80
  - {host: 0, guest: 53, protocol: udp}
END

check 'a sound document has nothing to tell' ' 0' "$("$doppel" create --check --file web.yaml 2>&1) $?"
check 'a check makes nothing' no "$([[ -e $machines/web ]] && echo yes || echo no)"
(cd / && "$doppel" create --file "$scratch/documents/web.yaml" 2>/dev/null)
check 'the document is kept in its canonical form' "image: small
memory: \"64M\"
name: web
publish:
  - host: 8080
    guest: 80
  - protocol: udp
    host: 0
    guest: 53
shares:
  - folder: $scratch/documents/data
    ro: true" "$(<"$machines/web/machine.yaml")"
check 'what is kept is sound, and means the same' "$(<"$machines/web/machine.yaml")" \
	"$("$doppel" create again --file "$machines/web/machine.yaml" 2>/dev/null
	sed 's/^name: again$/name: web/' "$machines/again/machine.yaml")"
check 'the machine has a disk of its own' yes "$(cmp -s "$scratch/small/disk.raw" "$machines/web/disk.raw" && [[ -w $machines/web/disk.raw ]] && echo yes)"
check 'and the rest of its image, whatever becomes of that' 'append disk.raw kernel' \
	"$(cd "$machines/web" && ls -d append disk.* initramfs kernel 2>/dev/null | paste -sd' ')"
check 'it is created' 'created 67108864 1' "$(python3 -c 'import json, sys
record = json.load(open(sys.argv[1]))
print(record["state"], record["memory"], record["cpus"])' "$machines/web/state.json")"
check 'its history begins' 1 "$(grep -c '"event":"created","image":"small"' "$DOPPEL_STATE/history/web.jsonl")"
check 'a name is taken once' \
	'doppel: create: there is a machine web already; choose another name, or remove it 4' \
	"$("$doppel" create web small 2>&1) $?"

"$doppel" create web2 --file web.yaml --memory 32M --publish 81:80 2>/dev/null
check 'options replace what the document says of the same' "image: small
memory: \"32M\"
name: web2
publish:
  - host: 81
    guest: 80" "$(head -6 "$machines/web2/machine.yaml")"
printf '{"image": "small", "cpus": 2}' | "$doppel" create json --file - 2>/dev/null
check 'JSON comes from standard input' 'image: small cpus: 2 name: json' "$(paste -sd' ' "$machines/json/machine.yaml")"

printf 'image: small\nmemroy: 2G\ncpus: none\n' >bad.yaml
check 'all mistakes are told, with their lines' \
	'bad.yaml:2: "memroy" is not known; did you mean memory?
bad.yaml:3: cpus: "none" is not a whole number; write digits, without quotes
doppel: create: bad.yaml holds 2 mistakes 2' "$("$doppel" create bad --file bad.yaml 2>&1) $?"
check 'and nothing is made' no "$([[ -e $machines/bad ]] && echo yes || echo no)"
check 'one mistake is the message' 'doppel: create: standard input:1: "nam" is not known; did you mean name?' \
	"$(printf 'nam: x\nimage: y\n' | "$doppel" create --check --file - 2>&1)"
check 'an empty document is told so' 'doppel: create: standard input: image, kernel or firmware is missing' \
	"$("$doppel" create --check --file - 2>&1 </dev/null)"
check 'a machine wants a name' \
	'doppel: create: the machine has no name; give NAME, or name: in the document' "$("$doppel" create --kernel k 2>&1)"
check 'a machine wants something to run' 2 "$("$doppel" create empty 2>/dev/null; echo $?)"
check 'an unknown image is told before anything is made' 3 "$("$doppel" create none smoll 2>/dev/null; echo $?)"
check 'a folder is no document' 1 "$("$doppel" create none --file / 2>/dev/null; echo $?)"
check 'options of this terminal are not for a machine' 2 "$("$doppel" create none small --timeout 5 2>/dev/null; echo $?)"

# The host has no room for the disk: the machine is not there at all.
if [[ $EUID == 0 ]] && unshare -m true 2>/dev/null; then
	check 'a disk that does not fit leaves no machine behind' 'none' "$(unshare -m bash -c '
		mkdir "$1/full" && mount -t tmpfs -o size=256k none "$1/full" || exit
		DOPPEL_STATE=$1/full "$2" create big small 2>/dev/null && exit
		[[ -e $1/full/machines/big ]] && ls "$1/full/machines/big" || echo none' bash "$scratch" "$doppel")"
fi
# Ended at any moment: the machine is whole, or not there at all.
check 'a disk that is not there' "there is no disk '$PWD/absent.raw'" \
	"$("$doppel" create lacks small --disk absent.raw 2>&1 | grep -o "there is no disk '[^']*'")"
check 'a folder that is not there' 3 "$("$doppel" create lacks small --share absent >/dev/null 2>&1; echo $?)"
check 'nothing is made of either' no "$([[ -e $machines/lacks ]] && echo yes || echo no)"
mkdir "$scratch/large"
yes doppel | head -c 60000000 >"$scratch/large/disk.raw"
echo kernel >"$scratch/large/kernel"
"$doppel" image import "$scratch/large" >/dev/null
is_whole_or_gone() {
	[[ ! -e $machines/cut ]] || { [[ -e $machines/cut/kernel ]] && cmp -s "$scratch/large/disk.raw" "$machines/cut/disk.raw"; }
}
broken= whole=0
for pause in 0.01 0.02 0.03 0.04 0.06 0.08 0.1 0.12 0.15 0.2; do
	"$doppel" create cut large 2>/dev/null &
	sleep "$pause"
	kill -TERM $! 2>/dev/null
	wait $! 2>/dev/null && whole=$((whole + 1))
	within 20 is_whole_or_gone || broken+=" $pause"
	"$doppel" rm cut 2>/dev/null
done
check "one that is ended amid its making is whole ($whole of 10) or not there" '' "$broken"
check 'the schema is JSON' yes "$("$doppel" schema | python3 -m json.tool >/dev/null && echo yes)"
echo "1..$number"
exit $failed
