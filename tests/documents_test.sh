#!/usr/bin/env bash
# Runs the commands of a document: each ```sh block in one shell, in their order, in an empty directory. Every line of a
# ```text block that follows must be somewhere in the output of the blocks before it (words of it, whatever the blanks between
# them; a line "..." stands for any).
# documents_test.sh DOCUMENT BIN-DIRECTORY: 77 when /dev/kvm is needed and not there.
set -euo pipefail
document=$(realpath "$1")
XENOPOLIS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export XENOPOLIS PATH=$2:$PATH GUESTS=$2/../guest

if grep -q 'backend kvm' "$document" && [[ ! -w /dev/kvm ]]; then
  echo "no /dev/kvm"
  [[ "${REQUIRE_KVM:-}" == 1 ]] && exit 1
  exit 77
fi

directory=$(mktemp -d)
export XDG_RUNTIME_DIR=$directory/run
mkdir -p -m 700 "$XDG_RUNTIME_DIR"
unset POLIS_RUN_DIR POLIS_HOST
cd "$directory"
finish() {
  # Hosts that a document has left, or that a failure has.
  for socket in "$XDG_RUNTIME_DIR"/xenopolis/*/polisd.sock; do
    [[ -S "$socket" ]] && polis host stop --force --run-dir "$(dirname "$socket")" >/dev/null 2>&1 || true
  done
  rm -rf "$directory"
}
trap finish EXIT

# One script: commands as they stand, and checks where a ```text block is.
awk '
  /^```sh$/ { kind = "sh"; next }
  /^```text$/ { kind = "text"; next }
  /^```/ { kind = ""; next }
  kind == "sh" { print }
  kind == "text" && $0 != "..." {
    line = $0
    gsub(/\047/, "\047\\\047\047", line)
    print "expect_line \047" line "\047"
  }
' "$document" >commands.sh

expect_line() {
  # Blanks are as good as any number of blanks.
  if ! tr -s ' \t' ' ' <output | grep -qF -- "$(tr -s ' ' <<<"$1" | sed 's/^ //; s/ $//')"; then
    echo "not printed: $1" >&2
    exit 1
  fi
}
export -f expect_line

if ! timeout 240 bash -eu -c '. ./commands.sh' >output 2>errors; then
  echo "$(basename "$document"): its commands fail"
  tail -n 20 output errors
  exit 1
fi
