#!/bin/bash
# Shows that snippets.sh fails where it must: a small README and header whose code compiles pass, and each way of breaking
# their code does not.
set -u
check=$(cd "$(dirname "$0")" && pwd)/snippets.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

plant() {
  mkdir -p "$tree/include/heft"
  cat >"$tree/include/heft/heft.hpp" <<'HEADER'
#pragma once
namespace heft {
struct Checkpoint {}; struct Record {}; struct TensorView {}; struct LoadPlan {}; struct Weights {}; struct Tensor {};
}
#include "heft/one.hpp"
HEADER
  cat >"$tree/include/heft/one.hpp" <<'HEADER'
#pragma once
namespace heft {
/// Counts fields.
///
/// Example:
///   struct Model {
///     template <class Fields> void describe(Fields& f) { f(1); }
///   };
///   const int fields = heft::count(tensor, Model());
template <class T>
[[nodiscard]] int count(const Tensor&, const T&) { return 1; }

class Second {
 public:
  /// Example:
  ///   const int one = heft::Second().first();
  [[nodiscard]] int first() const { return 1; }
};
}
HEADER
  cat >"$tree/README.md" <<'README'
<!-- given: heft::Tensor given; -->
```cpp
const int fields = heft::count(given, 1);
```
README
}

expect() {  # expect STATUS WORDS WHAT
  bash "$check" "$tree/README.md" "$tree/include" >"$tree/said" 2>&1
  local status=$?
  { [ $status -eq "$1" ] && grep -q -- "$2" "$tree/said"; } && return
  echo "snippets.sh did not return $1 with '$2': $3"
  cat "$tree/said"
  failures=$((failures + 1))
}

breaks() {  # breaks FILE SED WORDS: the edit of the file is found, and the report contains the words
  plant
  sed -i "$2" "$tree/$1"
  expect 1 "$3" "$1 after $2"
}

plant
expect 0 '1 snippets and 2 examples, 0 failures' 'code that compiles'
breaks include/heft/one.hpp 's/heft::count(tensor/heft::cuont(tensor/' 'one.hpp:9:'
breaks include/heft/one.hpp 's/Second().first/Second().frist/' 'one.hpp:16:'
breaks include/heft/one.hpp 's/const int fields = //' 'nodiscard'
breaks include/heft/one.hpp 's/f(1); }/f(1) }/' 'one.hpp:7:'
breaks include/heft/one.hpp 's/ Example:/ For example:/' 'heft/one.hpp has no example'
breaks README.md 's/heft::count/heft::cuont/' 'cuont'
breaks README.md 's/heft::Tensor given;//' 'given'
breaks README.md 's/```cpp/```/' 'shows no code'
[ "$failures" -eq 0 ]
