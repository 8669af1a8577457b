#!/bin/sh
# Sets the machine up, builds heft with release options, and runs the main job: see bench/README.md.
#
# usage: bench/run.sh [PATH]    PATH: a checkpoint to measure instead of a generated one
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
(
  cd "$here"
  .ci/setup.sh build bench
  [ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false -Dbench=enabled
  ninja -C build-release
) >&2
exec "$here/build-release/bench/heft-bench" demo "$@"
