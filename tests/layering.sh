#!/bin/bash
# usage: layering.sh ROOT. Fails on an include of a higher room, on includes that go in a circle, and on a library that is
# included outside its wrapper:
#
#   core <- mmap, format, kernels <- record <- materialize <- save <- cli       (the folder is the layer; record does
#   not use kernels)
#
# A public header belongs to the room that has a .cpp of its name; one without a .cpp to the rooms of its includes.
set -u
cd "$1" || exit 2

# The rooms that each room can include.
declare -A below=(
  [core]='core'
  [mmap]='core mmap'
  [kernels]='core kernels'
  [format]='core format'
  [record]='core mmap format record'
  [materialize]='core mmap kernels format record materialize'
  [save]='core mmap kernels format record materialize save'
  [cli]='core mmap kernels format record materialize save cli'
)

# The files that can include each library, as a pattern of paths. Tests and benches are not checked.
declare -A wrapped=(
  [boost/interprocess/]='lib/mmap/mapping\.cpp'
  [boost/asio]='lib/materialize/thread_pool\.cpp'
  [boost/]='lib/(mmap/mapping|materialize/thread_pool)\.cpp'
  [fmt/]='lib/.*\.cpp'
  [simdjson]='nowhere: it judges format/json in the tests'
  [libdeflate]='lib/format/archive/inflate\.cpp'
  [isa-l]='lib/format/archive/inflate_stream\.cpp'
  [cbor]='lib/format/cbor/tokenizer\.cpp'
  [mpack]='lib/format/msgpack/tokenizer\.cpp'
  [re2/]='lib/record/(pattern|remap)\.cpp'
  [hwy/]='lib/kernels/.*'
  [liburing]='lib/mmap/ring_uring\.cpp'
  [numa.h]='lib/materialize/memory/numa_libnuma\.cpp'
  [CLI/]='lib/cli/.*'
  [openssl/]='lib/cli/.*'
  [sys/mman]='lib/(mmap|materialize)/.*'
)

failures=0
complain() {
  printf '%s\n' "$1"
  failures=$((failures + 1))
}

sources() { find "$@" -name '*.cpp' -o -name '*.hpp' -o -name '*.hpp.in' -o -name '*.h' 2>/dev/null | sort; }

# Prints the includes of a file, one per line, without quotes or brackets.
includes() { sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"].*/\1/p' "$1"; }

# Prints the rooms that a public header requires: the one with its .cpp, and those of the public headers that it
# includes.
declare -A needs=()
rooms_of() {
  local header=$1 file=include/heft/$1 room included
  [ -e "$file" ] || file=$file.in  # written by Meson
  [ -z "${needs[$header]+known}" ] || return 0
  needs[$header]=' '
  for room in "${!below[@]}"; do
    [ ! -e "lib/$room/${header%.hpp}.cpp" ] || needs[$header]+="$room "
  done
  while read -r included; do
    [ -e "include/heft/${included#heft/}" ] && [[ $included == heft/* ]] || continue
    rooms_of "${included#heft/}"
    needs[$header]+=${needs[${included#heft/}]}
  done < <(includes "$file")
}

check_room() {
  local room=$1 file included need
  for file in $(sources "lib/$room"); do
    while read -r included; do
      need=
      case $included in
        heft/heft.hpp) complain "$file includes heft/heft.hpp, which is everything"; continue ;;
        heft/*.hpp) rooms_of "${included#heft/}"; need=${needs[${included#heft/}]} ;;
        */*) [ ! -d "lib/${included%%/*}" ] || need=${included%%/*} ;;
      esac
      for need in $need; do
        [[ " ${below[$room]} " == *" $need "* ]] || complain "$file includes $included, which goes up to $need"
      done
    done < <(includes "$file")
  done
}

check_public_headers() {
  local file included
  for file in $(sources include); do
    while read -r included; do
      [[ $included =~ ^heft/[a-z_0-9]+\.hpp$ || $included =~ ^[a-z_0-9]+$ ]] ||
        complain "$file includes $included: a public header includes the standard library and public headers only"
    done < <(includes "$file")
    # Comments can name a library, code cannot.
    ! sed 's|//.*||' "$file" | grep -qE '\b(boost|fmt|simdjson|re2|hwy|CLI)::' ||
      complain "$file names a third-party library"
  done
}

check_wrapping() {
  local file included library
  for file in $(sources lib); do
    while read -r included; do
      for library in "${!wrapped[@]}"; do
        [[ $included != "$library"* || $file =~ ^(${wrapped[$library]})$ ]] ||
          complain "$file includes $included, which is wrapped in ${wrapped[$library]}"
      done
    done < <(includes "$file")
  done
}

# Prints a line "file included-file" for each include of a header of ours; units go without their suffix.
include_pairs() {
  local file included from
  for file in $(sources lib include); do
    unit_of "$file"
    from=$unit
    while read -r included; do
      case $included in heft/*) included=include/$included ;; *) included=lib/$included ;; esac
      [ -e "$included" ] || continue
      unit_of "$included"
      [ "$from" == "$unit" ] || printf '%s %s\n' "$from" "$unit"
    done < <(includes "$file")
  done
}

# In lib a header and the source of its name are one unit: what the source includes, the unit needs.
unit_of() {  # sets $unit
  unit=$1
  [[ $1 != lib/* ]] || unit=${1%.*}
}

# tsort names the members of each circle that it finds.
check_circles() {
  local circles
  circles=$(include_pairs | tsort 2>&1 >/dev/null) ||
    complain "includes go in a circle: $(sed 's/^tsort: *//' <<<"$circles" | grep -v 'contains a loop' | tr '\n' ' ')"
}

[ -n "$(sources include)" ] || complain "no public headers in $PWD/include"
for room in "${!below[@]}"; do check_room "$room"; done
check_public_headers
check_wrapping
check_circles
[ "$failures" -eq 0 ] || echo "$failures includes are out of place"
[ "$failures" -eq 0 ]
