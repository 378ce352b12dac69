#!/bin/bash
# The manual page and the completions, given to the programs that will read them. Prints TAP.
# usage: cli-help.sh DOPPEL
set -u
doppel=$(realpath "$1")
PATH=$(dirname "$doppel"):$PATH
. "$(dirname "$0")/tap.sh"
export XDG_CACHE_HOME=$scratch

# complete WORD...: what bash offers for the last word.
complete_bash() {
	bash --norc -c '
		source <("$1" help --completion bash)
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_doppel
		echo "${COMPREPLY[*]}"' bash "$doppel" "$@" 2>&1
}

page=$("$doppel" help --man)
if command -v groff >/dev/null; then
	check 'groff has no warning about the manual page' '' "$(groff -ww -man -Tutf8 -z <<<"$page" 2>&1)"
	check 'the manual page shows a name' 1 "$(groff -man -Tascii <<<"$page" | grep -c '^ *doppel *- *run ')"
else
	skip 'the manual page' 'no groff'
fi

check 'bash: verbs' 'doctor' "$(complete_bash doppel do)"
check 'bash: verbs of a group' 'ls pull inspect import export rm' "$(complete_bash doppel image '')"
check 'bash: options' '--memory --memory-max' "$(complete_bash doppel run --mem)"
check 'bash: help is an option of each' '--help' "$(complete_bash doppel image ls --he)"
check 'bash: words of an option' 'json' "$(complete_bash doppel doctor --format j)"
check 'bash: words after an equals sign' 'table json yaml csv' "$(complete_bash doppel doctor --format =)"
check 'bash: part of a word after an equals sign' 'json' "$(complete_bash doppel doctor --format = j)"
check 'bash: words of a short option' 'debug' "$(complete_bash doppel run -l d)"
check 'bash: nothing for a size' '' "$(complete_bash doppel run --memory 5)"
check 'bash: files' "$scratch" "$(complete_bash doppel run --kernel "$scratch")"
check 'bash: a word or a file' 'stdio' "$(complete_bash doppel run --console std)"
check 'bash: verbs of help' 'engines' "$(complete_bash doppel help en)"
check 'bash: images' 'debian-tiny' "$(complete_bash doppel run debian-t)"

if command -v zsh >/dev/null; then
	"$doppel" help --completion zsh >"$scratch/_doppel"
	check 'zsh reads its completion' '' "$(zsh -n "$scratch/_doppel" 2>&1)"
else
	skip 'zsh reads its completion' 'no zsh'
fi

check 'one line for a person who mistypes' 'doppel: run: unknown option --memroy; did you mean --memory?' \
	"$("$doppel" run --memroy 1G 2>&1)"
check 'status 2 for usage' 2 "$("$doppel" run --memroy 1G >/dev/null 2>&1; echo $?)"
check 'status 3 for what is not there' 3 "$("$doppel" run no-such-image >/dev/null 2>&1; echo $?)"
check 'status 1 when output can not be written' 1 "$("$doppel" help --man 2>/dev/null >/dev/full; echo $?)"
check 'no colour in a pipe' 0 "$("$doppel" doctor | grep -c $'\033')"
echo "1..$number"
exit $failed
