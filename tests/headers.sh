#!/bin/bash
# usage: headers.sh INCLUDE_FOLDER... Fails when a public header of one of the folders does not compile alone, or is
# missing from heft/heft.hpp. The folders are those of the source tree and of the build tree, where Meson writes
# version.hpp.
set -u
everything=$1/heft/heft.hpp
failures=0
for folder in "$@"; do
  for header in "$folder"/heft/*.hpp; do
    name=heft/${header##*/}
    ${CXX:-c++} -std=c++20 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "${@/#/-I}" -x c++ - <<<"#include <$name>" || {
      echo "$name does not compile without other includes"
      failures=$((failures + 1))
    }
    [ "$name" = heft/heft.hpp ] || grep -q "#include \"$name\"" "$everything" || {
      echo "heft/heft.hpp does not include $name"
      failures=$((failures + 1))
    }
  done
done
[ "$failures" -eq 0 ]
