"""HyperLogLogs: few keys and many elements, so that they pass from the first runs to dense; and bytes
that are almost one."""

import random
import struct

HEADER = b"HYLL\x01\x00\x00\x00"
REGISTERS = 16384


# Here are the strings that are nearly one. Other families, which know nothing of runs, leave them alone.
OWN = [b"hll", b"hll{a}", b"hll{b}", b"hll2"]


def key(d):
    return d.pick(OWN) if d.chance(0.5) else d.key()


def keys(d, most):
    return [key(d) for _ in range(d.random.randint(1, most))]


def written(d):
    """A key and what is set there."""
    if d.chance(0.2):
        return [d.key(), d.value()]
    return [d.pick(OWN), image(d) if d.chance(0.7) else short_image(d)]


def element(d):
    style = d.random.random()
    if style < 0.9:
        return b"%d" % d.random.randrange(6000)
    return d.value()


def elements(d):
    style = d.random.random()
    most = 5 if style < 0.6 else 60 if style < 0.9 else 1500 if style < 0.98 else 6000
    return [element(d) for _ in range(d.random.randint(0, most))]


def runs(r):
    """Runs that make up all registers."""
    words, left = [], REGISTERS
    while left:
        style = r.random()
        if style < 0.5:
            n = min(left, r.randint(1, 4))
            words.append(bytes([0x80 | r.choice((0, 1, 2, r.randrange(32))) << 2 | n - 1]))
        elif style < 0.75:
            n = min(left, r.randint(1, 64))
            words.append(bytes([n - 1]))
        else:
            n = min(left, r.choice((1, 65, 256, 4096, 16384, r.randint(1, 2000))))
            words.append(struct.pack(">H", 0x4000 | n - 1))
        left -= n
    if len(words[-1]) == 2:  # see whole()
        words[-1:] = [struct.pack(">H", 0x4000 | n - 2), b"\x00"] if n > 1 else [b"\x00"]
    return b"".join(words)


def whole(data):
    """Without a run of two bytes that is cut off by the end: to change one, Redis reads what happens to
    lie behind the string."""
    return data + b"\x00" if b"\x40" <= data[-1:] < b"\x80" else data


def image(d):
    """A string that is a HyperLogLog, or nearly."""
    r = random.Random(d.random.random())
    kept = struct.pack("<Q", r.choice((0, 1, 77, 2**63, 2**63 + 5, 2**63 - 1)))
    if r.random() < 0.75:
        data = bytearray(HEADER + kept + runs(r))
    else:
        data = bytearray(b"HYLL\x00\x00\x00\x00" + kept + r.randbytes(REGISTERS * 6 // 8))
    style = r.random()
    if style < 0.3:
        for _ in range(r.randint(1, 4)):
            data[r.randrange(len(data))] = r.choice((0, 0x3F, 0x40, 0x7F, 0x80, 0xFF, r.randrange(256)))
    elif style < 0.4:
        del data[r.randrange(len(data)) :]
    elif style < 0.5:
        data += r.choice((b"\x00", b"\x80", b"\x40\x00", b"\x7f\xff", r.randbytes(r.randint(1, 40))))
    elif style < 0.55:
        at = r.randrange(16, len(data))
        data[at:at] = r.randbytes(r.randint(1, 4))
    elif style < 0.6:
        at = r.randrange(16, len(data))
        del data[at : at + r.randint(1, 4)]
    return whole(bytes(data))


def short_image(d):
    """A handful of runs."""
    r = random.Random(d.random.random())
    zeros = struct.pack(">H", 0x4000 | r.choice((16383, 16382, 16000, 16128, 64)))
    first = r.choice((zeros, b"", r.randbytes(3)))
    return whole(HEADER + bytes(8) + first + r.choice((b"", b"\x00", b"\x80", r.randbytes(r.randint(1, 6)))))


def debug(d):
    what = d.random.choices(("ENCODING", "DECODE", "TODENSE", "GETREG", "bogus"), (10, 6, 2, 1, 1))[0]
    return [d.case(what), key(d)]


COMMANDS = {
    "PFADD": (20, lambda d: [key(d)] + elements(d)),
    "PFCOUNT": (12, lambda d: keys(d, 1 if d.chance(0.7) else 5)),
    "PFMERGE": (6, lambda d: keys(d, 4)),
    "PFDEBUG": (6, debug),
    "SET": (4, written),
    "GET": (4, lambda d: [key(d)]),
    "SETRANGE": (2, lambda d: [d.pick(OWN), b"%d" % d.random.randrange(15), d.random.randbytes(1)]),
    "DEL": (1, lambda d: [key(d)]),
    "OBJECT": (3, lambda d: [b"ENCODING", key(d)]),
}

SAME = {}

METADATA = ["PFADD", "PFCOUNT", "PFMERGE", "PFDEBUG", "PFSELFTEST"]

LIMITS = {"hll-sparse-max-bytes": (0, 60, 400, 3000, 3000, 3000, 20000)}
