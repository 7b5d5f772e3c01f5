"""Commands about the bits of strings."""

from draw import INTEGERS, NOT_INTEGERS

TYPE_EDGES = (1, 2, 7, 8, 9, 16, 31, 32, 33, 57, 62, 63, 64)
FIELD_VALUES = INTEGERS + [2**k + x for k in (6, 7, 8, 15, 16, 30, 31, 61, 62) for x in (-1, 0, 1)]
TOO_FAR = (b"4294967295", b"4294967296", b"9223372036854775807", b"-1", b"9223372036854775808")


def offset(d):
    style = d.random.random()
    if style < 0.85:
        return b"%d" % d.random.randint(0, 300)
    if style < 0.9:  # around the size from which values are blocks
        return b"%d" % d.random.randint(16383 * 8, 16386 * 8)
    if style < 0.92:
        return b"%d" % d.random.randint(0, 200000)
    if style < 0.96:  # 2**32 bits are the longest string there may be; its last bit is left out
        return d.pick(TOO_FAR[1:])
    return d.pick(NOT_INTEGERS)


def position(d):
    """Of a range: from either end."""
    style = d.random.random()
    if style < 0.8:
        return b"%d" % d.random.randint(-80, 80)
    if style < 0.9:
        return b"%d" % d.pick((16383, 16384, -16384, 131072, 131071, -131072, 40000, 70000, 560000))
    return d.integer()


def unit(d):
    return d.pick((d.case("BIT"), d.case("BYTE"))) if d.chance(0.97) else d.pick((b"", b"bits", b"1"))


def bit(d):
    return d.pick((b"0", b"1")) if d.chance(0.95) else d.integer()


def bitcount(d):
    words = [d.key()]
    if d.chance(0.8):
        words += [position(d), position(d)]
        if d.chance(0.6):
            words.append(unit(d))
    return words


def bitpos(d):
    words = [d.key(), bit(d)]
    if d.chance(0.8):
        words.append(position(d))
        if d.chance(0.7):
            words.append(position(d))
            if d.chance(0.6):
                words.append(unit(d))
    return words


def bitop(d):
    op = d.case(d.pick(("AND", "OR", "XOR", "NOT", "AND", "OR", "XOR"))) if d.chance(0.97) else b"nand"
    most = 1 if op.upper() == b"NOT" and d.chance(0.9) else 5
    return [op, d.key()] + d.keys(most)


def field_type(d):
    if d.chance(0.03):
        return d.pick((b"", b"i", b"u", b"u64", b"i65", b"i0", b"u0", b"x8", b"8", b"I8", b"U8", b"i-1", b"u 8", b"i08"))
    sign = d.pick(("i", "u"))
    bits = d.pick(TYPE_EDGES) if d.chance(0.6) else d.random.randint(1, 64)
    return b"%s%d" % (sign.encode(), min(bits, 63 if sign == "u" else 64))


def field_offset(d):
    if d.chance(0.25):
        return b"#%d" % d.random.randint(0, 20) if d.chance(0.9) else b"#" + offset(d)
    return offset(d)


def field_value(d):
    style = d.random.random()
    if style < 0.4:
        return b"%d" % d.random.randint(-300, 300)
    if style < 0.95:
        return b"%d" % (d.pick(FIELD_VALUES) * d.pick((1, -1)))
    return d.pick(NOT_INTEGERS)


def get(d):
    return [d.case("GET"), field_type(d), field_offset(d)]


def operation(d):
    style = d.random.random()
    if style < 0.3:
        return get(d)
    if style < 0.5:
        return [d.case("OVERFLOW"), d.case(d.pick(("WRAP", "SAT", "FAIL"))) if d.chance(0.97) else b"none"]
    return [d.case(d.pick(("SET", "INCRBY"))), field_type(d), field_offset(d), field_value(d)]


def bitfield(d):
    words = [d.key()]
    for _ in range(d.random.randint(0, 6)):
        words += operation(d)
    if d.chance(0.02):
        words.pop()
    return words


def bitfield_ro(d):
    words = [d.key()]
    for _ in range(d.random.randint(0, 4)):
        words += get(d) if d.chance(0.95) else operation(d)
    return words


COMMANDS = {
    "SETBIT": (8, lambda d: [d.key(), offset(d), bit(d)]),
    "GETBIT": (5, lambda d: [d.key(), offset(d)]),
    "BITCOUNT": (5, bitcount),
    "BITPOS": (6, bitpos),
    "BITOP": (5, bitop),
    "BITFIELD": (10, bitfield),
    "BITFIELD_RO": (4, bitfield_ro),
}

SAME = {}

METADATA = list(COMMANDS)
