#!/usr/bin/env bash
# `cmake --install` puts everything where it belongs, and it works there, also moved elsewhere, for a user without
# privileges.
# installed_test.sh BUILD-DIRECTORY as-it-is|unprivileged: 77 when there is no other user to become, or one without a KVM.
set -euo pipefail
build=$1
who=$2
as_user=()
backend=auto
if [[ $who == unprivileged ]]; then
  if [[ $EUID -ne 0 ]]; then
    echo "only root can become another user, and who is not root runs all other tests without privileges"
    exit 77
  fi
  group=nogroup
  if [[ -c /dev/kvm ]]; then group=$(stat -c %G /dev/kvm); else backend=hosted; fi
  as_user=(runuser -u nobody -g "$group" --)
fi

directory=$(mktemp -d)
chmod 755 "$directory"
mkdir -m 700 "$directory/run"
finish() {
  # Hosts that a failure has left.
  for socket in "$directory"/run/xenopolis/*/polisd.sock; do
    [[ -S "$socket" ]] && polis host stop --force --run-dir "$(dirname "$socket")" >/dev/null 2>&1 || true
  done
  rm -rf "$directory"
}
trap finish EXIT
failures=0
complain() {
  echo "FAILED: $1"
  failures=$((failures + 1))
}
# expect CLAIM COMMAND...: it succeeds.
expect() {
  local claim=$1 output
  shift
  output=$("$@" 2>&1) || complain "$claim: $*: $output"
}
# expect_equal CLAIM EXPECTED GOT
expect_equal() { [[ "$2" == "$3" ]] || complain "$1: expected \"$2\", got \"$3\""; }

# As a package is made, then where it will be.
DESTDIR=$directory/package cmake --install "$build" --prefix /usr >/dev/null
prefix=$directory/somewhere/usr
mkdir "$directory/somewhere"
mv "$directory/package/usr" "$prefix"
expect_equal "nothing goes elsewhere" "" "$(find "$directory/package" -type f)"
expect_equal "the directories are those of the FHS" "bin lib sbin share" "$(cd "$prefix" && echo *)"
for file in share/man/man1/polis.1 share/man/man5/polis.cfg.5 share/man/man8/polisd.8 share/doc/xenopolis/LICENSE \
  share/bash-completion/completions/polis share/zsh/site-functions/_polis share/fish/vendor_completions.d/polis.fish \
  lib/systemd/system/polis-host@.service lib/systemd/user/polis-host@.service lib/xenopolis/guest/citizen; do
  [[ -s "$prefix/$file" ]] || complain "$file is there"
done
grep -q "^ExecStart=/usr/bin/polis host start" "$prefix/lib/systemd/system/polis-host@.service" ||
  complain "the unit names the installed polis"
expect_equal "its completion is that of the polis beside it" "$("$prefix/bin/polis" completion bash)" \
  "$(cat "$prefix/share/bash-completion/completions/polis")"
for link in "$prefix"/bin/* "$prefix"/sbin/*; do
  expect "$link runs" "$link" --help
done

[[ $who == unprivileged ]] && chown nobody "$directory/run"
polis() {
  timeout 120 "${as_user[@]}" env -i PATH="$prefix/bin:/usr/bin:/bin" XDG_RUNTIME_DIR="$directory/run" polis "$@"
}
cd /
expect "a host starts" polis host start --backend $backend
expect "domains are created" polis create name=web kernel="$prefix/lib/xenopolis/guest/citizen" memory=4 --count 20
expect_equal "and listed" 20 "$(polis list --names | wc -l)"
expect "everything agrees" polis doctor
expect "domains start again" polis reboot -w web-1
expect "consoles are there" polis console --replay web-1
for program in $(polis host status --json | sed -n 's/^ *"polis[a-z-]*": \([0-9]*\).*/\1/p'); do
  expect_equal "process $program is an installed one" "$prefix/lib/xenopolis/bin" \
    "$(dirname "$(readlink "/proc/$program/exe")")"
  [[ $who == unprivileged ]] &&
    expect_equal "process $program has no privileges" "$(id -u nobody)" "$(stat -c %u "/proc/$program")"
done
if command -v xenstore-read >/dev/null; then
  expect_equal "Xen's programs find the host" web-1 "$("${as_user[@]}" env XDG_RUNTIME_DIR="$directory/run" PATH="$prefix/bin:$PATH" \
    sh -c 'eval "$(polis env)"; xenstore-read "/local/domain/$(polis domid web-1)/name"')"
fi
expect "the host ends" polis host stop --force
expect "an experiment finds its citizens" "${as_user[@]}" env -i PATH="$prefix/bin:/usr/bin:/bin" TMPDIR="$directory/run" \
  polis experiment --quiet --domains 3 --seconds 0 --floor-vms 0 --backend $backend --output "$directory/run/results"

if [[ $failures -ne 0 ]]; then
  echo "installed_test: $failures claims do not hold"
  exit 1
fi
echo "installed_test: all claims hold"
