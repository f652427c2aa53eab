# For tests of polis-xenstored with other people's clients; sourced. Gives $directory, which goes away at the end, with
# XENSTORED_PATH in it, start_daemon, check and wait_for; finish says how it went.
# Usage: daemon=PATH-OF-polis-xenstored; . xenstore_daemon.sh
set -u

directory=$(mktemp -d)
export XENSTORED_PATH=$directory/socket
failures=0
pid=

cleanup() {
  [ -n "$pid" ] && kill "$pid" 2>/dev/null
  rm -rf "$directory"
}
trap cleanup EXIT

# skip_without PACKAGE PROGRAM...: the test cannot run here, which ctest shows as skipped.
skip_without() {
  local package=$1 program
  shift
  for program in "$@"; do
    if ! command -v "$program" >/dev/null; then
      echo "skipped: $program is missing, which Debian's package $package brings"
      exit 77
    fi
  done
}

start_daemon() {
  "$daemon" --socket "$XENSTORED_PATH" --standalone --log-level warn "$@" &
  pid=$!
  wait_for xenstore-exists /
}

# check CLAIM EXPECTED-STATUS EXPECTED-OUTPUT COMMAND...: standard output and error together.
check() {
  local claim=$1 status=$2 expected=$3 output
  shift 3
  output=$(timeout 60 "$@" 2>&1)
  local got=$?
  if [ "$got" != "$status" ] || [ "$output" != "$expected" ]; then
    printf 'FAILED: %s\n  %s\n  expected (status %s): %q\n  got      (status %s): %q\n' \
      "$claim" "$*" "$status" "$expected" "$got" "$output"
    failures=$((failures + 1))
  fi
}

# wait_for COMMAND...: until it succeeds, at most 10 s.
wait_for() {
  for _ in $(seq 200); do
    "$@" >/dev/null 2>&1 && return 0
    read -rt 0.05 <> <(:) || true
  done
  echo "FAILED: waited in vain for: $*"
  exit 1
}

finish() {
  [ "$failures" = 0 ] && echo "all checks passed"
  exit $((failures != 0))
}
