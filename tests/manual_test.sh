#!/bin/bash
# The manual says everything that the programs take.
# Usage: manual_test.sh DIRECTORY-OF-PROGRAMS DIRECTORY-OF-PAGES
programs=$1
pages=$2
failures=0
complain() {
  echo "FAILED: $1"
  failures=$((failures + 1))
}

# A page as people read it, each line without what makes it bold.
read_page() {
  if command -v man >/dev/null; then
    MANWIDTH=400 man -l "$pages/man${1##*.}/$1" 2>/dev/null | sed 's/.\x08//g; s/\x1b\[[0-9;]*m//g; s/\xe2\x80\x90/-/g'
  else
    sed -e 's/\\fB//g; s/\\fI//g; s/\\fR//g; s/\\-/-/g; s/\\&//g; s/^\.SS //; s/^\.RE$//' "$pages/man${1##*.}/$1"
  fi
}

# The options of `PROGRAM WORD... --help`, one a line.
options_of() {
  "$@" --help | sed -n 's/^  \(-[^ {]*\).*/\1/p' | tr ',' '\n'
}

# check_options PLACE TEXT COMMAND...
check_options() {
  local place=$1 text=$2 option
  shift 2
  for option in $(options_of "$@"); do
    grep -qE -- "(^|[ ,])$option([ ,]|\$)" <<<"$text" || complain "$place does not mention $option"
  done
}

manual=$(read_page polis.1)
common=$(sed -n '/^OPTIONS/,/^HOSTS/p' <<<"$manual")
check_options "polis(1)" "$common" "$programs/polis"
# Words, and words behind words: those without options of their own.
for word in $("$programs/polis" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'); do
  behind=$("$programs/polis" "$word" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
  for name in ${behind:-""}; do
    full=$word${name:+ $name}
    section=$(awk -v name="$full" '
      /^   [^ ]/ { line = substr($0, 4); inside = line == name || index(line, name " ") == 1 }
      /^[^ ]/ { inside = 0 }
      inside' <<<"$manual")
    if [[ -z "$section" ]]; then
      complain "polis(1) does not know polis $full"
      continue
    fi
    # shellcheck disable=SC2086 # host start is two words
    check_options "polis(1), $full," "$section"$'\n'"$common" "$programs/polis" $full
  done
done
for program in polisd polis-xenstored polis-consoled; do
  check_options "$program(8)" "$(read_page $program.8)" "$programs/$program"
done

# What polis.cfg(5) calls a key is one, and what it accepts is accepted.
keys=$(read_page polis.cfg.5 | sed -n '/^KEYS/,/^OTHER KEYS/p' | grep -oE '^       [a-z_]+=.*' | grep -oE '[a-z_]+=' | sort -u)
[[ $(wc -l <<<"$keys") -ge 18 ]] || complain "the keys of polis.cfg(5) were not found"
for key in $keys; do
  answer=$("$programs/polis" create -n name=a kernel=/k "${key}[]" 2>&1)
  grep -q "^command line: ${key%=}: is a list\|: ${key%=}: is a list" <<<"$answer" ||
    complain "polis.cfg(5) describes ${key%=}, of which polis create says: $answer"
done
accepted=$(read_page polis.cfg.5 | sed -n '/^OTHER KEYS/,/^EXAMPLES/p' | grep -oE '[a-z_0-9]+=("[^"]*"|[0-9]+)')
[[ $(wc -l <<<"$accepted") -ge 10 ]] || complain "the examples of polis.cfg(5) were not found"
while IFS= read -r setting; do
  answer=$("$programs/polis" create -n name=a kernel=/k "$setting" 2>&1) ||
    complain "polis.cfg(5) says that $setting is accepted, and polis create: $answer"
done <<<"$accepted"

if [[ $failures -ne 0 ]]; then
  echo "manual_test: $failures claims do not hold"
  exit 1
fi
echo "manual_test: all claims hold"
