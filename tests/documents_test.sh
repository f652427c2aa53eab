#!/usr/bin/env bash
# Runs the commands of a document: its ```sh blocks in one shell, in their order. A ```text block must be what they have
# printed since the last one, line for line, whatever the blanks; "..." is any text, alone on a line any lines.
# documents_test.sh DOCUMENT BIN-DIRECTORY: 77 when /dev/kvm is needed and not there.
set -euo pipefail
document=$(realpath "$1")
XENOPOLIS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binaries=$(realpath "$2")
export XENOPOLIS PATH=$binaries:$PATH GUESTS=$binaries/../guest

if grep -q 'backend kvm' "$document" && [[ ! -w /dev/kvm ]]; then
  echo "no /dev/kvm"
  [[ "${REQUIRE_KVM:-}" == 1 ]] && exit 1
  exit 77
fi

directory=$(mktemp -d)
export HOME=$directory/home XDG_RUNTIME_DIR=$directory/run
mkdir -p "$HOME"
mkdir -m 700 "$XDG_RUNTIME_DIR"
unset POLIS_RUN_DIR POLIS_HOST
finish() {
  # Hosts that a document has left, or that a failure has.
  for socket in "$XDG_RUNTIME_DIR"/xenopolis/*/polisd.sock; do
    [[ -S "$socket" ]] && polis host stop --force --run-dir "$(dirname "$socket")" >/dev/null 2>&1 || true
  done
  rm -rf "$directory"
}
trap finish EXIT

# The checkout in which a reader is. tools/run would build another one than is tested, unless that is the release preset.
if [[ "$binaries" == "$XENOPOLIS/build/release/bin" ]]; then
  cd "$XENOPOLIS"
else
  mkdir -p "$directory"/checkout/{build/release,tools}
  cd "$directory"/checkout
  ln -s "$binaries" build/release/bin
  ln -s "$binaries/../guest" build/release/guest
  printf '#!/bin/sh\nexec polis experiment "$@"\n' >tools/run
  chmod +x tools/run
fi

# One script: commands as they stand, and a check where a ```text block is.
awk '
  /^```sh$/ { kind = "sh"; next }
  /^```text$/ { kind = "text"; print "expect_text <<\"END OF TEXT\""; next }
  /^```/ { if (kind == "text") print "END OF TEXT"; kind = ""; next }
  kind != "" { print }
' "$document" >"$directory/commands.sh"

# expect_text: what was printed since the last call is the text on stdin.
seen=0
expect_text() {
  local size
  size=$(stat -c %s "$DIRECTORY/output")
  tail -c "+$((seen + 1))" "$DIRECTORY/output" | head -c "$((size - seen))" >"$DIRECTORY/printed"
  seen=$size
  awk '
    function folded(line) { gsub(/[ \t\r]+/, " ", line); sub(/^ /, "", line); sub(/ $/, "", line); return line }
    function fail(what) { print "not as the document has it: " what; failed = 1; exit }
    NR == FNR { printed[++count] = folded($0); next }
    $0 == "..." { any = 1; next }
    {
      pattern = folded($0)
      gsub(/[][(){}*+?^$|\\]/, "\\\\&", pattern)
      gsub(/\.\.\./, "\001", pattern)
      gsub(/\./, "\\.", pattern)
      gsub(/\001/, ".*", pattern)
      pattern = "^" pattern "$"
      while (++at <= count && any && printed[at] !~ pattern) {}
      if (at > count) fail("not printed: " $0)
      if (printed[at] !~ pattern) fail(printed[at] " (it has: " $0 ")")
      any = 0
    }
    END {
      if (!failed && !any && at < count) fail(printed[at + 1])
      exit failed
    }
  ' "$DIRECTORY/printed" -
}
export -f expect_text
export DIRECTORY=$directory seen

if ! timeout 240 bash -eu -c '. "$DIRECTORY/commands.sh"' >"$directory/output" 2>&1; then
  echo "$(basename "$document"): its commands fail"
  tail -n 20 "$directory/output"
  exit 1
fi
