"""Places in sorted sets: many in one spot, so that distances are equal; at the edges of the map; and all
ways to search."""

PLACES = [
    (13.361389, 38.115556), (15.087269, 37.502669), (12.758489, 38.788135), (17.241510, 38.788135), (0, 0),
    (2.349, 48.864), (-0.1276, 51.507), (-74.006, 40.7128), (151.2093, -33.8688), (139.69, 35.68), (179.99, 10),
    (-179.99, 10), (180, 0), (-180, 0), (0, 85.05112878), (0, -85.05112878), (100, 84.9), (-100, 84.8), (30, -80.5),
    (180, 85.05112878), (-180, -85.05112878), (13.361389, 0), (13.3613893, 38.2), (1e-7, -1e-7), (25, 67), (26, 66.5),
]
UNITS = ("m", "km", "ft", "mi")
NAMES = [b"p%d" % i for i in range(30)] + [b"%d" % i for i in range(-3, 6)] + [b"", b"12345678901", b"n" * 64, b"n" * 65]


def number(d, x):
    style = d.random.random()
    return repr(float(x)).encode() if style < 0.7 else b"%.*f" % (d.random.randint(0, 8), x) if style < 0.95 else b"%.3e" % x


def point(d):
    style = d.random.random()
    if style < 0.6:
        x, y = d.pick(PLACES)
    elif style < 0.75:
        x, y = d.pick(PLACES)
        far = d.pick((1e-6, 1e-3, 0.1, 2))
        x, y = x + d.random.uniform(-far, far), y + d.random.uniform(-far, far)
    else:
        x, y = d.random.uniform(-180, 180), d.random.uniform(-85, 85)
    if d.chance(0.99):
        x, y = min(max(x, -180), 180), min(max(y, -85.05112878), 85.05112878)
    if d.chance(0.99):
        return [number(d, x) if d.chance(0.9) else repr(float(x)).encode(), repr(float(y)).encode()]
    return [d.float(), d.float()]


def source(d):
    """Some keys that are full, and all others."""
    return d.pick((b"a", b"x{b}y", b"long" + b"k" * 300)) if d.chance(0.85) else d.key()


def target(d):
    return d.pick((b"b", b"c", b"{}", b"")) if d.chance(0.85) else d.key()


def name(d):
    return d.pick(NAMES) if d.chance(0.97) else d.value()


def unit(d):
    return d.case(d.pick(UNITS)) if d.chance(0.98) else d.pick((b"", b"yd", b"kms", b"M "))


def distance(d):
    style = d.random.random()
    if style < 0.6:
        return b"%d" % d.pick((0, 1, 10, 100, 200, 500, 1000, 5000, 10000, 20000, 40000, 100000))
    if style < 0.9:
        return repr(10 ** d.random.uniform(-3, 8)).encode()
    if style < 0.95:
        return d.pick((b"-1", b"inf", b"1e300", b"1e-300", b"-0", b"nan", b"1e400"))
    return d.float()


def geoadd(d):
    words = [source(d)]
    for _ in range(d.random.choice((0, 0, 0, 0, 1, 1, 2))):
        words.append(d.case(d.pick(("NX", "XX", "CH", "CH"))))
    style = d.random.random()
    many = d.random.randint(1, 5) if style < 0.75 else d.random.randint(20, 60) if style < 0.98 else 150
    for i in range(many):
        words += point(d) + [name(d) if many < 100 else b"many%d" % i]
    if d.chance(0.02):
        words.pop()
    return words


def count(d):
    return b"%d" % d.random.randint(1, 20) if d.chance(0.95) else d.integer()


def options(d, extra=()):
    words = [("WITHDIST",), ("WITHCOORD",), ("WITHHASH",), ("ASC",), ("DESC",), ("COUNT", lambda: count(d)), ("COUNT", lambda: count(d))]
    if d.chance(0.3):
        words.append(("ANY",))
    return d.soup(words + list(extra), 4)


def stores(d):
    """At most one STORE or STOREDIST mostly."""
    if d.chance(0.6):
        return []
    words = [d.case(d.pick(("STORE", "STOREDIST"))), target(d)]
    return words * 2 if d.chance(0.02) else words


def plain_or(d, words):
    """With a store option, those that do not go with it are rare."""
    if words and d.chance(0.9):
        return d.soup([("ASC",), ("DESC",), ("COUNT", lambda: count(d))], 3) + words
    return options(d) + words


def georadius(d):
    return [source(d)] + point(d) + [distance(d), unit(d)] + plain_or(d, stores(d))


def georadius_ro(d):
    words = options(d) + (stores(d) if d.chance(0.03) else [])
    return [source(d)] + point(d) + [distance(d), unit(d)] + words


def bymember(d):
    return [source(d), name(d), distance(d), unit(d)] + plain_or(d, stores(d))


def bymember_ro(d):
    words = options(d) + (stores(d) if d.chance(0.03) else [])
    return [source(d), name(d), distance(d), unit(d)] + words


def area(d):
    start = [d.case("FROMMEMBER"), name(d)] if d.chance(0.5) else [d.case("FROMLONLAT")] + point(d)
    if d.chance(0.5):
        shape = [d.case("BYRADIUS"), distance(d), unit(d)]
    else:
        shape = [d.case("BYBOX"), distance(d), distance(d), unit(d)]
    style = d.random.random()
    if style < 0.02:
        return start
    if style < 0.04:
        return shape
    if style < 0.06:
        return start + shape + d.pick((start, shape, [d.case("FROMMEMBER"), name(d)], [d.case("BYRADIUS"), b"1", b"km"]))
    return d.pick((start + shape, shape + start))


def geosearch(d):
    words = options(d)
    return [source(d)] + d.pick((words + area(d), area(d) + words))


def geosearchstore(d):
    words = d.soup([("ASC",), ("DESC",), ("COUNT", lambda: count(d)), ("STOREDIST",), ("STOREDIST",)], 3)
    if d.chance(0.1):
        words = options(d)
    return [target(d), source(d)] + d.pick((words + area(d), area(d) + words))


def geodist(d):
    words = [source(d), name(d), name(d)]
    if d.chance(0.6):
        words.append(unit(d))
    return words


def names(d):
    return [source(d)] + [name(d) for _ in range(d.random.randint(0, 6))]


COMMANDS = {
    "GEOADD": (16, geoadd),
    "GEOPOS": (4, names),
    "GEOHASH": (4, names),
    "GEODIST": (6, geodist),
    "GEORADIUS": (7, georadius),
    "GEORADIUS_RO": (4, georadius_ro),
    "GEORADIUSBYMEMBER": (7, bymember),
    "GEORADIUSBYMEMBER_RO": (4, bymember_ro),
    "GEOSEARCH": (10, geosearch),
    "GEOSEARCHSTORE": (6, geosearchstore),
}

SAME = {}

METADATA = list(COMMANDS)

CONTENT = {b"zset": lambda key: [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]}

LIMITS = {"zset-max-listpack-entries": (128, 128, 20, 0), "zset-max-listpack-value": (64, 64, 8, 0)}
