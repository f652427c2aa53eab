#!/bin/bash
# Xen's own xenstore-control and test-xenstore (Debian's xen-utils) against polis-xenstored.
# Usage: xenstore_control_test.sh PATH-OF-polis-xenstored
daemon=$1
. "$(dirname "$0")/xenstore_daemon.sh"
# The newest version that is installed. The programs of that name in /usr/bin want a running Xen.
tools=$(ls -d /usr/lib/xen-[0-9]*/bin 2>/dev/null | sort -V | tail -n 1)
control=$tools/xenstore-control
skip_without xenstore-utils xenstore-write xenstore-exists xenstore-read
skip_without xen-utils-4.17 "$control" "$tools/test-xenstore"

start_daemon

check "the store is in order" 0 "OK" "$control" check
check "commands are explained" 0 \
  "check           
log             [on|off|+<switch>|-<switch>]
live-update     [-c <cmdline>] [-F] [-t <timeout>] <file>
logfile         <file>
memreport       [<file>]
print           <string>
quota           [set <name> <val>|<domid>|max [-r]]
quota-soft      [set <name> <val>]
domain-shutdown <domid>
help            " "$control" help
for wrong in nonsense "quota set nodes none" "log maybe" "quota-soft set nodes 1"; do
  check "$wrong is refused" 3 "Command not supported. Valid commands are:" \
    bash -c "'$control' $wrong 2>&1 | head -n 1; exit \${PIPESTATUS[0]}"
done

check "the log has switches" 0 "Log switch settings:
obj     : on
io      : on
wrl     : off
acc     : off
tdb     : off" "$control" log
check "which can be set" 0 "OK" "$control" log +tdb
check "the log goes to a file" 0 "OK" "$control" logfile "$directory/log"
check "a request is made" 0 "" xenstore-write /logged/node value
check "the log is turned off" 0 "OK" "$control" log off
check "another request is made" 0 "" xenstore-write /not/logged value
check "the log has what was asked meanwhile" 0 "tdb: store /logged/node" grep '^tdb: ' "$directory/log"
check "and the messages" 0 "1" grep -c ' IN d0 .* WRITE (/logged/node value)$' "$directory/log"

check "memory is reported" 0 "OK" "$control" memreport "$directory/report"
check "in numbers" 0 "watches: 0" grep watches: "$directory/report"
check "a line is printed to the daemon's own log" 0 "OK" "$control" print hello

check "quotas are shown" 0 "Quota settings:
nodes            :     1000 Nodes per domain
watches          :      128 Watches per domain
outstanding      :       20 Outstanding requests per domain
memory           :  2621440 Total Xenstore memory per domain
transactions     :       10 Active transactions per domain
transaction-nodes:     1024 Max. number of accessed nodes per transaction
node-permissions :        5 Max. number of permissions per node
path-max         :     2048 Max. length of a node path
node-size        :     2048 Max. size of a node" "$control" quota
check "a quota is set" 0 "OK" "$control" quota set nodes 2000
check "and shown" 0 "nodes            :     2000 Nodes per domain" bash -c "'$control' quota | sed -n 2p"
check "there is a soft quota" 0 "OK" "$control" quota-soft set memory 1000000
check "which is shown" 0 "Quota settings:
memory           :  1000000 Total Xenstore memory per domain" "$control" quota-soft
check "no domain has used anything" 0 "nodes            :        0" bash -c "'$control' quota max -r | sed -n 2p"
check "a domain that does not exist has no quota" 3 "Error 2 when trying to execute command." "$control" quota 5

# Xen's own test program: reads, writes, directories, removals and transactions, of which one has a conflict.
check "Xen's test of a xenstore passes" 0 "12" bash -c \
  "set -o pipefail; '$tools/test-xenstore' -i 50 >'$directory/xs-test' 2>&1 && grep -c ' avg: ' '$directory/xs-test'"
check "also with random operations" 0 "" bash -c "'$tools/test-xenstore' -r 1 >/dev/null"
check "after which the store is still in order" 0 "OK" "$control" check

finish
