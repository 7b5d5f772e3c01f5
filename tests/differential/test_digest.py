#!/usr/bin/python3
"""DEBUG DIGEST and DIGEST-VALUE on redis-server 7.0.15 and on Pollux: the same random data of all types, made by the
same commands, must have the same digests; and what else DEBUG tells of it.

usage: test_digest.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1]
"""

import contextlib
import os
import random
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import checks
import program
from raw import Connection

KEYS = [f"key:{i}" for i in range(60)]
OPTIONS = {"enable-debug-command": "yes", "databases": 4}


def draw_text(r):
    kind = r.random()
    if kind < 0.4:
        return str(r.randrange(-100, 100000))
    if kind < 0.9:
        return "".join(r.choices("abcdef\0\xff", k=r.randrange(0, 80)))
    return "x" * r.randrange(100, 30000)


def draw(r):
    """One command that writes a key, always the same way whatever is there: its type is part of its name."""
    key = r.choice(KEYS)
    kind = r.randrange(8)
    texts = [draw_text(r) for _ in range(r.randrange(1, 8))]
    if kind == 0:
        return ["SET", "s" + key, texts[0]]
    if kind == 1:
        return [r.choice(["LPUSH", "RPUSH"]), "l" + key, *texts]
    if kind == 2:
        return ["SADD", "S" + key, *(texts if r.random() < 0.5 else [str(r.randrange(1000)) for _ in texts])]
    if kind == 3:
        pairs = []
        for text in texts:
            pairs += [r.choice(["1.5", "inf", "-inf", "0", "-0", "3", "1e300", "0.1", str(r.random() * 1e9)]), text]
        return ["ZADD", "z" + key, *pairs]
    if kind == 4:
        return ["HSET", "h" + key, *[word for text in texts for word in (text, draw_text(r))]]
    if kind == 5:
        return ["XADD", "x" + key, f"{r.randrange(1, 10**6)}-{r.randrange(1, 99)}",
                *[word for text in texts for word in (text, draw_text(r))]]  # fmt: skip
    if kind == 6:
        return r.choice([["DEL", r.choice("slSzhx") + key], ["PEXPIRE", r.choice("slSzhx") + key, "100000000"],
                         ["PERSIST", r.choice("slSzhx") + key], ["LPOP", "l" + key], ["APPEND", "s" + key, "more"],
                         ["SETRANGE", "s" + key, "3", "mid"], ["PFADD", "s" + key + "p", *texts], ["INCR", "s" + key]])  # fmt: skip
    return r.choice([["SELECT", str(r.randrange(4))], ["LTRIM", "l" + key, "1", "-2"], ["XTRIM", "x" + key, "MAXLEN", "3"],
                     ["ZREM", "z" + key, texts[0]], ["HDEL", "h" + key, texts[0]], ["SREM", "S" + key, texts[0]],
                     ["XDEL", "x" + key, "1-1"], ["LINSERT", "l" + key, "BEFORE", texts[0], "here"],
                     ["LSET", "l" + key, "0", texts[0]]])  # fmt: skip


def encoded(words):
    return [w.encode("latin-1") for w in words]


def play(pair, seed, n):
    r = random.Random(seed)
    redis, other = pair
    checks.both(redis, other, "FLUSHALL")
    # Nodes of their own for small elements, at times: lists must not look any different.
    checks.both(redis, other, "DEBUG", "QUICKLIST-PACKED-THRESHOLD", r.choice(["0", "5", "100", "1kb"]))
    for at in range(n):
        words = encoded(draw(r))
        for c in pair:
            c.send([words])
        a, b = redis.read(), other.read()
        assert a == b, f"{words}\n  redis:  {a!r}\n  pollux: {b!r}"
        if at % (n // 4) == n // 4 - 1:
            checks.both(redis, other, "DEBUG", "DIGEST")
            names = [kind + key for kind in "slSzhx" for key in r.sample(KEYS, 12)]
            checks.both(redis, other, "DEBUG", "DIGEST-VALUE", *names)
            for key in KEYS:
                checks.both(redis, other, "LRANGE", "l" + key, "0", "-1")
    for c in pair:
        c.call("SELECT", 0)
    checks.both(redis, other, "DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")


def play_rest(pair):
    """The other subcommands: the same, but for what tells of the inside."""
    redis, other = pair
    checks.both(redis, other, "FLUSHALL")
    for words in (
        ["DIGEST"], ["DIGEST-VALUE"], ["DIGEST-VALUE", "nosuch", "neither"], ["DIGEST", "x"], ["POPULATE", "1000"],
        ["POPULATE", "10", "other", "3"], ["POPULATE", "10", "large", "100"], ["POPULATE", "x"], ["DIGEST"], ["LOG", "a message"],
        ["QUICKLIST-PACKED-THRESHOLD"], ["QUICKLIST-PACKED-THRESHOLD", "x"], ["QUICKLIST-PACKED-THRESHOLD", "5gb"],
        ["QUICKLIST-PACKED-THRESHOLD", "1kb"], ["QUICKLIST-PACKED-THRESHOLD", "0"], ["LISTPACK"], ["LISTPACK", "nosuch"],
        ["LISTPACK", "key:1"], ["QUICKLIST", "key:1"], ["HTSTATS", "99"], ["HTSTATS", "x"], ["HTSTATS"], ["STRINGMATCH-LEN", "x"],
    ):  # fmt: skip
        checks.both(redis, other, "DEBUG", *words)
    for i in (0, 5, 999):
        checks.both(redis, other, "GET", f"key:{i}")
    checks.both(redis, other, "GET", "other:7")
    checks.both(redis, other, "GET", "large:7")
    checks.both(redis, other, "DBSIZE")
    for c in pair:
        stats = c.call("DEBUG", "HTSTATS", 0)
        assert b"number of elements: 1020\n" in stats and b"No stats available" in stats, stats
    # Beyond Redis 7.0, or by other means.
    assert other.call("DEBUG", "STRINGMATCH-LEN", "a*b?", "axxbc") == 1
    assert other.call("DEBUG", "STRINGMATCH-LEN", "a*b?", "axxb") == 0
    other.call("RPUSH", "q", "1", "abc", "x" * 20000)
    other.call("HSET", "h", "f", "1")
    assert b"{total bytes" in other.call("DEBUG", "LISTPACK", "h")
    assert b"{nodes : 2}" in other.call("DEBUG", "QUICKLIST", "q") and b"PLAIN" in other.call("DEBUG", "QUICKLIST", "q", 1)
    assert b" ql_nodes:2 ql_avg_node:1.50 " in other.call("DEBUG", "OBJECT", "q")
    redis.call("RPUSH", "q", "1", "abc", "x" * 20000)
    for key in ("q", "key:1"):
        length = [next(w for w in c.call("DEBUG", "OBJECT", key).split() if w.startswith(b"serializedlength")) for c in pair]
        assert length[0] == length[1] or key == "q", length
    for name in ("JMAP", "CHANGE-REPL-ID", "RELOAD", "MALLCTL", "SDSLEN"):
        answer = other.call("DEBUG", name, "x")
        assert answer.startswith(f"ERR DEBUG {name.lower()} is not in Pollux: ".encode()), answer


def main():
    options = program.parser("digests of redis-server and of Pollux", rounds=(4, 60), commands=1200).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        with program.started(options, cores, OPTIONS) as servers:
            pair = [Connection(server.host, server.port) for server in servers]
            tests = program.seeds(options, lambda seed: play(pair, seed, options.commands))
            yield servers, tests + [("other subcommands", lambda: play_rest(pair))]
            for c in pair:
                c.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
