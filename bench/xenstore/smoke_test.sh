#!/usr/bin/env bash
# smoke_test.sh PROGRAM, see common/smoke.sh. Of the C daemon only where it is installed (Debian: xen-utils-4.17).
. "$(dirname "${BASH_SOURCE[0]}")/../common/smoke.sh"

run_program --quick --seconds 0.005
times=(read write directory get_perms mkdir_rm watch_unwatch raw_read {read,write}_apart list empty alone counter_commit siblings_commit
  write_fires_one create remove guest_read guest_watch)
expect_keys environment daemons figures left_out {read,write}_requests_per_s {counter,siblings}_commits_per_s \
  {counter,siblings}_attempts_per_commit {active_resident,active_machine,active_page_table,resident,machine,own,anonymous,page_table}_bytes setup_s create_requests \
  read_daemon_cpu_ns create_daemon_cpu_ns "${times[@]/%/_p50_ns}" "${times[@]/%/_samples}"
expect_in_table "ours: "
if [[ -x /usr/lib/xen-4.17/bin/xenstored ]]; then
  expect_in_table "c: "
fi
expect_plots xenstore-{single,cpu,pipelined,conflict,watches,connections,create,rings,memory}
finish
