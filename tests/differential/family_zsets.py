"""Sorted set commands. Few members, so that commands meet; scores at the limits of what doubles and their
texts can say; sizes around the limits of the listpack.

Ranges of names make sense where all scores are the same. FLAT are keys of which that is true (whatever
words are exchanged: no member there reads as a score); MIXED have other scores too, but always stay small: a
big set would answer by the luck of its inner order."""

import compare

MEMBERS = [b"m", b"n", b"1", b"-7", b"", b"bin\x00\r\n\xff", b"n" * 64, b"n" * 65, b"n" * 300, b"12345678901", b"mm", b"\xff"]
SMALL_MEMBERS = [b"a", b"b", b"ab", b"1", b"12", b"-7", b"", b"bin\x00\r\n\xff", b"z" * 64, b"m", b"\xff"]
FLAT = [b"flat", b"flat{a}"]
FLAT_MEMBERS = [b"m", b"n", b"", b"bin\x00\r\n\xff", b"z" * 64, b"z" * 65, b"mm", b"\xff"]
MIXED = [b"mixed"]
SCORES = [
    b"0", b"-0", b"0.0", b"1", b"-1", b"inf", b"-inf", b"+inf", b"Infinity", b"nan", b"1e17", b"100000000000000000",
    b"4611686018427387904", b"4611686018427387903", b"-4611686018427387904", b"4611686018427388928", b"9223372036854775807",
    b"5e18", b"-5e18", b"1e300", b"-1e300", b"1e308", b"1.7976931348623157e308", b"1e309", b"5e-324", b"1e-400", b"0x10",
    b" 1", b"1 ", b"", b"(1", b"1\x00", b"007", b"+3", b"1e", b".5", b"5.", b"999999999999999", b"1000000000000000",
    b"9007199254740993", b"4503599627370497", b"0.1", b"3.0000000000000004", b"1" * 400, b"0." + b"0" * 300 + b"1",
]


def member(d):
    return d.pick(MEMBERS) if d.chance(0.8) else b"m%d" % d.random.randrange(300)


def members(d, most=4):
    return [member(d) for _ in range(d.random.randint(1, most))]


def score(d):
    style = d.random.random()
    if style < 0.6:
        return b"%d" % d.random.randint(-5, 15)
    if style < 0.8:
        return b"%.*f" % (d.random.randint(0, 6), d.random.uniform(-20, 20))
    return d.pick(SCORES) if style < 0.98 else d.float()


def good_score(d):
    return b"%d" % d.random.randint(-5, 15) if d.chance(0.7) else d.pick((b"inf", b"-inf", b"0.1", b"-0", b"1e17", b"5e18"))


def many(d):
    n = d.pick((60, 126, 127, 128, 129, 200)) if d.chance(0.97) else 2600  # longer than one turn answers
    return [word for i in range(n) for word in (good_score(d) if d.chance(0.5) else b"%d" % i, b"m%d" % i)]


def zadd(d):
    style = d.random.random()
    if style < 0.15:
        return [d.pick(FLAT)] + [w for m in range(d.random.randint(1, 6)) for w in (b"0", d.pick(FLAT_MEMBERS))]
    if style < 0.17:
        return [d.pick(FLAT)] + [w for m in range(d.pick((100, 130))) for w in (b"0", b"m%d" % d.random.randrange(1000))]
    if style < 0.25:
        return [d.pick(MIXED)] + [w for m in range(d.random.randint(1, 3)) for w in (score(d), d.pick(SMALL_MEMBERS))]
    words = [d.key()]
    if style < 0.30:
        return words + many(d)
    if d.chance(0.4):
        words += [d.case(d.pick(("NX", "XX", "GT", "LT", "CH", "INCR"))) for _ in range(d.random.randint(1, 3))]
        if d.chance(0.7):
            return words + [score(d), member(d)]
    good = d.chance(0.7)
    for _ in range(d.random.randint(1, 5)):
        words += [good_score(d) if good else score(d), member(d)]
    if d.chance(0.02):
        words.pop()
    return words


def lex_key(d):
    return d.pick(FLAT + FLAT + MIXED) if d.chance(0.95) else b"none"


def zset_key(d):
    return d.key() if d.chance(0.9) else d.pick(FLAT + MIXED)


def lex(d):
    style = d.random.random()
    if style < 0.2:
        return d.pick((b"-", b"+"))
    if style < 0.9:
        return d.pick((b"[", b"(")) + (member(d) if d.chance(0.6) else d.pick(SMALL_MEMBERS))
    return d.pick((b"", b"m", b"+x", b"-\x00", b"[", b"(", b"*", b"+\x00x"))


def bound(d):
    style = d.random.random()
    if style < 0.25:
        return d.pick((b"-inf", b"+inf", b"inf", b"(inf", b"(-inf"))
    if style < 0.7:
        return (b"(" if d.chance(0.3) else b"") + b"%d" % d.random.randint(-6, 16)
    if style < 0.95:
        return (b"(" if d.chance(0.3) else b"") + score(d)
    return d.pick((b"", b"(", b"((1", b"1\x00x", b"( 1", b"nan", b"(nan", b"x"))


def index(d):
    return d.small_integer() if d.chance(0.3) else b"%d" % d.random.randint(-12, 12)


def limit(d):
    return [("LIMIT", lambda: index(d), lambda: index(d))]


def by_rank(d):
    return [zset_key(d), index(d), index(d)] + d.soup([("WITHSCORES",)], 1)


def by_score(d):
    return [zset_key(d), bound(d), bound(d)] + d.soup(limit(d) + [("WITHSCORES",)], 2)


def by_lex(d):
    """A LIMIT passes members by without a look at their names, which only FLAT does not show."""
    options = d.soup(limit(d) + ([("WITHSCORES",)] if d.chance(0.1) else []), 2)
    return [d.pick(FLAT) if options else lex_key(d), lex(d), lex(d)] + options


def zrange(d, store=False):
    """Key, bounds, options: mostly such as go together. What stores never names FLAT, which it could store to
    when words are exchanged."""
    kind = d.pick((None, None, b"BYSCORE", b"BYLEX"))
    by_name = kind == b"BYLEX"
    key = (d.pick(MIXED) if by_name else d.key()) if store else lex_key(d) if by_name else zset_key(d)
    draw = {None: index, b"BYSCORE": bound, b"BYLEX": lex}[kind]
    options = [[kind]] if kind else []
    if d.chance(0.4):
        options.append([d.case("REV")])
    if d.chance(0.4 if kind else 0.05) and not (by_name and key in MIXED):
        options.append([d.case("LIMIT"), index(d), index(d)])
    if not store and d.chance(0.4 if kind != b"BYLEX" else 0.05):
        options.append([d.case("WITHSCORES")])
    if d.chance(0.03):
        options.append([d.pick((b"bogus", b"LIMIT", b"REV", b"WITHSCORES"))])
    d.random.shuffle(options)
    return [key, draw(d), draw(d)] + [word for option in options for word in option]


def sources(d, options, most=4, draw=None):
    n = d.random.randint(1, most)
    keys = [(draw or zset_key)(d) for _ in range(n)]
    words = [b"%d" % n if d.chance(0.95) else d.pick((b"0", b"-1", b"x", b"100", b"9223372036854775807", b""))] + keys
    if "WEIGHTS" in options and d.chance(0.4):
        words += [d.case("WEIGHTS")] + [score(d) if d.chance(0.1) else good_score(d) for _ in range(n)]
    if "AGGREGATE" in options and d.chance(0.4):
        words += [d.case("AGGREGATE"), d.case(d.pick(("SUM", "MIN", "MAX"))) if d.chance(0.95) else b"avg"]
    if "WITHSCORES" in options and d.chance(0.5):
        words.append(d.case("WITHSCORES"))
    if "LIMIT" in options and d.chance(0.5):
        words += [d.case("LIMIT"), index(d)]
    if d.chance(0.02):
        words.append(d.pick((b"bogus", b"WITHSCORES", b"LIMIT", b"WEIGHTS", b"AGGREGATE")))
    return words


def stores(d, options):
    return [d.key()] + sources(d, options, 3, lambda d: d.key())


WEIGHTED = ("WEIGHTS", "AGGREGATE")


def count(d):
    style = d.random.random()
    if style < 0.8:
        return b"%d" % d.random.randint(-12, 12)
    if style < 0.9:
        return d.pick((b"200", b"-200", b"0", b"1000", b"9223372036854775807"))
    return d.pick((b"-9223372036854775808", b"9223372036854775808", b"x", b"", b"1.5"))


def random_member(d):
    words = [zset_key(d)]
    if d.chance(0.8):
        words.append(count(d))
        if d.chance(0.5):
            words.append(d.case("WITHSCORES") if d.chance(0.95) else b"bogus")
    return words


def pop(d):
    return [zset_key(d)] + ([count(d)] if d.chance(0.5) else [])


def timeout(d):
    return b"0.003" if d.chance(0.9) else d.pick((b"-1", b"x", b"", b"nan", b"-0.5"))


def mpop(d):
    n = d.random.randint(1, 3)
    words = [b"%d" % n if d.chance(0.95) else d.pick((b"0", b"-1", b"x", b"100", b"9223372036854775807"))]
    words += [zset_key(d) for _ in range(n)] + [d.case(d.pick(("MIN", "MAX"))) if d.chance(0.97) else b"bogus"]
    return words + d.soup([("COUNT", lambda: count(d))], 2)


def scan(d):
    cursor = b"0" if d.chance(0.9) else d.pick((b"", b"00", b"+0", b"-", b"abc", b" 0", b"0 ", b"18446744073709551616"))
    numbers = lambda: b"1000000" if d.chance(0.6) else d.integer()
    return [zset_key(d), cursor] + d.soup([("MATCH", d.pattern), ("COUNT", numbers)], 3)


COMMANDS = {
    "ZADD": (26, zadd),
    "ZINCRBY": (6, lambda d: [d.key(), score(d), member(d)]),
    "ZREM": (6, lambda d: [zset_key(d)] + members(d, 6)),
    "ZSCORE": (5, lambda d: [zset_key(d), member(d)]),
    "ZMSCORE": (3, lambda d: [zset_key(d)] + members(d)),
    "ZCARD": (3, lambda d: [zset_key(d)]),
    "ZCOUNT": (5, lambda d: [zset_key(d), bound(d), bound(d)]),
    "ZLEXCOUNT": (5, lambda d: [lex_key(d), lex(d), lex(d)]),
    "ZRANK": (5, lambda d: [zset_key(d), member(d)]),
    "ZREVRANK": (4, lambda d: [zset_key(d), member(d)]),
    "ZRANGE": (14, zrange),
    "ZRANGESTORE": (8, lambda d: [d.key()] + zrange(d, True)),
    "ZREVRANGE": (4, by_rank),
    "ZRANGEBYSCORE": (5, by_score),
    "ZREVRANGEBYSCORE": (5, by_score),
    "ZRANGEBYLEX": (5, by_lex),
    "ZREVRANGEBYLEX": (5, by_lex),
    "ZREMRANGEBYRANK": (3, lambda d: [zset_key(d), index(d), index(d)]),
    "ZREMRANGEBYSCORE": (3, lambda d: [zset_key(d), bound(d), bound(d)]),
    "ZREMRANGEBYLEX": (2, lambda d: [lex_key(d), lex(d), lex(d)]),
    "ZPOPMIN": (3, pop),
    "ZPOPMAX": (3, pop),
    "ZMPOP": (3, mpop),
    "BZMPOP": (1, lambda d: [timeout(d)] + mpop(d)),
    "ZRANDMEMBER": (4, random_member),
    "ZSCAN": (4, scan),
    "ZUNION": (5, lambda d: sources(d, WEIGHTED + ("WITHSCORES",))),
    "ZINTER": (5, lambda d: sources(d, WEIGHTED + ("WITHSCORES",), 3)),
    "ZDIFF": (5, lambda d: sources(d, ("WITHSCORES",), 3)),
    "ZUNIONSTORE": (5, lambda d: stores(d, WEIGHTED)),
    "ZINTERSTORE": (4, lambda d: stores(d, WEIGHTED)),
    "ZDIFFSTORE": (4, lambda d: stores(d, ())),
    "ZINTERCARD": (4, lambda d: sources(d, ("LIMIT",), 3)),
    "SADD": (3, lambda d: [d.key()] + (members(d) if d.chance(0.6) else [b"%d" % d.random.randint(-9, 9)])),
    "DEL": (2, lambda d: [d.key()]),
}


def drawn(a, b):
    """Of one member nothing can be said; of many, how many they are."""
    if a is None or b is None or isinstance(a, bytes):
        return type(a) is type(b)
    return isinstance(a, list) and isinstance(b, list) and len(a) == len(b)


def scanned(a, b):
    """Whole walks are the same; else each server divides the walk as it likes."""
    if not compare.scan(a, b):
        return False
    if a[0] != b"0" or b[0] != b"0":
        return True
    return sorted(zip(a[1][::2], a[1][1::2])) == sorted(zip(b[1][::2], b[1][1::2]))


SAME = {"ZRANDMEMBER": drawn, "ZSCAN": scanned}

def content(key):
    """Members and scores. What is added to each score changes minus zero to zero, as becoming a listpack does,
    which RESTORE may do. No other word may look like the key."""
    n = 3 if key == b"2" else 2
    return [b"ZUNION", b"%d" % n] + n * [key] + [b"WEIGHTS", b"1.0"] + (n - 1) * [b"-0.0"] + [b"WITHSCORES"]


CONTENT = {b"zset": content}

LIMITS = {  # never so low that MIXED becomes big
    "zset-max-listpack-entries": [128, 128, 12, 20, 300],
    "zset-max-listpack-value": [64, 64, 65, 300],
}

# Not among COMMANDS: with one more word these wait for so many seconds.
METADATA = [name for name in COMMANDS if name not in ("DEL", "SADD")] + ["BZPOPMIN", "BZPOPMAX"]
