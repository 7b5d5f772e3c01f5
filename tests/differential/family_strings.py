"""String commands."""


def expiries(d):
    return [
        ("EX", d.seconds),
        ("PX", d.milliseconds),
        ("EXAT", d.unix_seconds),
        ("PXAT", d.unix_milliseconds),
    ]


def set_(d):
    plain = d.chance(0.4)
    options = [("NX",), ("XX",), ("GET",), ("KEEPTTL",)] + expiries(d)
    return [d.key(), d.value()] + ([] if plain else d.soup(options, 3))


def getex(d):
    return [d.key()] + d.soup(expiries(d) + [("PERSIST",)], 2)


def pairs(d):
    words = []
    for _ in range(d.random.randint(1, 4)):
        words += [d.key(), d.value()]
    return words


def lcs(d):
    options = [("LEN",), ("IDX",), ("WITHMATCHLEN",), ("MINMATCHLEN", d.small_integer)]
    return [d.key(), d.key()] + d.soup(options, 3)


def offset(d):
    style = d.random.random()
    if style < 0.8:
        return b"%d" % d.random.randint(0, 100)
    if style < 0.85:
        return b"%d" % d.pick((16000, 16384, 20000))
    # 2**29 bytes is the longest string there may be; the value behind it makes it too long.
    return d.pick((b"536870912", b"536870913", b"9223372036854775807", b"-1", b"9223372036854775808", b"x"))


# Name: how often beside the others, and the words behind the name.
COMMANDS = {
    "SET": (12, set_),
    "GET": (10, lambda d: [d.key()]),
    "GETEX": (5, getex),
    "GETDEL": (2, lambda d: [d.key()]),
    "GETSET": (3, lambda d: [d.key(), d.value()]),
    "GETRANGE": (4, lambda d: [d.key(), d.small_integer(), d.small_integer()]),
    "SUBSTR": (1, lambda d: [d.key(), d.small_integer(), d.small_integer()]),
    "SETRANGE": (5, lambda d: [d.key(), offset(d), d.value()]),
    "APPEND": (5, lambda d: [d.key(), d.value()]),
    "STRLEN": (4, lambda d: [d.key()]),
    "INCR": (4, lambda d: [d.key()]),
    "DECR": (3, lambda d: [d.key()]),
    "INCRBY": (4, lambda d: [d.key(), d.integer()]),
    "DECRBY": (4, lambda d: [d.key(), d.integer()]),
    "INCRBYFLOAT": (6, lambda d: [d.key(), d.float()]),
    "MGET": (4, lambda d: d.keys()),
    "MSET": (4, pairs),
    "MSETNX": (3, pairs),
    "SETNX": (3, lambda d: [d.key(), d.value()]),
    "SETEX": (3, lambda d: [d.key(), d.seconds(), d.value()]),
    "PSETEX": (3, lambda d: [d.key(), d.milliseconds(), d.value()]),
    "LCS": (3, lcs),
}

# Commands whose replies are the same in another sense than byte for byte.
SAME = {}

METADATA = list(COMMANDS)
