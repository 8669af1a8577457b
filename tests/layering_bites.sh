#!/bin/bash
# Tests layering.sh: a small tree that keeps the rules passes, and each way to break a rule fails.
set -u
check=$(cd "$(dirname "$0")" && pwd)/layering.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

plant() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree"/include/heft "$tree"/lib/{core,mmap,kernels,format/gguf,format/archive,record,materialize,save,cli}
  echo '#include <string>' >"$tree/include/heft/error.hpp"
  echo '#include "heft/error.hpp"' >"$tree/lib/core/error.cpp"
  echo '#include "heft/error.hpp"' >"$tree/include/heft/checkpoint.hpp"
  echo '#include "heft/checkpoint.hpp"' >"$tree/lib/record/checkpoint.cpp"
  echo '#include "heft/checkpoint.hpp"' >"$tree/include/heft/plan.hpp"
}

expect() {  # expect STATUS WHAT
  bash "$check" "$tree" >"$tree/said" 2>&1
  [ $? -eq "$1" ] || { echo "layering.sh did not return $1: $2"; cat "$tree/said"; failures=$((failures + 1)); }
}

breaks() {  # breaks FILE LINE: adding LINE to FILE breaks a rule
  plant
  echo "$2" >>"$tree/$1"
  expect 1 "$1 with $2"
}

plant
expect 0 'a tree that keeps the rules'
breaks lib/core/error.cpp '#include "format/json/reader.hpp"'
breaks lib/mmap/mapping.cpp '#include "format/json/reader.hpp"'
breaks lib/format/gguf/reader.cpp '#include "heft/checkpoint.hpp"'
breaks lib/format/gguf/reader.cpp '#include "heft/plan.hpp"'
breaks lib/core/error.cpp '#include "heft/heft.hpp"'
breaks lib/kernels/move.cpp '#include "format/catalog.hpp"'
breaks lib/materialize/plan.cpp '#include "save/shards.hpp"'
breaks include/heft/error.hpp '#include "heft/checkpoint.hpp"'
breaks include/heft/error.hpp '#include "core/cursor.hpp"'
breaks include/heft/error.hpp '#include <fmt/format.h>'
breaks include/heft/error.hpp 'boost::asio::thread_pool pool();'
breaks lib/record/tree.cpp '#include <simdjson.h>'
breaks lib/mmap/file.cpp '#include <boost/interprocess/mapped_region.hpp>'
breaks lib/format/archive/zip_directory.hpp '#include <fmt/core.h>'
# A circle inside a room, of headers alone, or by way of the source that belongs to one of them.
plant
echo '#include "core/b.hpp"' >"$tree/lib/core/a.hpp"
echo '#include "core/a.hpp"' >"$tree/lib/core/b.hpp"
expect 1 'two headers that include each other'
for room in core mmap kernels format record materialize save cli; do
  plant
  echo "#include \"$room/sink.hpp\"" >"$tree/lib/$room/load.hpp"
  touch "$tree/lib/$room/sink.hpp"
  expect 0 "$room: a header that includes another"
  echo "#include \"$room/load.hpp\"" >"$tree/lib/$room/sink.cpp"
  expect 1 "$room: a source that includes the header that includes its own"
done
breaks include/heft/error.hpp '#include "heft/plan.hpp"'
rm -rf "$tree/include"/*
expect 1 'a tree without public headers'
[ "$failures" -eq 0 ]
