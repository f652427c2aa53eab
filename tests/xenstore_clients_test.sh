#!/bin/bash
# Debian's own xenstore clients (xenstore-utils) against polis-xenstored: every command and what it must print.
# Usage: xenstore_clients_test.sh PATH-OF-polis-xenstored
daemon=$1
. "$(dirname "$0")/xenstore_daemon.sh"
skip_without xenstore-utils xenstore-{write,read,ls,list,rm,exists,chmod,watch}

start_daemon

check "a new store has the node that announces the daemon" 0 "tool" xenstore-list /
check "a value is written" 0 "" xenstore-write /a/b hello
check "a value is read" 0 "hello" xenstore-read /a/b
check "several are written in one transaction" 0 "" xenstore-write /a/c 1 /a/d/e 2 /a/f ""
check "several are read" 0 $'1\n2' xenstore-read /a/c /a/d/e
check "a value is read with its path" 0 "/a/b: hello" xenstore-read -p /a/b
check "a missing node is an error" 1 "xenstore-read: couldn't read path /nothing" xenstore-read /nothing
check "an invalid path is an error" 1 "xenstore-write: could not write path /a//b" xenstore-write /a//b x
check "children are listed" 0 $'b\nc\nd\nf' xenstore-list /a
check "children are listed with their paths" 0 $'/a/b\n/a/c\n/a/d\n/a/f' xenstore-list -p /a
check "the tree is shown" 0 $'b = "hello"\nc = "1"\nd = ""\n e = "2"\nf = ""' xenstore-ls /a
check "the tree is shown with full paths" 0 \
  $'/a/b = "hello"\n/a/c = "1"\n/a/d = ""\n/a/d/e = "2"\n/a/f = ""' xenstore-ls -f /a
check "an existing node exists" 0 "" xenstore-exists /a/d
check "a missing node does not" 1 "" xenstore-exists /a/x
check "rights are changed" 0 "" xenstore-chmod /a/b n0 r5 b7
check "rights are shown" 0 \
  $'/a/b = "hello"   (n0,r5,b7)\n/a/c = "1"   (n0)\n/a/d = ""   (n0)\n/a/d/e = "2"   (n0)\n/a/f = ""   (n0)' \
  xenstore-ls -f -p /a
check "rights are changed with everything below" 0 "" xenstore-chmod -r /a/d n3
check "and shown" 0 $'/a/d/e = "2"   (n3)' xenstore-ls -f -p /a/d
check "a node goes with its children" 0 "" xenstore-rm /a/d
check "and is gone" 1 "xenstore-read: couldn't read path /a/d/e" xenstore-read /a/d/e
check "removing what is not there is fine where its parent is" 0 "" xenstore-rm /a/d
check "and an error elsewhere" 1 "xenstore-rm: could not remove path /x/y" xenstore-rm /x/y
check "a node goes with the parents that it leaves empty" 0 "" xenstore-write /t/u/v 1
check "when asked so" 0 "" xenstore-rm -t /t/u/v
check "up to the root" 0 $'a\ntool' xenstore-list /
check "a value may be as long as a message" 0 "" xenstore-write /long "$(head -c 4000 /dev/zero | tr '\0' x)"
check "and comes back" 0 "$(head -c 4000 /dev/zero | tr '\0' x)" xenstore-read /long

# 2,000 names of 11 bytes do not fit into one message: libxenstore asks for the directory in parts.
names=$(seq -f 'domain-%04g' 1 2000)
pairs=$(for name in $names; do printf '/big/%s 1 ' "$name"; done)
check "many nodes are written" 0 "" xenstore-write $pairs
check "and listed" 0 "$names" xenstore-list /big

# Each xenstore-write is a transaction that it repeats when it meets a conflict.
writers=
for writer in $(seq 8); do
  for name in $(seq 25); do xenstore-write "/shared/$writer-$name" 1 || echo "FAILED: writer $writer"; done &
  writers="$writers $!"
done
wait $writers
check "concurrent writers lose nothing" 0 "200" bash -c 'xenstore-list /shared | wc -l'

# The watch is known to be registered when its first event has come.
xenstore-watch -n 4 /w >"$directory/watched" &
watcher=$!
wait_for grep -q '^/w$' "$directory/watched"
xenstore-write /w/x 1
xenstore-write /elsewhere 1
xenstore-chmod /w/x n0 r1
xenstore-rm /w
wait_for bash -c "! kill -0 $watcher"
check "a watch tells of changes below its path" 0 $'/w\n/w/x\n/w/x\n/w' cat "$directory/watched"

# Special names are watched, and have rights, but are no nodes.
xenstore-watch -n 2 @releaseDomain >"$directory/special" &
watcher=$!
wait_for grep -q '^@releaseDomain$' "$directory/special"
check "a special name has rights" 0 "" xenstore-chmod @releaseDomain n0 r5
wait_for bash -c "! kill -0 $watcher"
check "and tells that they changed" 0 $'@releaseDomain\n@releaseDomain' cat "$directory/special"
check "a special name cannot be read" 1 "xenstore-read: couldn't read path @releaseDomain" xenstore-read @releaseDomain

check "a second daemon does not take the socket away" 1 \
  "" bash -c "'$daemon' --socket '$XENSTORED_PATH' --standalone 2>/dev/null"
check "the first one goes on" 0 "hello" xenstore-read /a/b

kill -KILL "$pid"
wait "$pid" 2>/dev/null
start_daemon
check "a daemon takes over the socket of one that was killed" 0 "tool" xenstore-list /

kill -TERM "$pid"
wait "$pid"
status=$?
pid=
[ "$status" = 0 ] || { echo "FAILED: SIGTERM ended the daemon with status $status"; failures=$((failures + 1)); }
[ ! -e "$XENSTORED_PATH" ] || { echo "FAILED: the socket file stays"; failures=$((failures + 1)); }

finish
