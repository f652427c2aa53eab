#!/bin/bash
# What shells offer behind polis, by the scripts that it prints for them.
# Usage: completion_test.sh PATH-OF-polis
polis_program=$(realpath "$1")
failures=0
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# check CLAIM EXPECTED-LINES GOT-LINES
check() {
  if [[ "$2" != "$3" ]]; then
    printf 'FAILED: %s\n--- expected\n%s\n--- got\n%s\n' "$1" "$2" "$3"
    failures=$((failures + 1))
  fi
}

# A polis that knows two domains on the usual host and one on another, whatever runs here.
mkdir "$directory/bin" "$directory/files"
cat >"$directory/bin/polis" <<'END'
#!/bin/bash
case "$*" in
  "list --names") printf '%s\n' web-1 web-2 ;;
  "--host lab list --names") echo database ;;
  *) exit 1 ;;
esac
END
chmod +x "$directory/bin/polis"
touch "$directory/files/web.cfg" "$directory/files/with space.cfg"
mkdir "$directory/files/directory"
for shell in bash zsh fish; do
  "$polis_program" completion "$shell" >"$directory/polis.$shell" || exit 1
done
PATH=$directory/bin:$PATH
cd "$directory/files" || exit 1

# What bash offers at the end of a line, sorted.
in_bash() {
  bash --norc -c '
    source "$1"
    shift
    COMP_WORDS=("$@")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _polis
    printf "%s\n" "${COMPREPLY[@]}"' bash "$directory/polis.bash" "$@" | sort
}

# Every word of --help is offered, and its options behind it.
words=$("$polis_program" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' | sort)
check "bash offers every word" "$words" "$(in_bash polis "")"
for word in $words; do
  options=$("$polis_program" "$word" --help | grep -oE '^ +-[a-zA-Z,-]+' | tr -d ' ' | tr ',' '\n' |
    cat - <(printf '%s\n' --host --run-dir --json) | sort -u)
  check "bash offers the options of $word" "$options" "$(in_bash polis "$word" - | sort -u)"
done

check "words are completed" $'domid\ndomname' "$(in_bash polis dom)"
check "words have words behind them" $'start\nstatus\nstop' "$(in_bash polis host "")"
check "names of domains are offered" $'web-1\nweb-2' "$(in_bash polis destroy web-1 "")"
check "and completed" "web-2" "$(in_bash polis console web-2)"
check "they are those of the host that is meant" "database" "$(in_bash polis --host lab console "")"
check "also if the shell has split the option" "database" "$(in_bash polis --host = lab pause d)"
check "and if it stands behind the word" "database" "$(in_bash polis pause --host lab "")"
check "files are offered" $'directory\nweb.cfg\nwith space.cfg' "$(in_bash polis create "")"
check "directories are offered" "directory" "$(in_bash polis experiment --output "")"
check "values are offered" $'auto\nhosted\nkvm' "$(in_bash polis host start --backend "")"
check "shells are offered" $'bash\nfish\nzsh' "$(in_bash polis completion "")"
check "numbers are not" "" "$(in_bash polis create --count "")"
check "a value is no word" "$words" "$(in_bash polis --host host "")"

if command -v fish >/dev/null; then
  in_fish() { fish --no-config -c "source '$directory/polis.fish'; complete -C '$1'" | cut -f 1 | grep . | sort; }
  check "fish offers every word" "$words" "$(in_fish "polis ")"
  check "fish offers words behind words" $'start\nstatus\nstop' "$(in_fish "polis host ")"
  check "fish offers names of domains" $'web-1\nweb-2' "$(in_fish "polis destroy ")"
  check "fish offers those of the host that is meant" "database" "$(in_fish "polis --host lab console ")"
  check "fish offers files" $'directory/\nweb.cfg\nwith space.cfg' "$(in_fish "polis create ")"
  check "fish offers options" $'--backend' "$(in_fish "polis host start --ba")"
  check "fish offers values" $'auto\nhosted\nkvm' "$(in_fish "polis host start --backend ")"
else
  echo "not tested with fish: it is not installed"
fi

if command -v zsh >/dev/null; then
  # In a terminal of its own, since zsh completes nowhere else. Return prints the line that completion has left.
  cat >"$directory/in_terminal.zsh" <<'END'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "source ${(q)2}"
zpty -m -r shell output "*re[a]dy*"
zpty -w -n shell "$1"$'\t\n'
zpty -m -r shell output "*>>*"
print -r -- "${${output##*<<}%%>>*}"
zpty -d shell
END
  cat >"$directory/setup.zsh" <<END
PS1= RPS1=
autoload -U compinit && compinit -u -D
source $directory/polis.zsh
accept() { print -r -- "<<\$BUFFER>>"; BUFFER=; zle .accept-line }
zle -N accept
bindkey "^J" accept
bindkey "^M" accept
print ready
END
  in_zsh() { timeout 20 zsh -f "$directory/in_terminal.zsh" "$1" "$directory/setup.zsh"; }
  check "zsh completes words" "polis vcpu-list " "$(in_zsh "polis vcp")"
  check "zsh completes words behind words" "polis host status " "$(in_zsh "polis host statu")"
  check "zsh completes names of domains" "polis --host lab console database " "$(in_zsh "polis --host lab console da")"
  check "zsh completes files" "polis create web.cfg " "$(in_zsh "polis create we")"
  check "zsh completes values" "polis host start --backend hosted " "$(in_zsh "polis host start --backend ho")"
else
  echo "not tested with zsh: it is not installed"
fi

if [[ $failures -ne 0 ]]; then
  echo "completion_test: $failures claims do not hold"
  exit 1
fi
echo "completion_test: all claims hold"
