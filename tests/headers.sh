#!/bin/bash
# usage: headers.sh ROOT. Fails when a public header does not compile alone, or is missing from heft/heft.hpp.
set -u
include=$1/include
failures=0
for header in "$include"/heft/*.hpp; do
  name=heft/${header##*/}
  ${CXX:-c++} -std=c++20 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$include" -x c++ - <<<"#include <$name>" || {
    echo "$name does not compile alone"
    failures=$((failures + 1))
  }
  [ "$name" = heft/heft.hpp ] || grep -q "#include \"$name\"" "$include/heft/heft.hpp" || {
    echo "heft/heft.hpp does not include $name"
    failures=$((failures + 1))
  }
done
[ "$failures" -eq 0 ]
