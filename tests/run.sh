#!/bin/sh
# Sets the machine up, builds, and runs every test. The last line counts them: N passed, N failed[, N skipped].
#
# usage: tests/run.sh [-C DIR] [-t 'TARGET...'] [-s 'SELECTION...'] [MESON_OPTION...]
#   -C DIR          the build tree (build)
#   -t TARGETS      what to build (everything)
#   -s SELECTION    words for `meson test`: names, --suite, --no-suite (all tests)
#   MESON_OPTION    for `meson setup`, as -Dwerror=true
set -eu
cd "$(dirname "$0")/.."

dir=build targets= selection=
while [ $# -gt 0 ]; do
  case $1 in
    -C) dir=$2 ;;
    -t) targets=$2 ;;
    -s) selection=$2 ;;
    *) break ;;
  esac
  shift 2
done

.ci/setup.sh build tests
if [ -f "$dir/build.ninja" ]; then
  [ $# -eq 0 ] || meson configure "$dir" "$@"
else
  meson setup "$dir" "$@"
fi
ninja -C "$dir" $targets

rm -f "$dir/meson-logs/testlog.json"
status=0
meson test -C "$dir" --no-rebuild --print-errorlogs $selection || status=$?
python3 tests/tally.py "$dir/meson-logs/testlog.json" "$status"
