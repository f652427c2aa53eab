#!/usr/bin/env bash
# bench/event runs through, and writes each figure and each plot: smoke_test.sh PROGRAM. It looks at no time. Without
# gnuplot all but the plots is tried, and the test counts as skipped.
set -euo pipefail
program=$1

if [[ $(nproc) -lt 2 ]]; then
  echo "skipped: sender and consumer need a CPU each"
  exit 77
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

plots=()
if command -v gnuplot >/dev/null; then
  plots=(--plots "$directory/plots")
fi
"$program" --quick --rounds 1 --seconds 0.002 --channels 10,2000 --json "$directory/figures.json" "${plots[@]}" \
  >"$directory/table"

missing=0
expect() {
  if ! grep -q "\"$1\":" "$directory/figures.json"; then
    echo "not in the JSON file: $1"
    missing=1
  fi
}
for key in environment kernel cpus cpu_model date ratios machine_limit_passes_per_s \
  send_waking_p50_ns send_p50_ns send_pending_p50_ns \
  wakeup_for_nothing_p50_ns wakeup_{1,10,1000}_pending{,_scattered}{,_without_eventfd}_p50_ns \
  wakeup_1000_pending_remote_p50_ns \
  throughput_events_per_s throughput_spinning_events_per_s limit_over_throughput_ratio \
  {one_way,one_way_storm,round_trip,round_trip_spinning,round_trip_storm}_{p50,p99,p99_9}_ns \
  saturated_{first,last}_ports_{p50,p99}_ns saturated_last_over_first_{p50,p99}_ratio \
  inversion_{same,urgent}_priority_{p50,p99,p99_9}_ns \
  dom0_shared_bytes_per_channel hypervisor_bytes_per_channel hypervisor_fixed_bytes_per_domain \
  kernel_slab_bytes_per_channel fifo_wakeup_{1,10}_pending_at_2000_over_10_channels; do
  expect "$key"
done
for subject in 2l 3l fifo eventfd eventfd-et pipe; do
  grep -q "^$subject " "$directory/table" || { echo "not in the table: $subject" && missing=1; }
done
for plot in send wakeup-1 wakeup-10 latency throughput memory; do
  if [[ ${#plots[@]} -ne 0 && ! -s $directory/plots/$plot.svg ]]; then
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
