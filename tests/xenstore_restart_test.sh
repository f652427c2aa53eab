#!/bin/bash
# What other people's clients see of a polis-xenstored that is killed, and of one that becomes another program.
# Usage: xenstore_restart_test.sh PATH-OF-polis-xenstored
daemon=$1
. "$(dirname "$0")/xenstore_daemon.sh"
skip_without xenstore-utils xenstore-write xenstore-read xenstore-ls xenstore-chmod xenstore-watch

start_daemon --journal "$directory/journal"
xenstore-write /a/b one /a/c two
xenstore-chmod /a/c n0 r7
before=$(xenstore-ls -fp)
kill -9 "$pid"
wait "$pid" 2>/dev/null
check "nobody serves while the daemon is dead" 1 "" bash -c "xenstore-read /a/b >/dev/null 2>&1"
start_daemon "--journal=$directory/journal"
check "the next daemon has it all" 0 "$before" xenstore-ls -fp
"$daemon" --socket "$directory/second" --standalone --journal "$directory/journal" --log-level off
check "a journal has one daemon" 0 "1" echo $?

tools=$(ls -d /usr/lib/xen-[0-9]*/bin 2>/dev/null | sort -V | tail -n 1)
control=$tools/xenstore-control
if ! [ -x "$control" ]; then
  echo "skipped: xenstore-control is missing, which Debian's package xen-utils-4.17 brings; all else went well"
  [ "$failures" = 0 ] || finish
  exit 77
fi
# A client with a watch, whose socket stays.
mkfifo "$directory/events"
timeout 60 xenstore-watch -n 3 /a >"$directory/events" &
watcher=$!
exec 3<"$directory/events"
read -r -t 30 first <&3
check "the watch is set" 0 "/a" echo "$first"
mkfifo "$directory/relative"
timeout 60 xenstore-watch -n 2 mine >"$directory/relative" &
exec 4<"$directory/relative"
read -r -t 30 first <&4
check "and another with a relative path" 0 "mine" echo "$first"
cp "$daemon" "$directory/polis-xenstored.new"
check "what cannot be run is refused" 0 "1" bash -c "'$control' live-update /etc/passwd 2>&1 | grep -c 'no program'"
check "the daemon becomes another program" 0 "" "$control" live-update "$directory/polis-xenstored.new"
wait_for xenstore-exists /a
check "which it is" 0 "$directory/polis-xenstored.new" readlink "/proc/$pid/exe"
check "with the same store" 0 "$before" xenstore-ls -fp
xenstore-write /a/b three
read -r -t 30 second <&3
check "and the watch" 0 "/a/b" echo "$second"
xenstore-write /local/domain/0/mine x
read -r -t 30 second <&4
check "and the relative one, which is told as it was said" 0 "mine" echo "$second"
check "it does so again" 0 "" "$control" live-update -c "--socket $XENSTORED_PATH --standalone" "$daemon"
wait_for xenstore-exists /a
xenstore-write /a/c four
read -r -t 30 third <&3
check "with other arguments, too" 0 "/a/c" echo "$third"
wait "$watcher"
check "what it has been told meanwhile survives the next death" 0 "three" xenstore-read /a/b
finish
