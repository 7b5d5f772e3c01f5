"""DUMP and RESTORE: values in every form that Redis has ever written, options, and payloads that are none."""

import payload

FOOTERS = (b"", b"\x00", b"\x00" * 9, b"\x00" * 10, b"\x00\x03\x0a\x00" + b"\x00" * 8)


def value(d):
    if d.chance(0.93):
        return payload.draw(d)
    good = payload.draw(d)
    return d.pick((d.pick(FOOTERS), good[:-1], good + b"\x00", good[1:], payload.seal(0, b"\x01a", 13)))


def restore(d):
    ttl = d.pick((b"0", b"0", b"0", b"100000", b"9223372036854775807", b"-1", b"x", b"1000000"))
    options = [("REPLACE",), ("REPLACE",), ("ABSTTL",), ("IDLETIME", d.small_integer), ("FREQ", d.small_integer)]
    return [d.key(), ttl, value(d)] + d.soup(options, 3)


COMMANDS = {
    "DUMP": (4, lambda d: [d.key()]),
    "RESTORE": (6, restore),
}

SAME = {"DUMP": payload.same}

METADATA = ["DUMP", "RESTORE", "RESTORE-ASKING", "MIGRATE"]
