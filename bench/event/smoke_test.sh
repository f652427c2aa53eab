#!/usr/bin/env bash
# smoke_test.sh PROGRAM, see common/smoke.sh.
. "$(dirname "${BASH_SOURCE[0]}")/../common/smoke.sh"

if [[ $(nproc) -lt 2 ]]; then
  echo "skipped: sender and consumer need a CPU each"
  exit 77
fi
run_program --quick --rounds 1 --seconds 0.002 --channels 10,2000
expect_keys environment kernel cpus cpu_model date ratios machine_limit_passes_per_s \
  send_waking_p50_ns send_p50_ns send_pending_p50_ns \
  wakeup_for_nothing_p50_ns wakeup_{1,10,1000}_pending{,_scattered}{,_without_eventfd}_p50_ns \
  wakeup_1000_pending_remote_p50_ns \
  throughput_events_per_s throughput_spinning_events_per_s limit_over_throughput_ratio \
  {one_way,one_way_storm,round_trip,round_trip_spinning,round_trip_storm}_{p50,p99,p99_9}_ns \
  saturated_{first,last}_ports_{p50,p99}_ns saturated_last_over_first_{p50,p99}_ratio \
  inversion_{same,urgent}_priority_{p50,p99,p99_9}_ns \
  dom0_shared_bytes_per_channel hypervisor_bytes_per_channel hypervisor_fixed_bytes_per_domain \
  kernel_slab_bytes_per_channel fifo_wakeup_{1,10}_pending_at_2000_over_10_channels
expect_in_table "2l " "3l " "fifo " "eventfd " "eventfd-et " "pipe "
expect_plots send wakeup-1 wakeup-10 latency throughput memory
finish
