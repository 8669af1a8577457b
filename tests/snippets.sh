#!/bin/bash
# usage: snippets.sh README INCLUDE_FOLDER... Compiles the ```cpp blocks of README and the examples in the comments of
# the public headers, so that the code that they show stays correct.
#
# README: a block with a main() is compiled as a program. Any other block is wrapped: its #include lines go to the top,
# and the rest into a function, after the CODE of the comment `<!-- given: CODE -->` above the block.
#
# Headers: an example starts after a comment line that consists of "Example:", and is the comment lines below it that
# are indented by three spaces or more. All examples are compiled as one file, each in its own namespace and function
# with the parameters that `given` lists; structs go before the function, because a local class has no member templates.
# A header without an example is an error.
set -eu
readme=$1
shift
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

given='[[maybe_unused]] heft::Checkpoint checkpoint, [[maybe_unused]] heft::Record record, [[maybe_unused]] heft::TensorView view,
    [[maybe_unused]] heft::LoadPlan plan, [[maybe_unused]] heft::Weights weights, [[maybe_unused]] heft::Tensor tensor'
without_example=' heft.hpp export.hpp '

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

headers=()
for folder in "$@"; do
  for header in "$folder"/heft/*.hpp; do
    [[ $without_example == *" ${header##*/} "* ]] || headers+=("$header")
  done
done

awk -v given="$given" '
  function finish() {
    if (!inside) return
    inside = in_struct = 0
    printf "namespace example_%d {\n%svoid example(%s);\nvoid example(%s) {\n{\n%s}\n}\n}\n", ++count, structs, given, given, body
  }
  BEGIN { print "#include <heft/heft.hpp>\n#include <cstdio>\n#include <iostream>" }
  FNR == 1 { finish() }
  /^ *\/\/\/? Example:$/ { finish(); inside = 1; structs = body = ""; next }
  inside && /^ *\/\/\/?    *[^ ]/ {
    line = $0
    sub(/^ *\/\/\/?   /, "", line)
    line = sprintf("#line %d \"%s\"\n%s\n", FNR, FILENAME, line)
    if ($0 ~ /^ *\/\/\/?   struct .*{$/) in_struct = 1
    if (in_struct || $0 ~ /^ *\/\/\/?   struct /) structs = structs line
    else body = body line
    if ($0 ~ /^ *\/\/\/?   };$/) in_struct = 0
    next
  }
  { finish() }
  END { finish() }
' "${headers[@]}" >"$place/examples.cpp"

failures=0 compiled=0
for file in "$place"/*.cpp; do
  compiled=$((compiled + 1))
  ${CXX:-c++} -std=c++20 -Wall -Wextra -Werror -Wno-unused-variable -Wno-unused-but-set-variable -fsyntax-only "${@/#/-I}" "$file" || {
    [[ $file == */examples.cpp ]] || cat -n "$file"
    failures=$((failures + 1))
  }
done
[ $compiled -gt 1 ] || { echo "$readme shows no code"; failures=$((failures + 1)); }
for header in "${headers[@]}"; do
  grep -qE '^ *///? Example:$' "$header" || { echo "heft/${header##*/} has no example"; failures=$((failures + 1)); }
done
echo "$((compiled - 1)) snippets and $(grep -c '^namespace example_' "$place/examples.cpp") examples, $failures failures"
[ "$failures" -eq 0 ]
