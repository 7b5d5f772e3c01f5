"""Differences from Redis 7.0.15 that are meant, each with its reason. A rule sees the words of a command
and both replies, parsed."""

from raw import Error


def copied_integer(words, redis, pollux):
    return words[0].upper() == b"OBJECT" and (redis, pollux) == (1, 2**31 - 1)


def long_error(words, redis, pollux):
    return isinstance(redis, Error) and isinstance(pollux, Error) and len(pollux) > 1000 and redis.startswith(pollux)


def memory_of_expired(words, redis, pollux):
    return words[0].upper() == b"MEMORY" and isinstance(redis, int) and pollux is None


KNOWN = [
    (memory_of_expired, "Redis measures a key that has expired until something else removes it"),
    (long_error, "an error that quotes an argument is cut after a kilobyte"),
    (copied_integer, "a copy of a small integer is no shared object in Redis; here all of them report alike"),
]


def reason(words, redis, pollux):
    """Why these replies may differ, or None."""
    for rule, text in KNOWN:
        if rule(words, redis, pollux):
            return text
    return None

