#!/bin/bash
# ls, ps and the completion of machines' names, over records of machines that were written here. Prints TAP.
# usage: cli-list.sh DOPPEL
set -u
doppel=$(realpath "$1")
PATH=$(dirname "$doppel"):$PATH
. "$(dirname "$0")/tap.sh"
export XDG_CACHE_HOME=$scratch DOPPEL_BOOT_ID=this-boot

# machine NAME STATE MONITOR EXIT_CODE MESSAGE [STALLED]
machine() {
	local folder=$DOPPEL_STATE/machines/$1
	mkdir -p "$folder"
	chmod 700 "$DOPPEL_STATE" "$DOPPEL_STATE/machines" "$folder"
	: >"$folder/machine.yaml"
	: >"$folder/lock"
	cat >"$folder/state.json" <<-END
		{"version": 1, "state": "$2", "stalled": ${6-false}, "foreground": false, "monitor": $3, "boot": "this-boot",
		 "created": 1700000000, "changed": $(($(date +%s) - 3700)), "exit_code": $4, "message": "$5",
		 "image": "debian", "memory": 536870912, "cpus": 2}
	END
}

# field MACHINE EXPRESSION: python, of what ls tells of the machine `m`.
field() {
	doppel ls --format json "$1" | python3 -c "import json, sys; m = json.load(sys.stdin)[0]; print($2)"
}

check 'no machines: a heading alone' 'NAME  STATE  CPUS  MEMORY  IMAGE  SINCE  NOTE' "$(doppel ls)"
check 'no machines: nothing quietly' '' "$(doppel ls -q)"
check 'no machines: an empty array' '[]' "$(doppel ps --format json)"

machine db stopped 0 3 ''
machine web running $$ 0 ''
machine webcam paused $$ 0 ''
machine disk running $$ 0 '' true
machine gone running 1 0 ''
machine made created 0 0 ''
machine bad failed 0 0 'it broke'

# Their locks are held, as by their monitors, until the end of the input.
exec {held}> >(exec python3 -c '
import fcntl, os, struct, sys
files = [open(os.environ["DOPPEL_STATE"] + "/machines/" + name + "/lock", "r+") for name in sys.argv[1:]]
for file in files:
    fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
open(os.environ["DOPPEL_STATE"] + "/held", "w").close()
sys.stdin.read()' web webcam disk)
for ((i = 0; i < 300; i++)); do
	[[ -e $DOPPEL_STATE/held ]] && break
	sleep 0.1
done

check 'ls has all, by name' 'bad db disk gone made web webcam' "$(doppel ls -q | paste -sd' ')"
check 'ps has what runs' 'disk web webcam' "$(doppel ps -q | paste -sd' ')"
check 'ps --all is ls' "$(doppel ls)" "$(doppel ps --all)"
check 'by state' 'bad gone' "$(doppel ls -q --state failed | paste -sd' ')"
check 'by two states' 'db made' "$(doppel ls -q -s stopped --state created | paste -sd' ')"
check 'operands are prefixes' 'db disk' "$(doppel ls -q db di | paste -sd' ')"
check 'a name that is the beginning of another' 'web' "$(doppel ls -q web)"
check 'ps tells of any machine by name' 'db' "$(doppel ps -q db)"
check 'status 2 for an ambiguous prefix' 2 "$(doppel ls we >/dev/null 2>&1; echo $?)"
check 'status 3 for no such machine' 3 "$(doppel ls nothing >/dev/null 2>&1; echo $?)"
check 'a line' 'web     running     2  512.0M  debian   1h1m  -' "$(doppel ls | grep '^web ')"
check 'a stopped one tells its status' 'ended with status 3' "$(field db 'm["note"]')"
check 'a stalled one tells why' "waits for room on the host's disk" "$(field disk 'm["note"]')"
check 'a failed one tells why' 'it broke' "$(field bad 'm["note"]')"
check 'a killed monitor shows' 'failed' "$(field gone 'm["state"]')"
check 'numbers for programs' '2 536870912 True False None 2023-11-14T22:13:20Z' \
	"$(field web 'm["cpus"], m["memory"], m["pid"] > 1, m["stalled"], m["exit_code"], m["created"]')"
check 'CSV' $'db\r' "$(doppel ls --format csv -q db)"

# complete WORD...: what bash offers for the last word.
complete_bash() {
	bash --norc -c '
		source <("$1" help --completion bash)
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_doppel
		echo "${COMPREPLY[*]}"' bash "$doppel" "$@" 2>&1
}
check 'bash: machines' 'web webcam' "$(complete_bash doppel ls we)"
check 'bash: machines that run' 'disk' "$(complete_bash doppel ps d)"
check 'bash: what can be resumed' 'webcam' "$(complete_bash doppel resume '')"
check 'bash: what can be started' 'bad' "$(complete_bash doppel start b)"
check 'bash: states' 'stopped' "$(complete_bash doppel ls --state st)"

printf '{' >"$DOPPEL_STATE/machines/db/state.json"
check 'a damaged record is a failed machine' 'failed' "$(field db 'm["state"]')"
exec {held}>&-
echo "1..$number"
exit $failed
