#!/usr/bin/env python3
"""Counts the tests of a Meson run: the cases of the doctest binaries, and each other test as one.

usage: tally.py TESTLOG.json MESON_STATUS

Prints `N passed, N failed[, N skipped]`. Exits with 1 when a test failed, when Meson's status is not 0, or when no test
ran. A test case that cannot run on this machine prints a line `skipped: why` and counts as skipped.
"""
import json
import re
import sys

CASES = re.compile(r"^\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed \|\s*(\d+) skipped", re.M)
SKIPPED = re.compile(r"^skipped: .*$", re.M)


def strip_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def count(test):
    """Returns (passed, failed, skipped) of one test of the log."""
    result = test["result"]
    bad = result not in ("OK", "EXPECTEDFAIL", "SKIP")
    cases = CASES.search(strip_colours(test.get("stdout", "")))
    if cases is None:
        return (int(result in ("OK", "EXPECTEDFAIL")), int(bad), int(result == "SKIP"))
    passed, failed, left_out = map(int, cases.groups())
    unable = min(passed, len(SKIPPED.findall(test["stdout"])))
    # A binary can fail although its cases passed: by a leak found at exit, or a crash after the summary.
    return (passed - unable, max(failed, int(bad)), left_out + unable)


def read_log(path):
    try:
        with open(path, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except FileNotFoundError:
        return []  # Meson ended before it ran a test


def main():
    tests, status = read_log(sys.argv[1]), int(sys.argv[2])
    totals = [0, 0, 0]
    reasons = {}
    for test in tests:
        totals = [a + b for a, b in zip(totals, count(test))]
        for why in SKIPPED.findall(test.get("stdout", "")):
            reasons[why] = reasons.get(why, 0) + 1
    for why, times in sorted(reasons.items()):
        print(f"{why} ({times} times)" if times > 1 else why)
    passed, failed, left_out = totals
    failed = max(failed, int(status != 0), int(passed == 0))
    print(f"{passed} passed, {failed} failed" + (f", {left_out} skipped" if left_out else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
