"""Stream commands. Ids are explicit and small mostly, so that they meet; times are far apart, or compared
within bounds."""

import compare
from draw import NOT_INTEGERS

GROUPS = [b"g", b"h", b"group", b"", b"g\x00x", b"longer group name", b"longer group namf"]
CONSUMERS = [b"c", b"d", b"consumer", b"", b"consumer1", b"consumer2"]
FIELDS = [b"f", b"field", b"1", b"", b"other"]
BIG = [2**64 - 1, 2**64 - 2, 2**63, 2**63 - 1, 2**64]
BAD_IDS = [b"", b"-", b"+", b"*", b"$", b">", b"1-", b"-1", b"1-1-1", b"a", b"1-a", b"1--1", b"01-1", b" 1-1", b"(", b"1-01",
           b"1-+2", b"1-- 3", b"1-\x00", b"1\x00-1", b"1" * 127, b"1" * 128, b"0-0", b"0", b"1-*", b"5-*"]


def key(d):
    """Long streams need many commands on one key."""
    return d.pick((b"a", b"b")) if d.chance(0.7) else d.key()


def entry_id(d):
    style = d.random.random()
    if style < 0.8:
        return b"%d-%d" % (d.random.randrange(40), d.random.randrange(6))
    if style < 0.9:
        return b"%d" % d.random.randrange(40)
    if style < 0.97:
        return b"%d-%d" % (d.pick((5, 256, 2**24, 2**32, 2**40)), d.pick([0, 1, 255, 256, 65536, 2**32] + BIG))
    return d.pick(BAD_IDS)


def growing_id(d):
    """Mostly above what is there, as the ids of a run go up."""
    d.stream_ms = getattr(d, "stream_ms", 1)
    style = d.random.random()
    if style < 0.7:
        if d.chance(0.3):
            d.stream_ms += d.pick((0, 1, 1, 1, 3, 255, 256))
        d.stream_seq = getattr(d, "stream_seq", 0) + 1
        return b"%d-%d" % (d.stream_ms, d.stream_seq) if d.chance(0.6) else b"%d-*" % d.stream_ms
    if style < 0.72:
        return b"%d-%d" % (d.pick((2**64 - 1, 2**48)), d.pick((2**64 - 1, 0, 5)))
    if style < 0.73:
        d.stream_ms = d.stream_seq = 1
    drawn = entry_id(d)
    return b"1-*" if drawn == b"*" else drawn  # the two servers' clocks differ


def bound(d):
    if d.chance(0.35):
        return d.pick((b"-", b"+"))
    return (b"(" if d.chance(0.2) else b"") + entry_id(d)


def group(d):
    return b"g" if d.chance(0.6) else d.pick(GROUPS)


def consumer(d):
    return d.pick(CONSUMERS[:3]) if d.chance(0.8) else d.pick(CONSUMERS)


def words(d):
    n = d.random.randint(1, 3)
    if d.chance(0.5):
        names = FIELDS[:n]
    else:
        names = [d.pick(FIELDS) for _ in range(n)]
    out = []
    for name in names:
        out += [name, d.value() if d.chance(0.3) else b"%d" % d.random.randrange(1000)]
    return out


def trim(d):
    if d.chance(0.5):
        option = [d.case("MAXLEN")]
        value = b"%d" % d.random.randrange(30) if d.chance(0.9) else d.integer()
    else:
        option = [d.case("MINID")]
        value = entry_id(d)
    style = d.random.random()
    approximate = style < 0.4
    if approximate:
        option.append(b"~")
    elif style < 0.6:
        option.append(b"=")
    option.append(value)
    if d.chance(0.5 if approximate else 0.05):
        option += [d.case("LIMIT"), b"%d" % d.random.randrange(20) if d.chance(0.9) else d.integer()]
    return option


def xadd(d):
    options = []
    if d.chance(0.1):
        options.append(d.case("NOMKSTREAM"))
    if d.chance(0.2):
        options += trim(d)
    if d.chance(0.02):
        options += trim(d)
    return [key(d)] + options + [growing_id(d)] + words(d)


def xtrim(d):
    return [key(d)] + trim(d) + (trim(d) if d.chance(0.03) else [])


def ids(d, most=5):
    return [entry_id(d) for _ in range(d.random.randint(1, most))]


def xrange(d):
    return [key(d), bound(d), bound(d)] + d.soup([("COUNT", d.small_integer)], 1)


def xrevrange(d):
    return [key(d), bound(d), bound(d)] + d.soup([("COUNT", d.small_integer)], 1)


def xsetid(d):
    return [key(d), growing_id(d)] + d.soup([("ENTRIESADDED", d.small_integer), ("MAXDELETEDID", lambda: entry_id(d))], 2)


def streams(d, special):
    n = d.random.randint(1, 3)
    return [d.case("STREAMS")] + [key(d) for _ in range(n)] + [special if d.chance(0.5) else entry_id(d) for _ in range(n)]


def xread(d):
    return d.soup([("COUNT", d.small_integer)], 1) + streams(d, b"$" if d.chance(0.3) else b"0")


def xreadgroup(d):
    options = d.soup([("COUNT", d.small_integer), ("NOACK",)], 2)
    which = [d.case("GROUP"), group(d), consumer(d)]
    return (which + options if d.chance(0.8) else options + which) + streams(d, b">")


def xgroup(d):
    name = d.pick(("CREATE",) * 6 + ("SETID", "SETID", "DESTROY", "CREATECONSUMER", "CREATECONSUMER", "DELCONSUMER", "BOGUS"))
    base = [d.case(name), key(d), group(d)]
    where = lambda: d.pick((b"$", b"0", b"0", b"-", entry_id(d), entry_id(d)))
    read = ("ENTRIESREAD", d.small_integer)
    if name == "CREATE":
        return base + [where()] + d.soup([("MKSTREAM",), ("MKSTREAM",), read], 2)
    if name == "SETID":
        return base + [where()] + d.soup([read], 2)
    if name == "DESTROY":
        return base
    return base + [consumer(d)]


def idle(d):
    """Nothing is idle that long, or everything is."""
    return d.pick((b"0", b"0", b"0", b"-5", b"100000000000")) if d.chance(0.95) else d.pick(NOT_INTEGERS)


def xclaim(d):
    now = d.now_s * 1000
    options = [
        ("IDLE", lambda: b"%d" % d.pick((0, 10**8, -1, 2**62))),
        ("TIME", lambda: b"%d" % d.pick((0, now - 10**9, now + 10**12, -5))),
        ("RETRYCOUNT", d.small_integer),
        ("FORCE",),
        ("FORCE",),
        ("JUSTID",),
        ("LASTID", lambda: entry_id(d)),
    ]
    return [key(d), group(d), consumer(d), idle(d)] + ids(d) + d.soup(options, 3)


def xautoclaim(d):
    count = lambda: b"%d" % d.random.randint(-1, 6) if d.chance(0.95) else d.pick(NOT_INTEGERS + [b"1000000000000000000"])
    return [key(d), group(d), consumer(d), idle(d), bound(d)] + d.soup([("COUNT", count), ("JUSTID",)], 2)


def xpending(d):
    if d.chance(0.3):
        return [key(d), group(d)]
    out = [key(d), group(d)]
    if d.chance(0.3):
        out += [d.case("IDLE"), idle(d)]
    out += [bound(d), bound(d), d.small_integer()]
    if d.chance(0.4):
        out.append(consumer(d))
    return out


def xinfo(d):
    name = d.pick(("STREAM", "STREAM", "GROUPS", "CONSUMERS", "BOGUS"))
    if name == "STREAM":
        full = [d.case("FULL")] + d.soup([("COUNT", d.small_integer)], 1)
        return [d.case(name), key(d)] + (full if d.chance(0.6) else d.soup([("FULL",), ("COUNT", d.small_integer)], 1))
    if name == "CONSUMERS":
        return [d.case(name), key(d), group(d)]
    return [d.case(name), key(d)]


def times(a, b):
    """Equal, but for Unix times and spans in milliseconds, which must be of the same minute."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(times(x, y) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(times(x, y) for x, y in zip(a.values(), b.values()))
    if type(a) is int and type(b) is int and a > 0 and b > 0:
        # Small numbers count something: only those are spans that lie apart by what a run takes.
        return a == b or (a > 10**6 and abs(a - b) < compare.SECONDS * 1000)
    return a == b


def with_names(a, b):
    """Maps, flat in RESP2: idle and seen-time are times, everything else is not."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(named(name, a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        flat = len(a) and len(a) % 2 == 0 and all(isinstance(name, bytes) for name in a[::2]) and a[::2] == b[::2]
        if flat:
            return all(named(name, x, y) for name, x, y in zip(a[::2], a[1::2], b[1::2]))
        return all(with_names(x, y) for x, y in zip(a, b))
    return a == b


def named(name, a, b):
    if name in (b"idle", b"seen-time"):
        return isinstance(a, int) and isinstance(b, int) and abs(a - b) < compare.SECONDS * 1000
    if name == b"pending" and isinstance(a, list):
        return times(a, b)
    return with_names(a, b)


def pending(a, b):
    """[id, consumer, idle, deliveries] each."""
    if not isinstance(a, list) or not isinstance(b, list) or len(a) != len(b):
        return False
    for x, y in zip(a, b):
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            return False
        if len(x) == 4 and isinstance(x[2], int):
            if x[:2] + x[3:] != y[:2] + y[3:] or abs(x[2] - y[2]) > compare.SECONDS * 1000:
                return False
        elif x != y:
            return False
    return True


COMMANDS = {
    "XADD": (40, xadd),
    "XLEN": (2, lambda d: [key(d)]),
    "XRANGE": (6, xrange),
    "XREVRANGE": (6, xrevrange),
    "XDEL": (6, lambda d: [key(d)] + ids(d)),
    "XTRIM": (3, xtrim),
    "XSETID": (2, xsetid),
    "XREAD": (5, xread),
    "XREADGROUP": (16, xreadgroup),
    "XGROUP": (10, xgroup),
    "XACK": (5, lambda d: [key(d), group(d)] + ids(d)),
    "XCLAIM": (8, xclaim),
    "XAUTOCLAIM": (6, xautoclaim),
    "XPENDING": (6, xpending),
    "XINFO": (12, xinfo),
}

SAME = {
    "XPENDING": pending,
    "XINFO STREAM": with_names,
    "XINFO CONSUMERS": with_names,
}

METADATA = list(COMMANDS)

LIMITS = {"stream-node-max-entries": (0, 1, 2, 3, 5, 100), "stream-node-max-bytes": (0, 40, 200, 4096)}

CONTENT = {b"stream": lambda key: [b"XRANGE", key, b"-", b"+"]}
