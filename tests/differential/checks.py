"""Checks that are the same for every family: what COMMAND tells of its commands, and scripted ones that
random commands cannot do. Each gets a connection to both servers and raises AssertionError."""

import time

from raw import Connection, parse

PATIENCE_S = 30


def plain(value):
    """A reply of COMMAND INFO or DOCS for comparing: maps and sets alike in both protocols, texts of
    documentation (which are our own words) blanked."""
    if isinstance(value, dict):
        return {k: "text" if k in (b"summary", b"complexity", b"notes") else plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def sort_flags(info):
    """Of one command: flags, categories and tips are sets."""
    if not isinstance(info, list) or len(info) < 10:
        return info
    info = list(info)
    for i in (2, 6, 7):
        info[i] = sorted(info[i])
    info[9] = sorted((sort_flags(sub) for sub in info[9]), key=lambda sub: sub[0])
    return info


def blank_history(docs):
    for doc in docs.values():
        doc[b"history"] = [version for version, _ in doc.get(b"history", [])]
        blank_history(doc.get(b"subcommands", {}))
    return docs


def metadata(name, redis, pollux):
    """COMMAND INFO and DOCS of one command, over RESP3."""
    infos = [[sort_flags(i) for i in plain(c.call("COMMAND", "INFO", name))] for c in (redis, pollux)]
    assert infos[0] == infos[1], f"COMMAND INFO {name}\n  redis:  {infos[0]}\n  pollux: {infos[1]}"
    docs = [blank_history(plain(c.call("COMMAND", "DOCS", name))) for c in (redis, pollux)]
    assert docs[0] == docs[1], f"COMMAND DOCS {name}\n  redis:  {docs[0]}\n  pollux: {docs[1]}"


def both(redis, pollux, *words):
    a, b = redis.call(*words), pollux.call(*words)
    assert a == b, f"{words}\n  redis:  {a!r}\n  pollux: {b!r}"
    return a


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain: {what}"
        time.sleep(0.001)


def short_expiry(redis, pollux):
    """Keys with milliseconds to live go away on their own, and in every command's eyes."""
    both(redis, pollux, "FLUSHALL")
    for i, words in enumerate((["SET", "PX", 20], ["GETEX", "PX", 20], ["PEXPIRE", 20], ["PSETEX"])):
        key = f"short{i}"
        if words[0] == "SET":
            both(redis, pollux, "SET", key, "v", *words[1:])
        elif words[0] == "PSETEX":
            both(redis, pollux, "PSETEX", key, 20, "v")
        else:
            both(redis, pollux, "SET", key, "v")
            both(redis, pollux, words[0], key, *words[1:])
    both(redis, pollux, "SET", "stays", "v")
    for c in (redis, pollux):
        until(lambda c=c: c.call("DBSIZE") == 1, "keys expire on their own")
    for i in range(4):
        for words in (["GET"], ["TTL"], ["TYPE"], ["EXISTS"], ["PERSIST"], ["STRLEN"], ["DEL"]):
            both(redis, pollux, *words, f"short{i}")


def whole_scan(redis, pollux):
    """A walk from cursor 0 to cursor 0 finds every key that stays, whatever else comes and goes."""
    both(redis, pollux, "FLUSHALL")
    names = {b"k%d" % i for i in range(500)}
    for c in (redis, pollux):
        c.call("MSET", *(word for name in sorted(names) for word in (name, b"v")))
    for count in (1, 10, 250, 100000):
        for filters in ([], ["MATCH", "k*7"], ["TYPE", "string"], ["TYPE", "hash"], ["MATCH", "none"]):
            found = []
            for c in (redis, pollux):
                cursor, seen, turns = b"0", set(), 0
                while turns == 0 or cursor != b"0":
                    cursor, keys = c.call("SCAN", cursor, "COUNT", count, *filters)
                    seen.update(keys)
                    turns += 1
                    c.call("SET", f"extra{turns}", "v")
                    c.call("DEL", f"extra{turns - 1}")
                assert turns == 1 or count < 100000, f"COUNT {count}: {turns} calls"
                found.append({name for name in seen if not name.startswith(b"extra")})
            assert found[0] == found[1], f"COUNT {count} {filters}: {len(found[0])} and {len(found[1])} keys"
            if not filters:
                assert found[1] == names
    for c in (redis, pollux):
        for words in (["EVAL", "return redis.call('SCAN', 0, 'COUNT', 100000, 'MATCH', 'k*')", 0], ["MULTI"]):
            reply = c.call(*words)
            if words == ["MULTI"]:
                c.call("SCAN", 0, "COUNT", 100000, "MATCH", "k*")
                reply = c.call("EXEC")[0]
            assert reply[0] == b"0" and set(reply[1]) == names, words


def random_keys(redis, pollux):
    """RANDOMKEY finds every key of a small database, and null in an empty one."""
    both(redis, pollux, "FLUSHALL")
    both(redis, pollux, "RANDOMKEY")
    names = {b"r%d" % i for i in range(5)}
    for name in names:
        both(redis, pollux, "SET", name, "v")
    for c in (redis, pollux):
        seen = set()
        until(lambda c=c, seen=seen: seen.add(c.call("RANDOMKEY")) or seen == names, "RANDOMKEY finds all keys")


def big_values(redis, pollux):
    """Values of many megabytes, whole and in parts."""
    both(redis, pollux, "FLUSHALL")
    value = bytes(range(256)) * (24 * 1024 * 1024 // 256)
    both(redis, pollux, "SET", "big", value)
    assert pollux.call("GET", "big") == value
    both(redis, pollux, "APPEND", "big", b"end" * 10000)
    both(redis, pollux, "SETRANGE", "big", 1000, b"middle" * 5000)
    both(redis, pollux, "GET", "big")
    both(redis, pollux, "GETRANGE", "big", -40000, -1)
    both(redis, pollux, "COPY", "big", "copy")
    both(redis, pollux, "SETRANGE", "copy", 0, b"other")
    both(redis, pollux, "GETDEL", "big")
    both(redis, pollux, "GETSET", "copy", "small")
    both(redis, pollux, "SETRANGE", "padded", 5_000_000, "x")
    both(redis, pollux, "GET", "padded")


def far_expiry(redis, pollux):
    """Any time that Redis takes is taken; beyond 48 bits of milliseconds (the year 10889) all are alike."""
    limit_ms = 2**48 - 1
    both(redis, pollux, "FLUSHALL")
    times = [("EXPIREAT", (2**63 - 1) // 1000), ("PEXPIREAT", 2**63 - 1), ("PEXPIREAT", 2**48), ("PEXPIREAT", limit_ms - 1)]
    for command, time_given in times:
        both(redis, pollux, "SET", "far", "v")
        both(redis, pollux, command, "far", time_given)
        both(redis, pollux, "GET", "far")
        a, b = (c.call("PEXPIRETIME", "far") for c in (redis, pollux))
        assert min(a, limit_ms - 1) <= b <= max(a, limit_ms), f"{command} {time_given}: {a} and {b}"


def indivisible(redis, pollux):
    """Commands over many keys, wherever these live, are seen whole or not at all by other connections,
    and a connection's own commands never overtake them."""
    both(redis, pollux, "FLUSHALL")
    keys = [b"pair%d" % i for i in range(6)]
    both(redis, pollux, "MSET", *(word for key in keys for word in (key, b"start")))
    both(redis, pollux, "SET", "here", "v")
    rounds = 300
    for c in (redis, pollux):
        others = [Connection(*c.socket.getpeername()[:2]) for _ in range(5)]
        writers, mover, readers = others[:2], others[2], others[3:]
        for turn in range(rounds):
            for i, writer in enumerate(writers):
                value = b"%d-%d" % (i, turn)
                # What follows at once on one key must see the whole write, or what the other writer made.
                writer.send([[b"MSET", *(word for key in keys for word in (key, value))], [b"GET", keys[turn % 6]]])
            mover.send([[b"RENAME", b"here", b"there"], [b"RENAME", b"there", b"here"]])
            for reader in readers:
                reader.send([[b"MGET", *keys], [b"EXISTS", b"here", b"there"]])
        for turn in range(rounds):
            for reader in readers:
                values = parse(reader.read())
                assert len(set(values)) == 1, f"a write was seen in part: {values}"
                assert parse(reader.read()) == 1, "a renamed key was seen twice or not at all"
            for i, writer in enumerate(writers):
                assert parse(writer.read()) == b"OK"
                seen_by, seen = parse(writer.read()).split(b"-")
                assert int(seen_by) != i or int(seen) == turn, f"writer {i} saw {seen_by}-{seen} after its write {turn}"
            for _ in range(2):
                assert parse(mover.read()) == b"OK"
        for other in others:
            other.close()


def policies(redis, pollux):
    """What OBJECT tells of the uses of a key depends on maxmemory-policy."""
    both(redis, pollux, "SET", "used", "v")
    for policy in ("allkeys-lfu", "volatile-lfu", "allkeys-lru", "noeviction"):
        both(redis, pollux, "CONFIG", "SET", "maxmemory-policy", policy)
        for c in (redis, pollux):
            freq, idle = c.call("OBJECT", "FREQ", "used"), c.call("OBJECT", "IDLETIME", "used")
            assert isinstance(freq, int) == policy.endswith("lfu"), f"{policy}: FREQ {freq}"
            assert isinstance(idle, int) != policy.endswith("lfu"), f"{policy}: IDLETIME {idle}"
        both(redis, pollux, "OBJECT", "IDLETIME" if policy.endswith("lfu") else "FREQ", "used")
        both(redis, pollux, "OBJECT", "FREQ", "none")


SCRIPTED = [policies, indivisible, short_expiry, far_expiry, whole_scan, random_keys, big_values]
