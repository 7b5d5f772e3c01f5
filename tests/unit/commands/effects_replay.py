#!/usr/bin/python3
"""Draws programs of the commands of all families of the differential tests and runs each with
effects_replay, which compares what they do with what they tell.

usage: effects_replay.py PROGRAM [--seed N] [--rounds N] [--commands N] [--families a,b]
"""

import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
TESTS = os.path.dirname(os.path.dirname(HERE))
DIFFERENTIAL = os.path.join(TESTS, "differential")
sys.path[:0] = [DIFFERENTIAL, os.path.join(TESTS, "lib")]

import test_commands
from draw import Draw
from raw import encode

DATABASES = 4
ARGS_MAX = 4096


def program(families, seed, n):
    d = Draw(seed)
    words = [[b"@TIME", b"%d" % (d.now_s * 1000)]]
    for _, command in families.draw(d, n):
        if d.chance(0.05):
            # From what expires nothing to what expires almost all that was drawn.
            words.append([b"@TIME", b"%d" % d.pick((1, 15, 1000, 10**5, 10**6, 10**7, 10**9))])
        if d.chance(0.03):
            words.append([b"SELECT", b"%d" % d.random.randrange(DATABASES)])
        if len(command) <= ARGS_MAX:
            words.append(command)
    return b"".join(encode(command) for command in words)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("replay")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--commands", type=int, default=2000)
    parser.add_argument("--families", default=None)
    options = parser.parse_args()
    names = options.families.split(",") if options.families else sorted(
        name[len("family_") : -len(".py")] for name in os.listdir(DIFFERENTIAL) if name.startswith("family_"))
    families = test_commands.Families(names)
    passed = failed = 0
    for seed in range(options.seed, options.seed + options.rounds):
        with tempfile.NamedTemporaryFile(suffix=".resp") as f:
            f.write(program(families, seed, options.commands))
            f.flush()
            done = subprocess.run([options.replay, f.name], capture_output=True, text=True, errors="replace", timeout=120)
        if done.returncode == 0:
            passed += 1
        else:
            failed += 1
            print(f"FAILED: seed {seed}, exit {done.returncode}\n{done.stdout}{done.stderr}"[:3000])
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
