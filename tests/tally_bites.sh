#!/bin/bash
# Tests tally.py: it counts every kind of failure.
set -u
tally=$(cd "$(dirname "$0")" && pwd)/tally.py
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failures=0

expect() {  # expect WORDS EXIT_STATUS MESON_STATUS, with the log on standard input
  cat >"$log"
  local said status
  said=$(python3 "$tally" "$log" "$3")
  status=$?
  [ "${said##*$'\n'}" = "$1" ] && [ "$status" -eq "$2" ] && return
  echo "expected '$1' and status $2, found '$said' and status $status"
  failures=$((failures + 1))
}

cases='[doctest] test cases:  5 |  4 passed | 1 failed | 0 skipped'
expect '5 passed, 0 failed' 0 0 <<<'{"result":"OK","stdout":"[doctest] test cases:  5 |  5 passed | 0 failed | 0 skipped"}'
expect '4 passed, 1 failed' 1 1 <<<"{\"result\":\"FAIL\",\"stdout\":\"$cases\"}"
expect '5 passed, 1 failed' 1 1 <<<'{"result":"FAIL","stdout":"[doctest] test cases: 5 | 5 passed | 0 failed | 0 skipped"}'
expect '0 passed, 1 failed' 1 1 <<<'{"result":"TIMEOUT","stdout":"half a lin"}'
expect '1 passed, 0 failed' 0 0 <<<'{"result":"OK","stdout":"a script"}'
expect '1 passed, 0 failed, 1 skipped' 0 0 <<<'{"result":"OK"}
{"result":"SKIP"}'
expect '3 passed, 0 failed, 2 skipped' 0 0 <<<'{"result":"OK","stdout":"skipped: no fixtures\nskipped: no fixtures\n[doctest] test cases: 5 | 5 passed | 0 failed | 0 skipped"}'
expect '1 passed, 1 failed' 1 3 <<<'{"result":"OK"}'
expect '0 passed, 1 failed' 1 0 </dev/null
[ "$failures" -eq 0 ]
