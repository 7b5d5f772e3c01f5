#!/usr/bin/python3
"""Damaged payloads with a right check sum, to redis-server (which is told to look closely) and to Pollux.
Neither may take harm. What Redis refuses Pollux refuses; what both take means the same. Pollux may be
stricter: it also refuses what is no order, no number, or said twice.

usage: test_dump.py [--seed N] [--payloads N] [--cores 0]
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import payload
import pollux
from draw import Draw
from raw import Connection, Error, parse

BATCH = 50
# Forms that 7.0 does not know.
NEWER = range(payload.SET_LISTPACK, payload.HASH_LISTPACK_EX + 1)


class Pair:
    def __init__(self, cores):
        self.pollux = pollux.Server({"cores": cores})
        self.redis = pollux.Redis({"sanitize-dump-payload": "yes"})
        for server in (self.redis, self.pollux):
            server.wait_ready()
        self.connect()

    def connect(self):
        self.connections = [Connection(s.host, s.port) for s in (self.redis, self.pollux)]

    def close(self):
        for server in (self.redis, self.pollux):
            server.close()


def compare(pair, payloads, counts):
    """A failure as text, or None."""
    names = [b"k%d" % i for i in range(len(payloads))]
    replies = []
    for connection in pair.connections:
        commands = [[b"RESTORE", name, b"0", p, b"REPLACE"] for name, p in zip(names, payloads)]
        commands += [[b"DUMP", name] for name in names] + [[b"FLUSHALL"]]
        connection.send(commands)
        replies.append([parse(connection.read()) for _ in commands])
    for i, p in enumerate(payloads):
        redis, ours = (r[i] for r in replies)
        if isinstance(redis, Error) and isinstance(ours, Error):
            counts["refused"] += 1
            if redis != ours:
                return f"{p!r}\n  redis:  {redis!r}\n  pollux: {ours!r}"
        elif isinstance(redis, Error):
            if p[0] not in NEWER:
                return f"{p!r}\n  redis:  {redis!r}\n  pollux took it: {replies[1][len(payloads) + i]!r}"
            counts["newer"] += 1
        elif isinstance(ours, Error):
            counts["stricter"] += 1
        else:
            counts["taken"] += 1
            dumps = [r[len(payloads) + i] for r in replies]
            if not payload.same(*dumps):
                return f"{p!r}\n  redis:  {dumps[0]!r}\n  pollux: {dumps[1]!r}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--payloads", type=int, default=100000 if pollux.FULL else 3000)
    parser.add_argument("--cores", default="0")
    options = parser.parse_args()
    pollux.close_on_signals()
    passed = failed = 0
    counts = dict.fromkeys(("refused", "taken", "stricter", "newer"), 0)
    pair = Pair(options.cores)
    try:
        for seed in range(options.seed, options.seed + options.payloads // BATCH):
            d = Draw(seed)
            payloads = [payload.damaged(d) for _ in range(BATCH)]
            try:
                failure = compare(pair, payloads, counts)
            except (EOFError, OSError) as error:
                failure = f"{error}: redis {'lives' if pair.redis.alive() else 'died'}"
                failure += f", pollux {'lives' if pair.pollux.alive() else 'died'}\n{pair.pollux.tail()}"
            if not failure:
                passed += 1
                continue
            print(f"FAILED: seed {seed}: {failure}")
            failed += 1
            if failed > 5:
                break
            pair.close()
            pair = Pair(options.cores)
    finally:
        pair.close()
    print(counts)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
