"""SORT over lists, sets and sorted sets, by their elements and by what other keys hold. Weights and
values lie in the common keys too, so that patterns meet keys of every type."""


ELEMENTS = [b"1", b"2", b"3", b"10", b"-1", b"1.5", b"a", b"b", b"c", b"", b"01", b"1e3", b" 4", b"0x10", b"-0",
            b"9007199254740993", b"9223372036854775807", b"inf", b"-inf", b"nan", b"1x", b"key:{a}", b"1e308",
            b"1e309", b"-1e400", b"5e-324", b"1e-310"]
PATTERNS = [b"*", b"w*", b"h*->f", b"h*->g", b"w*->f", b"h*->", b"*->f", b"nosort", b"#", b"##", b"w*x", b"w**", b"", b"h*-"]


def element(d):
    return b"%d" % d.random.randint(-20, 40) if d.chance(0.75) else d.pick(ELEMENTS)


def elements(d, most=8):
    numbers = d.chance(0.7)
    draw = (lambda: b"%d" % d.random.randint(-50, 99)) if numbers else (lambda: element(d))
    n = 400 if d.chance(0.02) else d.random.randint(1, most)
    return [draw() for _ in range(n)]


def weight(d):
    return b"w" + element(d)


def weighed(d):
    return [weight(d), d.pick((b"%d" % d.random.randint(-9, 9), b"%.3f" % d.random.uniform(-9, 9), element(d)))]


def limits(d):
    return b"%d" % d.random.randint(-3, 12) if d.chance(0.9) else d.integer()


def sort(d, stores=True):
    number = lambda: limits(d)
    options = [
        ("GET", lambda: d.pick(PATTERNS)),
        ("GET", lambda: b"#"),
        ("ALPHA",),
        ("ASC",),
        ("DESC",),
    ]
    # What sorts alike stands in the order of the set, which is each server's own: it must not be stored.
    if d.chance(0.3 if stores else 0.03):
        options += [("STORE", d.key), ("BY", lambda: b"nosort")]
    else:
        options += [("LIMIT", number, number), ("BY", lambda: d.pick(PATTERNS))]
    return [d.key()] + d.soup(options, 5)


def scored(d):
    words = []
    for e in elements(d):
        words += [b"%d" % d.random.randint(-5, 5), e]
    return words


COMMANDS = {
    "SORT": (30, sort),
    "SORT_RO": (10, lambda d: sort(d, False)),
    "RPUSH": (10, lambda d: [d.key()] + elements(d)),
    "SADD": (8, lambda d: [d.key()] + elements(d)),
    "ZADD": (6, lambda d: [d.key()] + scored(d)),
    "SET": (10, weighed),
    "HSET": (8, lambda d: [b"h" + element(d), d.pick((b"f", b"g")), element(d)]),
    "DEL": (6, lambda d: [d.key()]),
    "OBJECT": (3, lambda d: [b"ENCODING", d.key()]),
    "TYPE": (2, lambda d: [d.key()]),
}


def sorted_alike(a, b):
    """Elements that weigh the same, or are not sorted at all, stand in the order of the set; with LIMIT
    not even the same ones are given."""
    return isinstance(a, list) and isinstance(b, list) and len(a) == len(b)


def before(key):
    """Redis's SORT believes that a number was out of range when one was before: of any command, or a score of the
    sorted set that it makes a big one. So that is done first, and then a number is read that is in range."""
    return [b"SORT_RO", key, b"BY", b"nosort", b"LIMIT", b"0", b"0"], [b"ZADD", b"none", b"XX", b"0", b"m"]


BEFORE = {"SORT": before, "SORT_RO": before}

SAME = {"SORT": sorted_alike, "SORT_RO": sorted_alike}

CONTENT = {
    b"list": lambda key: [b"SORT", key, b"BY", b"nosort"],
    b"set": lambda key: [b"SORT", key, b"ALPHA"],
    b"hash": lambda key: [b"HGETALL", key],
    b"zset": lambda key: [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
}

METADATA = ["SORT", "SORT_RO"]
