#!/bin/sh
# check_image.sh IMAGE: is it what guest/README.md promises? Position-independent, without an interpreter, relocated by
# itself alone, with general registers only, with the notes that Xen's domain builder asks for.
set -u
image=$1
failed=0

claim() { # claim DESCRIPTION COMMAND...
  description=$1
  shift
  if ! "$@"; then
    echo "FAIL $image: $description"
    failed=1
  fi
}

headers=$(readelf -hlW "$image") || exit 1
relocations=$(readelf -rW "$image" | awk '/^[0-9a-f]+ /{print $3}' | sort -u)
notes=$(readelf -nW "$image" | grep -c '^ *Xen ')

has() { echo "$headers" | grep -q "$1"; }
has_not() { ! has "$1"; }

claim "is ET_DYN" has 'Type: *DYN'
claim "has no interpreter" has_not INTERP
claim "has no dynamic section" has_not DYNAMIC
claim "asks for RELATIVE relocations only (has: $relocations)" \
  test -z "$(echo "$relocations" | grep -v '^R_X86_64_RELATIVE$')"
claim "has ten Xen notes (has $notes)" test "$notes" -eq 10
claim "starts at guest-physical 0, virtual 0x40000000" has 'LOAD .* 0x0*40000000 0x0* '
claim "uses general registers only: the hosted backend keeps no others" \
  test "$(objdump -d "$image" | grep -cE '%([xyz]mm|st|mm)[0-9(]?')" -eq 0
exit $failed
