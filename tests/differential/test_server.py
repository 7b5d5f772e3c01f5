#!/usr/bin/python3
"""Connection and server commands: the same to redis-server 7.0.15 and to Pollux, reply by reply, in both
protocols, with one core and with two. What random commands cannot do for them (every reply changes or
depends on the connection) stands here as scripts; random arguments follow.

usage: test_server.py [--seed N] [--rounds N] [--cores 0 --cores 0,1]
"""

import argparse
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import checks
import missing
import pollux
from raw import Connection, Error, Set, parse

COMMANDS = [
    "AUTH", "CLIENT|GETNAME", "CLIENT|ID", "CLIENT|INFO", "CLIENT|KILL", "CLIENT|LIST", "CLIENT|NO-EVICT",
    "CLIENT|REPLY", "CLIENT|SETNAME", "CLIENT|HELP", "COMMAND", "CONFIG", "DEBUG", "ECHO", "HELLO", "INFO", "LOLWUT",
    "MEMORY", "PING", "QUIT", "RESET", "SELECT", "SHUTDOWN", "TIME",
]

# One connection each, in both protocols; replies must be equal to the byte.
SCRIPTS = [
    # who is there
    ["PING", "ping hello", "PING a b", "ECHO", "ECHO x", "echo x y", "QUIT x"],
    ["SELECT", "SELECT 3", "SELECT 15", "SELECT 16", "SELECT -1", "SELECT x", "SELECT 1.5", "SELECT 2147483648",
     "SELECT 99999999999999999999", "SELECT 0 1"],
    ["AUTH", "AUTH x", "AUTH default x", "AUTH other x", "AUTH a b c"],
    ["HELLO 1", "HELLO 4", "HELLO x", "HELLO 99999999999999999999", "HELLO 3 AUTH", "HELLO 3 AUTH a", "HELLO 3 AUTH a b",
     "HELLO 3 SETNAME", "HELLO 3 SETNAME a\tb", "HELLO 2 SETNAME ok FOO", "CLIENT GETNAME", "HELLO AUTH a b"],
    ["CLIENT SETNAME bob", "SELECT 2", "CLIENT NO-EVICT ON", "RESET", "CLIENT GETNAME", "RESET x"],
    # CLIENT
    ["CLIENT", "CLIENT FOO", "CLIENT HELP x", "CLIENT GETNAME", "CLIENT SETNAME bob", "CLIENT GETNAME", "client getname x",
     "CLIENT SETNAME a\tb", "CLIENT SETNAME \x01", "CLIENT SETNAME a\x7f", "CLIENT GETNAME", "CLIENT SETNAME " + "x" * 300,
     "CLIENT GETNAME", "CLIENT ID x"],
    ["CLIENT LIST x", "CLIENT LIST TYPE", "CLIENT LIST TYPE foo", "CLIENT LIST TYPE replica", "CLIENT LIST TYPE SLAVE",
     "CLIENT LIST TYPE master", "CLIENT LIST TYPE pubsub", "CLIENT LIST TYPE normal x", "CLIENT LIST ID", "CLIENT LIST ID x",
     "CLIENT LIST ID 0 -1 123456789", "CLIENT LIST ID 1 x", "CLIENT INFO x"],
    ["CLIENT KILL", "CLIENT KILL 1.2.3.4:5", "CLIENT KILL ID", "CLIENT KILL ID 0", "CLIENT KILL ID x", "CLIENT KILL ID -1",
     "CLIENT KILL ID 123456789", "CLIENT KILL ID 123456789 ADDR", "CLIENT KILL TYPE foo", "CLIENT KILL TYPE replica",
     "CLIENT KILL TYPE slave", "CLIENT KILL TYPE master", "CLIENT KILL TYPE pubsub", "CLIENT KILL USER nobody",
     "CLIENT KILL ADDR 1.2.3.4:5", "CLIENT KILL LADDR 1.2.3.4:5", "CLIENT KILL SKIPME maybe", "CLIENT KILL FOO bar",
     "CLIENT KILL ID 123456789 USER default SKIPME no", "CLIENT KILL ID 99999999999999999999"],
    ["CLIENT NO-EVICT", "CLIENT NO-EVICT on", "CLIENT NO-EVICT OFF", "CLIENT NO-EVICT x", "CLIENT REPLY", "CLIENT REPLY x",
     "CLIENT REPLY ON"],
    # unknown
    ["FOO", "FOO a b", "foo " + "x" * 200 + " y", "foo " + "x" * 100 + " " + "y" * 100 + " z", "F\to", "CONFIG FOO",
     "COMMAND FOO", "MEMORY FOO x", "CONFIG", "MEMORY", "x" * 300, "client " + "x" * 300, "foo " + "a " * 100],
    # COMMAND
    ["COMMAND COUNT x", "COMMAND INFO nosuch", "COMMAND INFO config|nosuch nosuch|get", "COMMAND INFO get set",
     "COMMAND DOCS nosuch", "COMMAND LIST x", "COMMAND LIST FILTERBY", "COMMAND LIST FILTERBY PATTERN",
     "COMMAND LIST FILTERBY PATTERN ping", "COMMAND LIST FILTERBY PATTERN PI[mn]G", "COMMAND LIST FILTERBY MODULE x",
     "COMMAND LIST FILTERBY ACLCAT nosuch", "COMMAND LIST FILTERBY foo bar", "COMMAND LIST FILTERBY PATTERN a b"],
    ["COMMAND GETKEYS", "COMMAND GETKEYS get", "COMMAND GETKEYS get a", "COMMAND GETKEYS get a b", "COMMAND GETKEYS ping",
     "COMMAND GETKEYS ping a", "COMMAND GETKEYS nosuch a", "COMMAND GETKEYS mset a 1 b 2", "COMMAND GETKEYS mset a 1 b",
     "COMMAND GETKEYS del a b c", "COMMAND GETKEYS memory usage k", "COMMAND GETKEYS memory nosuch k",
     "COMMAND GETKEYS copy a b DB 1", "COMMAND GETKEYS lcs a b", "COMMAND GETKEYS object encoding k",
     "COMMAND GETKEYS zunion 0 a", "COMMAND GETKEYS lmpop 0 a left", "COMMAND GETKEYS zunionstore d 0 a",
     "COMMAND GETKEYSANDFLAGS sintercard 0 a"],
    ["SET far 1", "PEXPIREAT far 9223372036854775807", "PEXPIREAT far 9223372036854775807 GT",
     "PEXPIREAT far 9223372036854775807 LT", "DEL far"],
    ["COMMAND GETKEYSANDFLAGS set a 1", "COMMAND GETKEYSANDFLAGS set a 1 GET", "COMMAND GETKEYSANDFLAGS set a 1 EX 5 get",
     "COMMAND GETKEYSANDFLAGS rename a b", "COMMAND GETKEYSANDFLAGS copy a b", "COMMAND GETKEYSANDFLAGS getdel a",
     "COMMAND GETKEYSANDFLAGS nosuch", "COMMAND GETKEYSANDFLAGS nosuch x"],
    # CONFIG
    ["CONFIG GET", "CONFIG GET maxmemory", "CONFIG GET MAXMEMORY-policy", "CONFIG GET nosuch", "CONFIG GET maxmemory-sample?",
     "CONFIG GET nosuch also-not", "CONFIG GET MAXMEMORY-SAMPLES maxmemory-samples maxmemory-sample?",
     "CONFIG GET maxmemory-sample? MAXMEMORY-SAMPLES Maxmemory-samples"],
    ["CONFIG SET maxmemory-samples 7", "CONFIG GET maxmemory-samples", "CONFIG SET maxmemory-samples 0",
     "CONFIG SET maxmemory-samples x", "CONFIG SET nosuch 1", "CONFIG SET maxmemory", "CONFIG SET maxmemory 1 2",
     "CONFIG SET maxmemory-policy foo", "CONFIG SET port", "CONFIG SET databases 3", "CONFIG SET maxmemory 100mb",
     "CONFIG GET maxmemory", "CONFIG SET maxmemory 0", "CONFIG SET maxmemory 1x", "CONFIG SET appendonly maybe",
     "CONFIG SET maxmemory-samples 5 maxmemory-policy foo", "CONFIG GET maxmemory-samples",
     "CONFIG SET maxmemory-samples 5 maxmemory-samples 6", "CONFIG SET maxmemory-samples 5 tcp-keepalive 100",
     "CONFIG GET tcp-keepalive", "CONFIG SET tcp-keepalive 300", "CONFIG RESETSTAT", "CONFIG RESETSTAT x", "CONFIG REWRITE",
     "CONFIG REWRITE x"],
    # the rest
    ["INFO nosuch", "INFO cluster", "INFO modules", "TIME x", "LOLWUT VERSION x", "SHUTDOWN x", "SHUTDOWN SAVE NOSAVE",
     "SHUTDOWN ABORT", "SHUTDOWN ABORT NOW", "MEMORY PURGE", "MEMORY PURGE x", "MEMORY DOCTOR x"],
    ["DEBUG", "DEBUG FOO", "DEBUG SLEEP", "DEBUG SLEEP 0", "DEBUG OBJECT", "DEBUG OBJECT nosuch", "DEBUG SET-ACTIVE-EXPIRE 0",
     "DEBUG SET-ACTIVE-EXPIRE 1", "DEBUG ERROR OOPS", "DEBUG ERROR", "DEBUG PROTOCOL nosuch"]
    + ["DEBUG PROTOCOL " + t for t in (
        "string", "integer", "double", "bignum", "null", "array", "set", "map", "attrib", "push", "verbatim", "true", "false")],
]


def words_of(line):
    return [word.encode("latin-1") for word in line.split(" ")]


def plain(reply):
    """A reply with its sets in one order: no server promises one."""
    value = parse(reply) if reply[:1] != b"|" else reply
    return in_order(value)


def in_order(value):
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, list):
        return [in_order(v) for v in value]
    if isinstance(value, dict):
        return {k: in_order(v) for k, v in value.items()}
    return value


def flags_in_order(value):
    """In RESP2 sets are arrays; where flags stand in them, their order means nothing."""
    if isinstance(value, list):
        value = [flags_in_order(v) for v in value]
        if all(type(v).__name__ == "Status" for v in value):
            return sorted(value)
    return value


def same(words, redis, other):
    if redis == other:
        return True
    if redis[:1] == b"-" or other[:1] == b"-":
        return False
    a, b = plain(redis), plain(other)
    if [w.upper() for w in words[:2]] == [b"CONFIG", b"GET"] and isinstance(a, list):
        return sorted(zip(a[::2], a[1::2])) == sorted(zip(b[::2], b[1::2]))
    if words[:2] == [b"COMMAND", b"INFO"] or words[0] == b"COMMAND":
        a, b = blank_notes(flags_in_order(a)), blank_notes(flags_in_order(b))
    return a == b and redis[:1] == other[:1] and nulls(redis) == nulls(other)


def nulls(reply):
    """Which nulls stand in a reply: parsed, that of a string and that of an array are one."""
    return [reply.count(null) for null in (b"$-1\r\n", b"*-1\r\n", b"_\r\n")]


def blank_notes(value):
    if isinstance(value, dict):
        return {k: "text" if k == b"notes" else blank_notes(v) for k, v in value.items()}
    if isinstance(value, list):
        out = [blank_notes(v) for v in value]
        for i, v in enumerate(out[:-1]):
            if v == b"notes":
                out[i + 1] = "text"
        return out
    return value


class Failure(Exception):
    pass


def connect(servers, protocol):
    pair = [Connection(s.host, s.port) for s in servers]
    for c in pair:
        c.call("HELLO", protocol)
    return pair


def compare(pair, words):
    replies = []
    for c in pair:
        c.send([words])
        replies.append(c.read())
    if not same(words, *replies):
        raise Failure(f"{words!r}\n  redis:  {replies[0]!r}\n  pollux: {replies[1]!r}")


# --- what is compared by shape, or only asked of Pollux ----------------------------------------------


def fields(line):
    return dict(f.split(b"=", 1) for f in line.strip().split(b" "))


def client_lines(servers, protocol):
    """CLIENT LIST and INFO have Redis's fields in Redis's order; then those of 7.2 about the library."""
    pair = connect(servers, protocol)
    for words in (("CLIENT", "INFO"), ("CLIENT", "LIST")):
        texts = [c.call(*words) for c in pair]
        if protocol == 3:
            assert all(t.startswith(b"txt:") for t in texts), texts
            texts = [t[4:] for t in texts]
        names = [[f.split(b"=")[0] for f in t.splitlines()[0].split(b" ")] for t in texts]
        assert [n for n in names[1] if n != b"watch"] == names[0] + [b"lib-name", b"lib-ver"], names
    own = fields(texts[1].splitlines()[-1])
    assert own[b"cmd"] == b"client|list", own
    assert own[b"resp"] == b"%d" % protocol, own
    assert own[b"addr"] == b"%s:%d" % (servers[1].host.encode(), pair[1].socket.getsockname()[1]), own
    assert own[b"laddr"] == b"%s:%d" % (servers[1].host.encode(), servers[1].port), own


def ids_and_kill(servers, protocol):
    """Ids grow over all cores; KILL closes just those that fit, and itself after its reply."""
    for server in servers:
        clients = [Connection(server.host, server.port) for _ in range(12)]
        for c in clients:
            c.call("HELLO", protocol)
        ids = [c.call("CLIENT", "ID") for c in clients]
        assert len(set(ids)) == len(ids), ids
        first = clients[0]
        text = first.call("CLIENT", "LIST", "ID", *reversed(ids))
        text = text[4:] if protocol == 3 else text
        assert [int(fields(line)[b"id"]) for line in text.splitlines()] == ids[::-1], text
        assert first.call("CLIENT", "KILL", "ID", ids[0]) == 0
        assert first.call("CLIENT", "KILL", "ID", ids[5]) == 1
        gone(clients[5])
        address = "%s:%d" % clients[6].socket.getsockname()
        assert first.call("CLIENT", "KILL", address) == b"OK"
        gone(clients[6])
        address = "%s:%d" % clients[7].socket.getsockname()
        assert first.call("CLIENT", "KILL", "ADDR", address, "TYPE", "normal") == 1
        gone(clients[7])
        local = "%s:%d" % (server.host, server.port)
        assert first.call("CLIENT", "KILL", "LADDR", local, "USER", "default") == 8
        for c in clients[1:5] + clients[8:]:
            gone(c)
        assert first.call("CLIENT", "KILL", "LADDR", local, "SKIPME", "no") == 1
        gone(first)


def gone(connection):
    try:
        assert connection.socket.recv(1) == b""
    except ConnectionError:
        pass


def reply_modes(servers, protocol):
    """What is not answered is not answered, and the rest stays in order."""
    pair = connect(servers, protocol)
    lines = ["CLIENT REPLY SKIP", "PING skipped", "PING 1", "CLIENT REPLY OFF", "PING off", "CLIENT REPLY SKIP", "PING off",
             "NOSUCH", "CLIENT REPLY ON", "PING 2", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING 3", "CLIENT REPLY OFF",
             "QUIT"]
    for c in pair:
        c.send([words_of(line) for line in lines])
    texts = [b"".join(iter(lambda c=c: c.socket.recv(65536), b"")) for c in pair]
    assert texts[0] == texts[1], texts


def info_fields(servers, protocol):
    """Every field of INFO that Pollux has is Redis's or Pollux's own, in Redis's section; sections too."""
    pair = connect(servers, protocol)
    texts = [c.call("INFO", "everything") for c in pair]
    sections = []
    for text in texts:
        found, now = {}, None
        for line in (text[4:] if protocol == 3 else text).decode().splitlines():
            if line.startswith("# "):
                now = line[2:]
                found[now] = set()
            elif ":" in line and now:
                found[now].add(line.split(":")[0])
        sections.append(found)
    redis, ours = sections
    assert not set(redis) - set(ours), set(redis) ^ set(ours)
    newer = {"server_name", "server_mode", "pollux_version", "acl_access_denied_auth",
             "acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel",
             "client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections"}
    for name in ("Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Cluster"):
        assert ours[name] - redis[name] <= newer, (name, ours[name] - redis[name])
    for asked in (["INFO"], ["INFO", "default"], ["INFO", "all"], ["INFO", "server", "cpu"], ["INFO", "KEYSPACE", "all"]):
        headers = [re.findall(rb"# (\w+)", c.call(*asked)) for c in pair]
        wanted = headers[0]
        assert [h for h in headers[1] if h != b"Pollux"] == wanted, (asked, headers)


def info_figures(servers, protocol):
    """Counters count: of commands, errors, keys and clients, over all cores."""
    pair = connect(servers, protocol)
    seen = []
    for c in pair:
        c.call("FLUSHALL")
        c.call("CONFIG", "RESETSTAT")
        for i in range(40):
            c.call("SET", f"k{i}", "v")
            c.call("GET", f"k{i}")
        for i in range(10):
            c.call("GET", f"none{i}")
            c.call("SELECT", "x")
        c.call("LPUSH", "k1", "v")
        c.call("EXPIRE", "k1", 1000, "SOMETIMES")
        c.call("CLIENT", "SETNAME", "a\tb")
        c.call("EXPIRE", "k1", 1000)
        text = c.call("INFO", "everything").decode()
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        commands = {}
        for name in ("set", "get", "select", "expire", "config|resetstat", "client|setname"):
            numbers = dict(f.split("=") for f in info["cmdstat_" + name].split(","))
            commands[name] = {k: numbers[k] for k in ("calls", "rejected_calls", "failed_calls")}
        seen.append({
            "commands": commands,
            "db0": re.sub("avg_ttl=.*", "", info["db0"]),
            "errors": {k: v for k, v in info.items() if k.startswith("errorstat_")},
            **{k: info[k] for k in ("keyspace_hits", "keyspace_misses", "total_error_replies", "connected_clients")},
        })
    for name in seen[0]:
        assert seen[0][name] == seen[1][name], f"{name}\n  redis:  {seen[0][name]}\n  pollux: {seen[1][name]}"
    for c in pair:
        c.call("FLUSHALL")


def memory_peak(servers, protocol):
    """The peak is of what is counted in use, and one everywhere: STATS, INFO and DOCTOR."""
    for c in connect(servers, protocol):

        def stats(c=c):
            reply = c.call("MEMORY", "STATS")
            return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))

        def info(c=c):
            text = c.call("INFO", "memory").decode()
            return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and line[:4] != "txt:")

        c.call("SET", "kept", b"v" * 8_000_000)
        c.call("SET", "big", b"v" * 40_000_000)
        pollux.wait_for(lambda: stats()[b"peak.allocated"] >= 48_000_000, "the peak")
        c.call("DEL", "big")
        pollux.wait_for(lambda: stats()[b"total.allocated"] < 20_000_000, "the end of a big value")
        now = stats()
        peak, total = now[b"peak.allocated"], now[b"total.allocated"]
        assert 48_000_000 <= peak < 120_000_000, peak
        assert abs(float(now[b"peak.percentage"]) - 100 * total / peak) < 1, now
        assert int(info()["used_memory_peak"]) == peak, (info(), peak)
        assert b"Peak" in c.call("MEMORY", "DOCTOR")
        c.call("DEL", "kept")


def hello_reply(servers, protocol):
    pair = connect(servers, protocol)
    for asked in ((), (2,), (3,), (2, "SETNAME", "x"), (3, "AUTH", "default", "any", "SETNAME", "y"), (2,)):
        replies = [c.call("HELLO", *asked) for c in pair]
        for reply in replies:
            if isinstance(reply, list):
                reply[reply.index(b"id") + 1] = 0
            else:
                reply[b"id"] = 0
        assert replies[0] == replies[1], replies
        assert len({c.call("CLIENT", "GETNAME") for c in pair}) == 1


def library_of_7_2(servers, protocol):
    """CLIENT SETINFO and NO-TOUCH are not in 7.0, but newer clients send them unasked."""
    c = connect(servers, protocol)[1]
    assert c.call("CLIENT", "SETINFO", "LIB-NAME", "redis-py(x)") == b"OK"
    assert c.call("CLIENT", "SETINFO", "lib-ver", "5.0") == b"OK"
    assert isinstance(c.call("CLIENT", "SETINFO", "lib-ver", "5 0"), Error)
    assert isinstance(c.call("CLIENT", "SETINFO", "foo", "x"), Error)
    assert c.call("CLIENT", "NO-TOUCH", "ON") == b"OK"
    line = c.call("CLIENT", "INFO")
    assert b" lib-name=redis-py(x) lib-ver=5.0" in line and b" flags=T " in line, line


def helps(servers, protocol):
    """HELP is an array of statuses that starts with the usage and ends with HELP's own two lines."""
    pair = connect(servers, protocol)
    for container in ("CLIENT", "COMMAND", "CONFIG", "DEBUG", "MEMORY"):
        for reply in [c.call(container, "HELP") for c in pair]:
            assert isinstance(reply, list) and reply[0].startswith(container.encode() + b" <subcommand> "), reply
            assert reply[-2] == b"HELP", reply


# Commands that Redis 7.0 does not have.
LATER = {
    b"client|setinfo", b"client|no-touch",  # 7.2
    b"hexpire", b"hpexpire", b"hexpireat", b"hpexpireat", b"httl", b"hpttl", b"hexpiretime", b"hpexpiretime",
    b"hpersist",  # 7.4
    b"hgetex", b"hsetex", b"hgetdel",  # 8.0
}  # fmt: skip


def command_names(servers, protocol):
    """LIST, COUNT, bare COMMAND and DOCS agree on what there is; what is not in Redis 7.0 is meant."""
    redis, other = connect(servers, protocol)
    names = other.call("COMMAND", "LIST")
    top = sorted(n for n in names if b"|" not in n)
    assert other.call("COMMAND", "COUNT") == len(top)
    assert sorted(c[0] for c in other.call("COMMAND")) == top
    docs = other.call("COMMAND", "DOCS")
    assert sorted(docs if protocol == 3 else docs[::2]) == top
    new = set(names) - set(redis.call("COMMAND", "LIST"))
    assert new == LATER, new ^ LATER
    for category in other.call("COMMAND", "INFO", "get")[0][6]:
        found = [sorted(c.call("COMMAND", "LIST", "FILTERBY", "ACLCAT", category[1:])) for c in (redis, other)]
        assert set(found[1]) <= set(found[0]) | new, category


def nothing_else_is_missing(servers, protocol):
    """What Redis has and Pollux has not is in missing.py, and nothing that works on keys is."""
    redis, other = connect(servers, protocol)
    theirs, ours = ({name.decode() for name in c.call("COMMAND", "LIST")} for c in (redis, other))
    lacking = {name: missing.stands_for(name) for name in theirs - ours}
    forgotten = sorted(name for name, stands in lacking.items() if not stands)
    assert not forgotten, f"neither here nor in missing.py: {forgotten}"
    here = sorted(missing.names() - set(lacking.values()))
    assert not here, f"in missing.py, and here or unknown to Redis: {here}"
    for name in sorted(missing.names()):
        info = redis.call("COMMAND", "INFO", name)[0]
        assert not info[8] or name in missing.WITH_KEYS, f"{name} names keys, and is missing"
        assert name in missing.WITH_KEYS or not {b"@read", b"@write", b"@keyspace"} & set(info[6]), (
            f"{name} is about keys, and is missing")


def clock(servers, protocol):
    values = [c.call("TIME") for c in connect(servers, protocol)]
    seconds = [int(v[0]) + int(v[1]) / 1e6 for v in values]
    assert abs(seconds[0] - seconds[1]) < 10 and all(0 <= int(v[1]) < 10**6 for v in values), values


SHAPES = [client_lines, ids_and_kill, reply_modes, info_fields, info_figures, memory_peak, hello_reply, library_of_7_2,
          helps, command_names, nothing_else_is_missing, clock]

# --- random arguments --------------------------------------------------------------------------------

HEADS = [
    "PING", "ECHO", "SELECT", "AUTH", "RESET", "CLIENT GETNAME", "CLIENT SETNAME", "CLIENT KILL ID 123456789", "CLIENT REPLY x",
    "CLIENT NO-EVICT", "CLIENT LIST TYPE replica", "CLIENT LIST ID", "COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS",
    "COMMAND LIST FILTERBY", "CONFIG GET", "CONFIG SET maxmemory-samples", "COMMAND GETKEYS set", "COMMAND GETKEYS mset",
    "CONFIG SET", "HELLO 9", "nosuch", "CLIENT nosuch", "DEBUG PROTOCOL", "TIME x", "INFO nosuch",
]
TAILS = [
    b"", b"x", b"0", b"1", b"-1", b"15", b"99999999999", b"on", b"OFF", b"a b", b"\r\n", b"\x00\xff", b"y" * 140, b"get", b"mset",
    b"k", b"nosuch*", b"ID", b"123456789", b"maxmemory-samples", b"tcp-keepalive", b"7", b"string", b"PATTERN", b"MODULE",
    b"normal", b"SKIPME", b"yes", b"1.5", b"+1", b"01", b"replica", b"lfu-decay-time",
]


def random_round(servers, seed, n=400):
    draw = random.Random(seed)
    pairs = [connect(servers, protocol) for protocol in (2, 3)]
    protocols = [2, 3]
    for _ in range(n):
        i = draw.randrange(2)
        head = draw.choice(HEADS)
        words = words_of(head) + draw.choices(TAILS, k=draw.choice((0, 0, 1, 1, 1, 2, 2, 3, 4)))
        words[0] = draw.choice((words[0], words[0].lower()))
        if len(words) < 3 and head.startswith("CLIENT LIST"):
            continue  # shows figures
        if head.startswith("CONFIG SET") and any(b"\x00" in word for word in words):
            continue  # refused with a reason of its own
        if len(words) > 2 and words[0].upper() == b"CLIENT" and words[1] == b"KILL" and b"SKIPME" in words:
            continue
        try:
            compare(pairs[i], words)
        except EOFError:
            raise Failure(f"{words!r} closed a connection") from None
        if head == "RESET":  # chooses RESP2
            for c in pairs[i]:
                c.call("HELLO", protocols[i])


# --- running -------------------------------------------------------------------------------------------


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def run(self, name, test, *args):
        try:
            test(*args)
            self.passed += 1
        except (Failure, AssertionError, EOFError, OSError, KeyError, TypeError, ValueError) as error:
            self.failed += 1
            print(f"FAILED: {name}: {type(error).__name__}: {str(error)[:3000]}")


def script(servers, protocol, lines):
    pair = connect(servers, protocol)
    for line in lines:
        compare(pair, words_of(line))


def one_configuration(count, cores, options):
    debug = {"enable-debug-command": "yes", "enable-protected-configs": "yes"}
    servers = [pollux.Redis(debug), pollux.Server({**debug, "cores": cores})]
    try:
        for server in servers:
            server.wait_ready()
        tests = []
        for protocol in (2, 3):
            for i, lines in enumerate(SCRIPTS):
                tests.append((f"script {i} ({lines[0]}), RESP{protocol}", script, protocol, lines))
            tests += [(f"{test.__name__}, RESP{protocol}", test, protocol) for test in SHAPES]
        tests += [(f"metadata {name}", metadata, name) for name in COMMANDS]
        tests += [(f"random seed {seed}", random_round, seed) for seed in range(options.seed, options.seed + options.rounds)]
        for name, test, *given in tests:
            count.run(f"{name}, cores {cores}", test, servers, *given)
            if not answers(servers[1]):
                count.failed += 1
                print(f"FAILED: the server has ended in {name}:\n{servers[1].tail()}")
                return
    finally:
        for server in servers:
            server.close()



def metadata(servers, name):
    checks.metadata(name.lower(), *connect(servers, 3))


def answers(server):
    try:
        return Connection(server.host, server.port).call("PING") == b"PONG"
    except (OSError, EOFError):
        return False


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200 if pollux.FULL else 10)
    parser.add_argument("--cores", action="append")
    return parser.parse_args()


def main():
    options = arguments()
    pollux.close_on_signals()
    count = Count()
    for cores in options.cores or ["0", "0,1"]:
        try:
            one_configuration(count, cores, options)
        except pollux.Skip as reason:
            print(f"skipped: {reason}")
            count.skipped += 1
    print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped")
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
