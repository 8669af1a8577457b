#!/bin/bash
# usage: symbols_bite.sh LIBHEFT.SO INCLUDE_FOLDER... Tests symbols_declared.py: it fails on headers that declare, each
# in another way, more than the library exports.
set -u
check=$(cd "$(dirname "$0")" && pwd)/symbols_declared.py
headers=$(mktemp -d)
trap 'rm -rf "$headers"' EXIT
failures=0

expect() {  # expect STATUS WORDS WHAT
  python3 "$check" "$CXX" "$library" "$headers/include" >"$headers/said" 2>&1
  local status=$?
  [ $status -eq 77 ] && { cat "$headers/said"; exit 77; }
  { [ $status -eq "$1" ] && grep -q -- "$2" "$headers/said"; } && return
  echo "symbols_declared.py did not return $1 with '$2': $3"
  cat "$headers/said"
  failures=$((failures + 1))
}

copy_headers() {
  mkdir -p "$headers/include"
  for folder in "${includes[@]}"; do cp -r "$folder/." "$headers/include"; done
}

breaks() {  # breaks FILE BEFORE LINE WORDS: a declaration that the library lacks, added before the first line that matches
  rm -rf "$headers/include"
  copy_headers
  sed -i "0,/$2/s//$3\n&/" "$headers/include/heft/$1"
  expect 1 "$4" "$3 in $1"
}

library=$1
shift
includes=("$@")
copy_headers
expect 0 'declared functions' 'the headers as they are'
breaks shape.hpp '^HEFT_API std::string to_string' 'bool is_nowhere(const Dims\& dims);' 'heft::is_nowhere(heft::Dims const&)'
breaks shape.hpp '  friend HEFT_API bool operator==' '  friend bool operator<(const Dims\& a, const Dims\& b) noexcept;' 'heft::operator<'
breaks shape.hpp '  \[\[nodiscard\]\] std::uint64_t element_count' '  void member_of_nowhere() const;' 'heft::Shape::member_of_nowhere() const'
breaks shape.hpp '  Shape() noexcept = default;' '  explicit Shape(const char\& c);' 'heft::Shape::Shape(char const&)'
[ "$failures" -eq 0 ]
