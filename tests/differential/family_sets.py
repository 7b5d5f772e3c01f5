"""Set commands. Few members, so that sets meet; integers at the limits of each width among them. What is
drawn at random would leave different sets behind: SPOP takes all, or from a key that holds one member."""

import compare

MEMBERS = [b"m", b"n", b"", b"bin\x00\r\n\xff", b"n" * 64, b"n" * 65, b"n" * 300, b"01", b"+1", b"-0", b"1.0"]
NUMBERS = [0, 1, -1, 2, 7, 32767, 32768, -32768, -32769, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1,
           2**63 - 1, -(2**63), 2**63, -(2**63) - 1]
SINGLE = b"single"


def number(d):
    return b"%d" % (d.random.randint(-20, 60) if d.chance(0.7) else d.pick(NUMBERS))


def member(d):
    style = d.random.random()
    if style < 0.45:
        return number(d)
    if style < 0.8:
        return d.pick(MEMBERS)
    if style < 0.97:
        return b"m%d" % d.random.randrange(40)
    return d.value()


def members(d, most=5):
    draw = number if d.chance(0.6) else member
    return [draw(d) for _ in range(d.random.randint(1, most))]


def add(d):
    if d.chance(0.04):
        return [SINGLE, b"m"]
    if d.chance(0.03):  # across the limit of entries
        n = d.pick((100, 511, 512, 513, 700))
        if d.chance(0.7):
            return [d.key()] + [b"%d" % (i * d.pick((1, 1, 1, 100000))) for i in range(n)]
        return [d.key()] + [b"m%d" % i for i in range(n)]
    return [d.key()] + members(d, 8)


def remove(d):
    if d.chance(0.03):
        return [d.key()] + [b"%d" % i for i in range(600)]
    return [d.key()] + members(d, 6)


WRONG = (b"-1", b"-9223372036854775808", b"9223372036854775808", b"x", b"", b"1.5", b" 1")


def pop(d):
    style = d.random.random()
    if style < 0.3:
        return [SINGLE]
    if style < 0.5:
        return [SINGLE, b"%d" % d.random.randrange(3)]
    if style < 0.8:
        return [d.key(), d.pick((b"0", b"100000", b"9223372036854775807"))]
    if style < 0.85:
        return d.pick(([], [b"1", d.key()], [SINGLE, b"1", b"2"]))
    return [d.key(), d.pick(WRONG)] + ([b"2"] if d.chance(0.2) else [])


def random_members(d):
    words = [d.key() if d.chance(0.9) else SINGLE]
    if d.chance(0.8):
        style = d.random.random()
        if style < 0.8:
            words.append(b"%d" % d.random.randint(-12, 30))
        elif style < 0.9:
            words.append(d.pick((b"600", b"-600", b"0", b"1000", b"9223372036854775807")))
        else:
            words.append(d.pick(WRONG[1:]))
        if d.chance(0.05):
            words.append(b"1")
    return words


def scan(d):
    cursor = b"0" if d.chance(0.9) else d.pick((b"", b"00", b"+0", b"-", b"abc", b" 0", b"0 ", b"18446744073709551616"))
    numbers = lambda: b"1000000" if d.chance(0.6) else d.integer()
    pattern = lambda: d.pick((b"*", b"m*", b"1*", b"-*", b"?", b"[0-9]")) if d.chance(0.7) else d.pattern()
    return [d.key(), cursor] + d.soup([("MATCH", pattern), ("COUNT", numbers)], 3)


def count_of(d):
    n = d.random.randint(1, 4)
    words = [b"%d" % n if d.chance(0.85) else d.small_integer()] + [d.key() for _ in range(n)]
    limit = lambda: b"%d" % d.random.randint(0, 6) if d.chance(0.8) else d.integer()
    return words + d.soup([("LIMIT", limit)], 2)


def limits(d):
    return [d.case("SET"), b"set-max-intset-entries", d.pick((b"512", b"512", b"0", b"1", b"3", b"20", b"600"))]


COMMANDS = {
    "SADD": (22, add),
    "SREM": (10, remove),
    "SMEMBERS": (5, lambda d: [d.key()]),
    "SISMEMBER": (5, lambda d: [d.key(), member(d)]),
    "SMISMEMBER": (4, lambda d: [d.key()] + members(d)),
    "SCARD": (4, lambda d: [d.key()]),
    "SMOVE": (7, lambda d: [d.key(), d.key(), member(d)]),
    "SPOP": (5, pop),
    "SRANDMEMBER": (5, random_members),
    "SINTER": (5, lambda d: d.keys(4)),
    "SINTERSTORE": (4, lambda d: d.keys(4) + [d.key()]),
    "SINTERCARD": (5, count_of),
    "SUNION": (5, lambda d: d.keys(4)),
    "SUNIONSTORE": (4, lambda d: d.keys(4) + [d.key()]),
    "SDIFF": (5, lambda d: d.keys(5)),
    "SDIFFSTORE": (4, lambda d: d.keys(5) + [d.key()]),
    "SSCAN": (5, scan),
    "CONFIG": (0.3, limits),
    "DEL": (3, lambda d: [d.key()]),
    "OBJECT": (4, lambda d: [b"ENCODING", d.key()]),
    "TYPE": (2, lambda d: [d.key()]),
}


def drawn(a, b):
    """Of one member nothing can be said; of many, how many they are, and what they are where no member
    is twice in either and so they may be all."""
    if a is None or b is None or isinstance(a, bytes):
        return type(a) is type(b)
    return isinstance(a, list) and isinstance(b, list) and len(a) == len(b)


def scanned(a, b):
    """Whole walks are the same; else each server divides the walk as it likes."""
    if not compare.scan(a, b):
        return False
    if a[0] != b"0" or b[0] != b"0":
        return True
    return sorted(a[1]) == sorted(b[1])


SAME = {
    "SMEMBERS": compare.unordered,
    "SRANDMEMBER": drawn,
    "SPOP": compare.unordered,
    "SINTER": compare.unordered,
    "SUNION": compare.unordered,
    "SDIFF": compare.unordered,
    "SSCAN": scanned,
}

CONTENT = {b"set": lambda key: [b"SMEMBERS", key]}

# So that what is drawn is certain.
UNSPOILED = {"SPOP", SINGLE}

METADATA = [name for name in COMMANDS if name[0] == "S"]
