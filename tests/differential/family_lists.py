"""List commands. Few values, so that those that compare find something, and lists of many nodes."""

VALUES = [b"a", b"b", b"c", b"1", b"-7", b"", b"bin\x00\r\n\xff", b"m" * 63, b"m" * 64, b"m" * 300, b"12345678901"]


def element(d):
    style = d.random.random()
    if style < 0.7:
        return d.pick(VALUES)
    if style < 0.8:
        return b"e%d" % d.random.randrange(1000)
    if style < 0.84:  # around the limit of a node
        return d.pick((b"n", b"o")) * d.pick((4000, 8170, 8180, 8192, 8193, 9000))
    return d.value()


def elements(d):
    if d.chance(0.03):  # some nodes
        n = d.pick((100, 500, 2100, 3000))
        return [d.pick((b"%d" % i, b"element:%d" % i, d.pick(VALUES))) for i in range(n)]
    return [element(d) for _ in range(d.random.randint(1, 6))]


def index(d):
    style = d.random.random()
    if style < 0.6:
        return b"%d" % d.random.randint(-12, 12)
    if style < 0.8:
        return b"%d" % d.random.randint(-3000, 3000)
    return d.integer()


def count(d):
    style = d.random.random()
    if style < 0.8:
        return b"%d" % d.random.randint(-3, 12)
    if style < 0.9:
        return b"%d" % d.pick((0, 100, 1000, 5000))
    return d.integer()


def end(d):
    return d.case(d.pick(("LEFT", "RIGHT"))) if d.chance(0.96) else d.pick((b"", b"UP", b"l"))


def place(d):
    return d.case(d.pick(("BEFORE", "AFTER"))) if d.chance(0.96) else d.pick((b"", b"LEFT", b"x"))


def pop(d):
    return [d.key()] + ([count(d)] if d.chance(0.5) else [])


def range_(d):
    return [d.key(), index(d), index(d)] if d.chance(0.8) else [d.key(), b"0", b"-1"]


def trim(d):
    if d.chance(0.2):
        return range_(d)
    return [d.key(), b"%d" % d.random.randint(-1, 3), b"%d" % d.random.randint(-4, 2)]


def positions(d):
    options = [("RANK", lambda: count(d)), ("COUNT", lambda: count(d)), ("MAXLEN", lambda: count(d))]
    return [d.key(), element(d)] + d.soup(options, 3)


def many(d, keys):
    numkeys = b"%d" % len(keys) if d.chance(0.93) else d.integer()
    words = [numkeys] + keys + [end(d)]
    if d.chance(0.5):
        words += [d.case("COUNT"), count(d)]
        if d.chance(0.05):
            words += [d.case("COUNT"), b"1"]
    return words


# Where those that wait would have to, their time is short or wrong.


def timeout(d):
    if d.chance(0.85):
        return d.pick((b"0.001", b"0.002", b"0.0005", b"1e-3"))
    return d.pick((b"", b"abc", b"-1", b"-0.1", b"inf", b"nan", b"1e400", b"9223372036854775807", b"-0x1"))


COMMANDS = {
    "LPUSH": (12, lambda d: [d.key()] + elements(d)),
    "RPUSH": (12, lambda d: [d.key()] + elements(d)),
    "LPUSHX": (4, lambda d: [d.key()] + elements(d)),
    "RPUSHX": (4, lambda d: [d.key()] + elements(d)),
    "LPOP": (6, pop),
    "RPOP": (6, pop),
    "LLEN": (4, lambda d: [d.key()]),
    "LINDEX": (7, lambda d: [d.key(), index(d)]),
    "LSET": (8, lambda d: [d.key(), index(d), element(d)]),
    "LRANGE": (8, range_),
    "LINSERT": (8, lambda d: [d.key(), place(d), element(d), element(d)]),
    "LREM": (6, lambda d: [d.key(), count(d), element(d)]),
    "LTRIM": (4, trim),
    "LPOS": (8, positions),
    "LMOVE": (7, lambda d: [d.key(), d.key(), end(d), end(d)]),
    "RPOPLPUSH": (5, lambda d: [d.key(), d.key()]),
    "LMPOP": (6, lambda d: many(d, d.keys(3))),
    "BLPOP": (3, lambda d: d.keys(3) + [timeout(d)]),
    "BRPOP": (3, lambda d: d.keys(3) + [timeout(d)]),
    "BLMOVE": (3, lambda d: [d.key(), d.key(), end(d), end(d), timeout(d)]),
    "BRPOPLPUSH": (3, lambda d: [d.key(), d.key(), timeout(d)]),
    "BLMPOP": (3, lambda d: [timeout(d)] + many(d, d.keys(3))),
    "DEL": (1, lambda d: [d.key()]),
}

SAME = {}

LIMITS = {
    "list-max-listpack-size": (-2, -2, -1, -5, 1, 3, 50),
    "list-compress-depth": (0, 0, 1, 2),
}

# All of it, by indexes that are the name of no key.
CONTENT = {b"list": lambda key: [b"LRANGE", key, b"-4611686018427387904", b"4611686018427387903"]}

METADATA = [name for name in COMMANDS if name != "DEL"]

# Another last argument would be a time to wait, perhaps for ever.
UNSPOILED = ["BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP"]
