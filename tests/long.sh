#!/bin/sh
# Runs tests that take too long for every run. Each part prints its figures to stdout.
#
# usage: tests/long.sh [-C DIR] [PART...]
#   -C DIR    a build tree in which the tests are built (build)
#   PART      changes    2,000 loads of files that change meanwhile: how many were whole, refused, mixtures
#             (all of them)
set -eu
cd "$(dirname "$0")/.."

dir=build
[ "${1-}" != -C ] || { dir=$2; shift 2; }
[ $# -gt 0 ] || set -- changes

for part; do
  case $part in
    changes)
      HEFT_CHANGED_LOADS=${HEFT_CHANGED_LOADS:-2000} "$dir/tests/materialize/test_materialize_faults" \
        -tc='changes: loads of files that change at any moment*' ;;
    *) echo "tests/long.sh: no part '$part'" >&2; exit 2 ;;
  esac
done
