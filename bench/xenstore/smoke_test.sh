#!/usr/bin/env bash
# bench/xenstore runs through, and writes each figure and each plot: smoke_test.sh PROGRAM. It looks at no time. Of the C
# daemon only where it is installed (Debian: xen-utils-4.17); without gnuplot all but the plots is tried.
set -euo pipefail
program=$1

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

plots=()
if command -v gnuplot >/dev/null; then
  plots=(--plots "$directory/plots")
fi
"$program" --quick --seconds 0.005 --json "$directory/figures.json" "${plots[@]}" >"$directory/table"

missing=0
expect() {
  if ! grep -q "\"$1\":" "$directory/figures.json"; then
    echo "not in the JSON file: $1"
    missing=1
  fi
}
times=(read write directory get_perms mkdir_rm watch_unwatch raw_read {read,write}_apart list empty alone counter_commit siblings_commit
  write_fires_one create remove guest_read guest_watch)
for key in environment daemons figures left_out {read,write}_requests_per_s {counter,siblings}_commits_per_s \
  {counter,siblings}_attempts_per_commit {active_resident,active_machine,active_page_table,resident,machine,own,anonymous,page_table}_bytes setup_s create_requests \
  read_daemon_cpu_ns create_daemon_cpu_ns "${times[@]/%/_p50_ns}" "${times[@]/%/_samples}"; do
  expect "$key"
done
grep -q '^ours: ' "$directory/table" || { echo "not in the table: ours" && missing=1; }
if [[ -x /usr/lib/xen-4.17/bin/xenstored ]] && ! grep -q '^c: ' "$directory/table"; then
  echo "not in the table: c"
  missing=1
fi
for plot in single cpu pipelined conflict watches connections create rings memory; do
  if [[ ${#plots[@]} -ne 0 && ! -s $directory/plots/xenstore-$plot.svg ]]; then
    echo "not drawn: $plot"
    missing=1
  fi
done
# What was written can be shown again.
"$program" --from "$directory/figures.json" | cmp - "$directory/table"
if [[ $missing -eq 0 && ${#plots[@]} -eq 0 ]]; then
  echo "skipped: the plots need gnuplot (Debian: gnuplot-nox); all else went well"
  exit 77
fi
exit $missing
