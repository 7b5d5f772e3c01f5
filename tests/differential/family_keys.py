"""Commands on keys of any type, and on whole databases."""

import compare


def conditions(d):
    return d.soup([("NX",), ("XX",), ("GT",), ("LT",)], 2)


def copy(d):
    return [d.key(), d.key()] + d.soup([("DB", d.database), ("REPLACE",)], 3)


def scan(d):
    cursor = b"0" if d.chance(0.8) else d.pick((b"", b"00", b"+0", b"-", b"abc", b" 0", b"0 ", b"18446744073709551616"))
    types = lambda: d.pick((b"string", b"STRING", b"hash", b"zset", b"bogus", b""))
    options = [("MATCH", d.pattern), ("COUNT", d.integer), ("TYPE", types)]
    return [cursor] + d.soup(options, 3)


def flush(d):
    return d.soup([("ASYNC",), ("SYNC",)], 2)


def object_(d):
    name = d.pick(("ENCODING", "ENCODING", "ENCODING", "FREQ", "IDLETIME", "REFCOUNT"))
    return [d.case(name), d.key()]


def memory(d):
    return [d.case("USAGE"), d.key()] + d.soup([("SAMPLES", d.small_integer)], 2)


def swap(d):
    return [d.database(), d.database()]


COMMANDS = {
    "DEL": (4, lambda d: d.keys()),
    "UNLINK": (2, lambda d: d.keys()),
    "EXISTS": (4, lambda d: d.keys()),
    "TOUCH": (2, lambda d: d.keys()),
    "TYPE": (3, lambda d: [d.key()]),
    "RENAME": (5, lambda d: [d.key(), d.key()]),
    "RENAMENX": (4, lambda d: [d.key(), d.key()]),
    "COPY": (6, copy),
    "MOVE": (4, lambda d: [d.key(), d.database()]),
    "SWAPDB": (1, swap),
    "RANDOMKEY": (2, lambda d: []),
    "KEYS": (3, lambda d: [d.pattern()]),
    "SCAN": (3, scan),
    "EXPIRE": (5, lambda d: [d.key(), d.seconds()] + conditions(d)),
    "PEXPIRE": (5, lambda d: [d.key(), d.milliseconds()] + conditions(d)),
    "EXPIREAT": (5, lambda d: [d.key(), d.unix_seconds()] + conditions(d)),
    "PEXPIREAT": (5, lambda d: [d.key(), d.unix_milliseconds()] + conditions(d)),
    "EXPIRETIME": (3, lambda d: [d.key()]),
    "PEXPIRETIME": (3, lambda d: [d.key()]),
    "TTL": (4, lambda d: [d.key()]),
    "PTTL": (4, lambda d: [d.key()]),
    "PERSIST": (4, lambda d: [d.key()]),
    "DBSIZE": (2, lambda d: []),
    "FLUSHDB": (0.5, flush),
    "FLUSHALL": (0.3, flush),
    "OBJECT": (6, object_),
    "MEMORY": (2, memory),
    "SELECT": (2, lambda d: [d.database()]),
}

SAME = {
    "KEYS": compare.unordered,
    "SCAN": compare.scan,
    "RANDOMKEY": compare.kind,
    "TTL": compare.seconds,
    "EXPIRETIME": compare.seconds,
    "PTTL": compare.milliseconds,
    "PEXPIRETIME": compare.milliseconds,
    "OBJECT IDLETIME": compare.kind,  # Redis keeps one time for all uses of a small integer
    "OBJECT FREQ": compare.kind,
    "MEMORY USAGE": compare.kind,
}

METADATA = [name for name in COMMANDS if name not in ("MEMORY", "SELECT")]
