#!/usr/bin/env bash
# bench/console runs through, and writes each figure and each plot: smoke_test.sh PROGRAM. It looks at no time. Without
# gnuplot all but the plots is tried.
set -euo pipefail
program=$1

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

plots=()
if command -v gnuplot >/dev/null; then
  plots=(--plots "$directory/plots")
fi
"$program" --quick --seconds 0.005 --rest 0.2 --consoles 10,100 --domains 30 --json "$directory/figures.json" "${plots[@]}" >"$directory/table"

missing=0
expect() {
  if ! grep -q "\"$1\":" "$directory/figures.json"; then
    echo "not in the JSON file: $1"
    missing=1
  fi
}
times=(wakeup wakeup_anywhere latency storm_latency)
for key in environment daemons figures left_out setup_s {one,all}_{bytes_per_s,lost_bytes,kib_daemon_cpu_ns} \
  {quiet,spoken}_own_bytes_per_console descriptors_per_console {wakeup,wakeup_anywhere}_daemon_cpu_ns \
  "${times[@]/%/_p50_ns}" "${times[@]/%/_p99_ns}" "${times[@]/%/_samples}"; do
  expect "$key"
done
for daemon in ours model hosted; do
  grep -q "^$daemon: " "$directory/table" || { echo "not in the table: $daemon" && missing=1; }
done
for plot in wakeup cpu throughput latency storm memory hosted-latency; do
  if [[ ${#plots[@]} -ne 0 && ! -s $directory/plots/console-$plot.svg ]]; then
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
