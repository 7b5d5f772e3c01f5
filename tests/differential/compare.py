"""When two replies count as the same. A function here gets both replies, parsed; errors never reach it:
they must be equal to the byte."""

SECONDS = 60  # two servers execute a command so far apart at most, on a machine that is very busy


def kind(a, b):
    """The same kind of reply, whatever it says."""
    return type(a) is type(b)


def near(a, b, distance):
    if not isinstance(a, int) or not isinstance(b, int):
        return a == b
    if min(a, b) < 0:
        return a == b
    return abs(a - b) <= distance


def seconds(a, b):
    return near(a, b, SECONDS)


def milliseconds(a, b):
    return near(a, b, SECONDS * 1000)


def unordered(a, b):
    return kind(a, b) and (sorted(a) == sorted(b) if isinstance(a, list) else a == b)


def scan(a, b):
    """A cursor and a list: what both hold is for each server to choose."""
    return all(
        isinstance(x, list) and len(x) == 2 and isinstance(x[0], bytes) and isinstance(x[1], list) for x in (a, b)
    )
