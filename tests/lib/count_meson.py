#!/usr/bin/python3
"""Counts the test cases of a `meson test` run from its testlog.json.

A program of cmocka counts as many tests as cmocka says it ran; any other as one.
Prints `N passed, N failed, N skipped`.
"""

import json
import re
import sys

CASES = re.compile(r"^\[  (PASSED|FAILED|SKIPPED) +\] .*?(\d+) test\(s\)", re.MULTILINE)


def count(path):
    totals = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    try:
        lines = open(path, encoding="utf-8").readlines()
    except FileNotFoundError:
        lines = []  # no test in this suite
    for line in lines:
        entry = json.loads(line)
        text = (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or "")
        cases = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
        for kind, number in CASES.findall(text):
            cases[kind] += int(number)
        good = entry["result"] in ("OK", "EXPECTEDFAIL")
        if entry["result"] == "SKIP":
            cases = {"PASSED": 0, "FAILED": 0, "SKIPPED": max(1, sum(cases.values()))}
        elif good:
            cases["FAILED"] = 0
            cases["PASSED"] = max(1, cases["PASSED"])
        else:
            # A crash or a time-out leaves no line of its own.
            cases["FAILED"] = max(1, cases["FAILED"])
        for kind, number in cases.items():
            totals[kind] += number
    return totals


if __name__ == "__main__":
    result = count(sys.argv[1])
    print(f"{result['PASSED']} passed, {result['FAILED']} failed, {result['SKIPPED']} skipped")
