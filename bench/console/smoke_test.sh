#!/usr/bin/env bash
# smoke_test.sh PROGRAM, see common/smoke.sh.
. "$(dirname "${BASH_SOURCE[0]}")/../common/smoke.sh"

run_program --quick --seconds 0.005 --rest 0.2 --consoles 10,100 --domains 30
times=(wakeup wakeup_anywhere latency storm_latency)
expect_keys environment daemons figures left_out setup_s {one,all}_{bytes_per_s,lost_bytes,unmarked_lost_bytes,kib_daemon_cpu_ns} \
  {quiet,spoken}_own_bytes_per_console descriptors_per_console {wakeup,wakeup_anywhere}_daemon_cpu_ns \
  "${times[@]/%/_p50_ns}" "${times[@]/%/_p99_ns}" "${times[@]/%/_samples}"
expect_in_table "ours: " "model: " "hosted: "
expect_plots console-{wakeup,cpu,throughput,latency,storm,memory,hosted-latency}
finish
