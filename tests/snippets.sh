#!/bin/bash
# usage: snippets.sh ROOT. Compiles every ```cpp block of ROOT/README.md, so that what the page shows stays true.
#
# A block with a main() is a program as it stands. Of any other block the #include lines go to the top and the rest into a
# function, after what the comment `<!-- given: CODE -->` above the block declares.
set -eu
readme=$1/README.md
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

awk -v place="$place" '
  /^<!-- given: .* -->$/ { given = substr($0, 13, length($0) - 16); next }
  /^```cpp$/ { inside = 1; top = body = ""; next }
  /^```$/ && inside {
    inside = 0
    file = sprintf("%s/snippet_%02d.cpp", place, ++count)
    if (body ~ /int main\(/) printf "%s%s", top, body > file
    else printf "%s#include <heft/heft.hpp>\nvoid snippet();\nvoid snippet() {\n%s\n%s}\n", top, given, body > file
    close(file)
    given = ""
    next
  }
  inside && /^#include/ { top = top $0 "\n"; next }
  inside { body = body $0 "\n" }
' "$readme"

failures=0 compiled=0
for file in "$place"/snippet_*.cpp; do
  [ -e "$file" ] || { echo "$readme shows no code"; exit 1; }
  compiled=$((compiled + 1))
  ${CXX:-c++} -std=c++20 -Wall -Wextra -Wno-unused -fsyntax-only -I "$1/include" "$file" || {
    cat -n "$file"
    failures=$((failures + 1))
  }
done
echo "$compiled snippets compiled, $failures of them failed"
[ "$failures" -eq 0 ]
