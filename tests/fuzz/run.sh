#!/bin/sh
# Sets the machine up, builds the fuzzers with clang 16, address and undefined-behaviour sanitizers, and runs them one
# after the other, each on every core. Inputs are read from the committed corpus and build-fuzz/found/TARGET, where new
# ones are kept. Inputs that crash are copied to build-fuzz/crashes and make the exit status 1.
#
# usage: tests/fuzz/run.sh SECONDS [TARGET...]    (all targets)
set -eu
seconds=${1:?seconds for each target}
shift
cd "$(dirname "$0")/../.."

.ci/setup.sh build tests fuzz
[ -f build-fuzz/build.ninja ] ||
  CXX=clang++-16 meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=2
[ $# -gt 0 ] || set -- $(sed -nE "s/^  \['([a-z_0-9]+)'.*/\1/p" tests/fuzz/meson.build)
for target in "$@"; do
  ninja -C build-fuzz "tests/fuzz/fuzz_$target"
done

mkdir -p build-fuzz/crashes
status=0
for target in "$@"; do
  mkdir -p "build-fuzz/found/$target"
  build-fuzz/tests/fuzz/fuzz_"$target" -max_total_time="$seconds" -fork="$(nproc)" -rss_limit_mb=2048 -timeout=10 \
    -artifact_prefix=build-fuzz/crashes/"$target"- "build-fuzz/found/$target" "tests/fuzz/corpus/$target" || status=1
done
exit "$status"
