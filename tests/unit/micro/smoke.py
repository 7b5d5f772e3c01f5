"""pollux-micro on a small table: every stage runs, counts what it did, and saw the right replies.

usage: smoke.py PROGRAM
"""

import json
import subprocess
import sys

PROGRAM = sys.argv[1]
KEYS, VALUES = 3000, 2048
FEW = ["--keys", str(KEYS), "--values", str(VALUES), "--seconds", "0.002"]
failures = []


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)


def check(good, what):
    if not good:
        failures.append(what)


def check_stage(stage):
    name, ops, rounds = stage["stage"], stage["operations"], stage["rounds"]
    check(rounds >= 5 and ops >= rounds * 16, f"{name}: {ops} operations in {rounds} rounds")
    check(0 < stage["cycles_p10"] <= stage["cycles"] <= stage["cycles_p90"], f"{name}: cycles {stage}")
    if stage["unit"] in ("look-up", "command", "key", "reply") and not name.startswith(("gather", "execute")):
        check(ops % rounds == 0, f"{name}: rounds of unequal work")


def check_request(stage):
    name, counts = stage["stage"], stage["counts"]
    pipeline = int(name.split("/")[1])
    check(counts["requests"] == stage["operations"], f"{name}: {counts}")
    check(0 < counts["batches"] <= counts["requests"], f"{name}: {counts}")
    # Frames carry whole pipelines, or parts of long ones, and some carry acknowledgements alone.
    check(counts["frames_in"] * pipeline >= counts["requests"], f"{name}: {counts}")
    check(counts["frames_out"] * pipeline >= counts["requests"], f"{name}: {counts}")
    parts = stage["in_place"]
    check(all(parts[part] > 0 for part in ("frames in", "parse and fetch", "execute", "frames out")), f"{name}: {parts}")
    check(len(stage["alone"]) == 9, f"{name}: its stages were not added up")


def main():
    listed = [line.split()[0] for line in run("--list").stdout.splitlines()]
    done = run("--json", *FEW)
    check(done.returncode == 0, f"exit status {done.returncode}: {done.stderr.strip()}")
    result = json.loads(done.stdout or "{}")
    stages = result.get("stages", [])
    check([stage["stage"] for stage in stages] == listed and len(set(listed)) == len(listed),
          "the stages that ran are not those of --list")
    for stage in stages:
        check_stage(stage)
        if stage["unit"] == "request":
            check_request(stage)
    # Warming up looks at replies, too, so there are more than operations of the stages that answer.
    answered = sum(s["operations"] for s in stages
                   if s["unit"] in ("request", "reply") or s["stage"].startswith("execute"))
    check(result.get("replies_checked", 0) > answered > 0, "replies were not looked at")
    check([table["keys"] for table in result.get("tables", [])] == [KEYS], "another table")
    check(result["tables"][0]["bytes"] > KEYS * 90, "a table without its entries")

    text = run("--stage", "request-get/16", "--stage", "xadd", "--ascii", *FEW).stdout
    check("in place " in text and "#" in text and "request-get/16" in text, "no bar")
    check("request-set" not in text and "lpush" not in text, "stages that nobody asked for")
    for bad in (["--stage", "nothing"], ["--keys", "10k,5k"], ["--seconds", "0"], ["--plot", "a.pdf", "--callgrind"],
                ["word"], ["--nothing"]):
        refused = run(*bad)
        check(refused.returncode == 2 and len(refused.stderr.splitlines()) == 1, f"{bad}: {refused.stderr}")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
