"""DUMP and RESTORE: values in every form that Redis has ever written, options, and payloads that are none."""

import payload

FOOTERS = (b"", b"\x00", b"\x00" * 9, b"\x00\x03\x0a\x00" + b"\x00" * 8)


def value(d):
    if d.chance(0.93):
        return payload.draw(d)
    good = payload.draw(d)
    # The check sum does not see zeros at the front: without its first byte an empty string still has the right
    # one, and Redis takes the footer for the string.
    cut = good[1:] if good[:2] != b"\x00\x00" else good[:-1]
    return d.pick((d.pick(FOOTERS), good[:-1], good + b"\x00", cut, payload.seal(0, b"\x01a", 13)))


def restore(d):
    ttl = d.pick((b"0", b"0", b"0", b"100000", b"9223372036854775807", b"-1", b"x", b"1000000"))
    options = d.soup([("REPLACE",), ("REPLACE",), ("IDLETIME", d.small_integer), ("FREQ", d.small_integer)], 3)
    if d.chance(0.2):
        ttl, options = d.unix_milliseconds(), options + [d.case("ABSTTL")]
    return [d.key(), ttl, value(d)] + options


COMMANDS = {
    "DUMP": (4, lambda d: [d.key()]),
    "RESTORE": (6, restore),
}

SAME = {"DUMP": payload.same}

METADATA = ["DUMP", "RESTORE", "RESTORE-ASKING", "MIGRATE"]
