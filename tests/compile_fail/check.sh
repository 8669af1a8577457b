#!/bin/bash
# usage: check.sh FILE INCLUDE_FOLDER... Succeeds when FILE compiles, and with -DMUST_FAIL fails with the words of its
# line '// expect:'.
set -u
file=$1
shift
includes=("${@/#/-I}")
expect=$(sed -n 's|^// expect: ||p' "$file")
[ -n "$expect" ] || { echo "$file: no line '// expect: WORDS'"; exit 1; }

compile() { LC_ALL=C ${CXX:-c++} -std=c++20 -fsyntax-only "${includes[@]}" "$@" "$file" 2>&1; }

if ! said=$(compile); then
  printf '%s\n' "$said" "$file: the correct twin does not compile"
  exit 1
fi
if said=$(compile -DMUST_FAIL); then
  echo "$file: compiles, although it must not"
  exit 1
fi
if ! grep -qE -- "$expect" <<<"$said"; then
  printf '%s\n' "$said" "$file: fails to compile, but not because of '$expect'"
  exit 1
fi
