"""Differences from Redis 7.0.15 that are meant, each with its reason. A rule sees the words of a command
and both replies, parsed."""


def copied_integer(words, redis, pollux):
    return words[0].upper() == b"OBJECT" and (redis, pollux) == (1, 2**31 - 1)


KNOWN = [
    (copied_integer, "a copy of a small integer is no shared object in Redis; here all of them report alike"),
]


def reason(words, redis, pollux):
    """Why these replies may differ, or None."""
    for rule, text in KNOWN:
        if rule(words, redis, pollux):
            return text
    return None

