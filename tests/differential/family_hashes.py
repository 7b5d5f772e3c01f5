"""Hash commands. Few fields, so that commands meet, and values around the limits of the listpack."""

import compare

FIELDS = [b"f", b"g", b"1", b"-7", b"", b"bin\x00\r\n\xff", b"n" * 64, b"n" * 65, b"n" * 300, b"12345678901"]


def field(d):
    return d.pick(FIELDS) if d.chance(0.8) else b"f%d" % d.random.randrange(700)


def fields(d, most=4):
    return [field(d) for _ in range(d.random.randint(1, most))]


def value(d):
    style = d.random.random()
    if style < 0.6:
        return b"v%d" % d.random.randrange(100)
    if style < 0.8:
        return d.integer()
    return d.value()


def pairs(d):
    if d.chance(0.02):  # across the limit of entries
        n = d.pick((100, 511, 512, 513, 600))
        return [word for i in range(n) for word in (b"f%d" % i, b"%d" % i)]
    words = []
    for _ in range(d.random.randint(1, 5)):
        words += [field(d), value(d)]
    return words


def count(d):
    style = d.random.random()
    if style < 0.8:
        return b"%d" % d.random.randint(-12, 12)
    if style < 0.9:
        return d.pick((b"600", b"-600", b"0", b"1000", b"9223372036854775807"))
    # Negative ones are as many as they say: those out of range only.
    return d.pick((b"-9223372036854775808", b"9223372036854775808", b"x", b"", b"1.5"))


def random_field(d):
    words = [d.key()]
    if d.chance(0.8):
        words.append(count(d))
        if d.chance(0.5):
            words.append(d.case("WITHVALUES") if d.chance(0.95) else b"bogus")
    if len(words) == 3 and words[1] == b"9223372036854775807" and d.chance(0.9):
        words.pop()
    return words


def scan(d):
    cursor = b"0" if d.chance(0.9) else d.pick((b"", b"00", b"+0", b"-", b"abc", b" 0", b"0 ", b"18446744073709551616"))
    numbers = lambda: b"1000000" if d.chance(0.6) else d.integer()
    return [d.key(), cursor] + d.soup([("MATCH", d.pattern), ("COUNT", numbers)], 3)


def float_(d):
    return d.float()


COMMANDS = {
    "HSET": (14, lambda d: [d.key()] + pairs(d)),
    "HMSET": (5, lambda d: [d.key()] + pairs(d)),
    "HSETNX": (5, lambda d: [d.key(), field(d), value(d)]),
    "HGET": (7, lambda d: [d.key(), field(d)]),
    "HMGET": (5, lambda d: [d.key()] + fields(d)),
    "HGETALL": (4, lambda d: [d.key()]),
    "HKEYS": (3, lambda d: [d.key()]),
    "HVALS": (3, lambda d: [d.key()]),
    "HLEN": (4, lambda d: [d.key()]),
    "HSTRLEN": (4, lambda d: [d.key(), field(d)]),
    "HEXISTS": (4, lambda d: [d.key(), field(d)]),
    "HDEL": (7, lambda d: [d.key()] + fields(d, 6)),
    "HINCRBY": (7, lambda d: [d.key(), field(d), d.integer()]),
    "HINCRBYFLOAT": (7, lambda d: [d.key(), field(d), float_(d)]),
    "HRANDFIELD": (6, random_field),
    "HSCAN": (6, scan),
    "DEL": (2, lambda d: [d.key()]),
}


def names_and_values(reply):
    """A list of pairs, of RESP2's flat list and RESP3's map alike."""
    if isinstance(reply, dict):
        return sorted(reply.items())
    return sorted(zip(reply[::2], reply[1::2]))


def whole(a, b):
    return type(a) is type(b) and len(a) == len(b) and names_and_values(a) == names_and_values(b)


def drawn(a, b):
    """Of one field nothing can be said; of many, how many they are. All of them are the same ones, but no
    reply says that it is all."""
    if a is None or b is None or isinstance(a, bytes):
        return type(a) is type(b)
    return isinstance(a, list) and isinstance(b, list) and len(a) == len(b)


def scanned(a, b):
    """Whole walks are the same; else each server divides the walk as it likes."""
    if not compare.scan(a, b):
        return False
    if a[0] != b"0" or b[0] != b"0":
        return True
    return names_and_values(a[1]) == names_and_values(b[1])


SAME = {
    "HGETALL": whole,
    "HKEYS": compare.unordered,
    "HVALS": compare.unordered,
    "HRANDFIELD": drawn,
    "HSCAN": scanned,
}

CONTENT = {b"hash": lambda key: [b"HGETALL", key]}

LIMITS = {
    "hash-max-listpack-entries": (512, 512, 4, 0),
    "hash-max-listpack-value": (64, 64, 10, 0),
}

METADATA = [name for name in COMMANDS if name != "DEL"]
