#!/bin/bash
# A sweep's report in a real browser: it is rendered, in light and in dark and on paper, and the browser has nothing to complain of.
# Usage: report_browser_test.sh PATH-OF-polis
polis=$1
if ! command -v chromium >/dev/null; then
  echo "SKIP: chromium is missing (Debian package chromium)"
  exit 77
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
failures=0
fail() {
  echo "FAIL: $1"
  failures=$((failures + 1))
}

"$polis" experiment --backend hosted --sweep 10,30 --event-abi fifo,2l --seconds 0.5 --beat-ms 200 --floor-vms 0 --peers 2 \
  --output "$directory" --quiet || fail "the sweep"
"$polis" report "$directory" --picture "$directory/picture.svg" >/dev/null || fail "the report"

# --no-sandbox: the page is our own, and containers often have no user namespaces for chromium.
browse() {
  timeout 60 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
    --no-first-run --user-data-dir="$directory/profile" --enable-logging=stderr --log-level=0 "$@" 2>>"$directory/browser.log"
}

for file in report.html picture.svg; do
  browse --dump-dom "file://$directory/$file" >"$directory/dom" || fail "$file is not opened"
  grep -q '</svg>' "$directory/dom" || fail "$file has no picture"
  ! grep -qi 'page contains the following errors' "$directory/dom" || fail "$file is not well-formed"
done

# An empty page of this size is a tenth of that.
screenshot() {
  local name=$1
  shift
  browse "$@" --window-size=1000,3000 --screenshot="$directory/$name.png" "file://$directory/report.html" || fail "$name: no screenshot"
  [[ $(stat -c %s "$directory/$name.png" 2>/dev/null || echo 0) -gt 100000 ]] || fail "$name: the screenshot shows next to nothing"
}
screenshot light --blink-settings=preferredColorScheme=1
screenshot dark --blink-settings=preferredColorScheme=0
! cmp -s "$directory/light.png" "$directory/dark.png" || fail "dark looks like light"

browse --no-pdf-header-footer --print-to-pdf="$directory/paper.pdf" "file://$directory/report.html" || fail "it cannot be printed"
head -c 5 "$directory/paper.pdf" 2>/dev/null | grep -q '%PDF-' || fail "what was printed is no PDF"

if grep ':CONSOLE' "$directory/browser.log"; then fail "the browser's console is not empty"; fi
[[ $failures -eq 0 ]] || tail -n 5 "$directory/browser.log"
exit $((failures != 0))
