#!/usr/bin/python3
"""CLIENT on redis-server 7.0.15 and on Pollux: the same scenarios of several connections, whose outcomes must be equal.
Fields that only Redis 7.2 has are checked by name.

usage: test_clients.py [--cores 0 --cores 0,1] [--only NAME] [--peer redis]
"""

import contextlib
import os
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import missing
import pollux
import program
from raw import Connection, Error, Status, parse

# Of CLIENT LIST: the fields of 7.0, in order, and what 7.2 puts behind them.
FIELDS = (
    "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem"
    " tot-mem events cmd user redir resp"
).split()
FIELDS_LATER = ["watch", "lib-name", "lib-ver"]
# Those whose values are the same on both servers.
SAME = "name flags db sub psub ssub multi oll cmd user redir resp events".split()
NUMBERS = "id age idle db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem resp".split()
LONG_MS = 60000
SHORT_MS = 150


def fields(line):
    return dict(field.split("=", 1) for field in line.decode().split(" "))


class Side:
    """One of the servers, and the connections of a scenario to it."""

    def __init__(self, server, redis):
        self.server, self.redis = server, redis
        self.open = []

    def connect(self, name=None):
        connection = Connection(self.server.host, self.server.port)
        self.open.append(connection)
        connection.id = connection.call("CLIENT", "ID")
        if name:
            assert connection.call("CLIENT", "SETNAME", name) == b"OK"
        return connection

    def send(self, connection, *words):
        connection.send([[w if isinstance(w, bytes) else str(w).encode() for w in words]])

    def line(self, watcher, connection):
        """What CLIENT LIST tells of it; None: nothing any more."""
        text = watcher.call("CLIENT", "LIST", "ID", connection.id).rstrip(b"\n")
        return fields(text) if text else None

    def has_reply(self, connection):
        ready, connection.data_ready = connection.data[connection.at :], None
        if ready:
            return True
        connection.socket.setblocking(False)
        try:
            return bool(connection.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            connection.socket.settimeout(pollux.PATIENCE_S)

    def settled(self, watcher, connection):
        """"held" when the connection waits, "answered" when there is a reply, "closed" when it is gone."""

        def look():
            line = self.line(watcher, connection)
            if line is None:
                return "closed"
            if "b" in line["flags"]:
                return "held"
            return self.has_reply(connection) and "answered"

        return pollux.wait_for(look, "a command to be held up or answered")

    def gone(self, watcher, connection):
        return pollux.wait_for(lambda: self.line(watcher, connection) is None, "a connection to be gone")

    def close(self):
        for connection in self.open:
            connection.close()
        self.open = []


def outcome(connection):
    try:
        reply = parse(connection.read())
    except (EOFError, ConnectionError):
        return "closed"
    if isinstance(reply, Error):
        return b"-" + reply
    return b"+" + reply if isinstance(reply, Status) else reply


def call(side, connection, *words):
    side.send(connection, *words)
    return outcome(connection)


# --- the line about a client -----------------------------------------------------------------------


def check_fields(side, line):
    names = [field.split("=", 1)[0] for field in line.decode().split(" ")]
    expected = FIELDS + ([] if side.redis else FIELDS_LATER)
    assert sorted(names) == sorted(expected), f"fields: {names}"
    assert [n for n in names if n in FIELDS] == FIELDS, f"order of fields: {names}"
    values = fields(line)
    for name in NUMBERS + ([] if side.redis else ["watch"]):
        int(values[name])
    assert int(values["tot-mem"]) > 0
    return {name: values[name] for name in SAME}


def fields_of_each(side):
    a, b = side.connect("a"), side.connect("b")
    results = [check_fields(side, side_line) for side_line in a.call("CLIENT", "LIST").splitlines()]
    results.append(check_fields(side, a.call("CLIENT", "INFO").rstrip(b"\n")))
    b.call("SELECT", 3)
    b.call("HELLO", 3)
    b.call("MULTI")
    b.call("SET", "a", "x" * 1000)
    b.call("SET", "b", "x" * 1000)
    line = side.line(a, b)
    assert 2000 < int(line["multi-mem"]) < 8000, line["multi-mem"]
    results.append({name: line[name] for name in SAME})
    b.call("EXEC")
    results.append(side.line(a, b)["multi"])
    return results


def flags_of_each(side):
    a = side.connect("a")
    results = []
    for commands in (["MULTI"], ["WATCH k"], ["WATCH k", "MULTI"], ["CLIENT NO-EVICT on"], ["SUBSCRIBE x"], ["MONITOR"],
                     ["CLIENT NO-EVICT on", "MULTI"]):
        if any(missing.stands_for(c.split()[0].lower()) for c in commands):
            continue
        b = side.connect("b")
        for words in commands:
            b.call(*words.split())
        results.append((commands, side.line(a, b)["flags"]))
    b = side.connect("b")
    b.call("WATCH", "k")
    b.call("MULTI")
    a.call("SET", "k", time.monotonic())
    results.append(side.line(a, b)["flags"])
    c = side.connect("c")
    side.send(c, "BLPOP", "nothing", "0")
    results.append(side.settled(a, c))
    results.append(side.line(a, c)["flags"])
    return results


def unread_query(side):
    """What is there of a command that is not whole yet."""
    a, b = side.connect(), side.connect()
    b.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\n" + b"x" * 50)
    line = pollux.wait_for(lambda: (lambda x: int(x["qbuf"]) > 0 and x)(side.line(a, b)), "bytes of a query")
    assert 0 < int(line["qbuf"]) <= 100, line
    b.socket.sendall(b"x" * 50 + b"\r\n")
    return outcome(b), side.line(a, b)["qbuf"]


def listed(side):
    a, b, c = side.connect("a"), side.connect("b"), side.connect("c")

    def names(*words):
        reply = a.call("CLIENT", "LIST", *words)
        return [fields(line)["name"] for line in reply.splitlines()] if not isinstance(reply, Error) else reply

    return [
        names(), names("TYPE", "normal"), names("TYPE", "pubsub"), names("TYPE", "replica"), names("TYPE", "master"),
        names("ID", b.id), names("ID", c.id, a.id), names("ID", a.id, a.id), names("ID", 0, b.id), names("ID"), names("ID", "x"),
    ]


# --- PAUSE -----------------------------------------------------------------------------------------

WORDS = [
    "CLIENT PAUSE", "CLIENT PAUSE x", "CLIENT PAUSE -1", "CLIENT PAUSE 1.5", "CLIENT PAUSE 9223372036854775808",
    "CLIENT PAUSE 1 FOO", "CLIENT PAUSE x FOO", "CLIENT PAUSE 1 WRITE y", "CLIENT PAUSE 0", "CLIENT PAUSE 0 write",
    "CLIENT PAUSE 0 All", "CLIENT UNPAUSE", "CLIENT UNPAUSE x", "CLIENT UNBLOCK", "CLIENT UNBLOCK x", "CLIENT UNBLOCK 1 foo",
    "CLIENT UNBLOCK 123456 timeout", "CLIENT UNBLOCK 123456 error x", "CLIENT UNBLOCK 123456", "CLIENT KILL TYPE normal SKIPME",
    "CLIENT KILL TYPE normal ID 123456", "CLIENT KILL LADDR x ADDR y", "CLIENT KILL SKIPME yes ID 123456",
    "CLIENT REPLY foo", "CLIENT REPLY on off", "CLIENT SETNAME", "CLIENT NO-EVICT", "CLIENT LIST ID 1 TYPE normal",
    "CLIENT LIST TYPE normal ID 1",
]  # fmt: skip


def wrong_words(side):
    a = side.connect()
    return [(line, call(side, a, *line.split())) for line in WORDS]


WRITES = [
    "SET a 1", "GET a", "PFCOUNT h", "PUBLISH c x", "SPUBLISH c x", "EVAL return(1) 0", "EVAL_RO return(1) 0",
    "EVALSHA 1234567890123456789012345678901234567890 0", "SCRIPT LOAD return(1)", "SCRIPT FLUSH", "FUNCTION FLUSH",
    "FUNCTION LIST", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "MULTI", "WATCH a", "UNWATCH", "EXEC", "DISCARD", "CONFIG SET hz 10",
    "SORT l", "SORT_RO l", "GETEX a", "TOUCH a", "RESTORE z 0 x", "MIGRATE 127.0.0.1 1 nokey 0 10", "COPY nokey b", "PING",
    "SELECT 0", "DEL a", "UNLINK a", "EXPIRE a 10", "DBSIZE", "BLPOP nokey 0.01", "XREAD STREAMS s 0", "XREADGROUP GROUP g c STREAMS s >",
    "XGROUP CREATE s g 0", "GETSET a 1", "BITFIELD a GET u8 0", "BITFIELD_RO a GET u8 0", "GEORADIUS g 1 1 1 m", "GEORADIUS_RO g 1 1 1 m",
    "SCAN 0", "KEYS *", "RANDOMKEY", "OBJECT ENCODING a", "PFADD h a", "PFMERGE h h", "SPOP s", "SRANDMEMBER s", "NOSUCH", "SET a",
    "CLIENT NO-EVICT off", "SUBSCRIBE x", "CLIENT PAUSE 1 WRITE", "QUIT",
]  # fmt: skip


def paused_writes(side):
    """Of each command: does it wait while writing does? What is answered afterwards?"""
    a = side.connect()
    results = []
    for line in WRITES:
        words = line.split()
        if missing.stands_for("|".join(words[:2]).lower()) or missing.stands_for(words[0].lower()):
            continue
        a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
        b = side.connect()
        side.send(b, *words)
        state = side.settled(a, b)
        a.call("CLIENT", "UNPAUSE")
        reply = outcome(b)
        # Where a walk begins and what it gives is each server's own.
        results.append((line, "answered" if words[0] == "QUIT" else state, words[0] == "SCAN" or reply))
        b.close()
    return results


SHEBANGS = ["#!lua flags=no-writes\nreturn 1", "#!lua\nreturn 1", "#!lua flags=allow-oom\nreturn 1", "return 1"]
PAUSED_LIBRARY = """#!lua name=paused
redis.register_function{function_name='reads', callback=function() return 1 end, flags={'no-writes'}}
redis.register_function('writes', function() return 1 end)
"""


def paused_scripts(side):
    a = side.connect()
    results = []

    def paused(words):
        a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
        b = side.connect()
        side.send(b, *words)
        state = side.settled(a, b)
        a.call("CLIENT", "UNPAUSE")
        results.append((words, state, outcome(b)))
        b.close()

    for script in SHEBANGS:
        sha = a.call("SCRIPT", "LOAD", script)
        for words in (["EVAL", script, 0], ["EVAL_RO", script, 0], ["EVALSHA", sha, 0], ["EVALSHA_RO", sha, 0]):
            paused(words)
    a.call("FUNCTION", "LOAD", "REPLACE", PAUSED_LIBRARY)
    for words in (["FCALL", "reads", 0], ["FCALL_RO", "reads", 0], ["FCALL", "writes", 0], ["FCALL", "none", 0], ["FCALL_RO", "none", 0]):
        paused(words)
    a.call("FUNCTION", "FLUSH")
    return results


def paused_all(side):
    """Errors are told at once; everything else waits, UNPAUSE too."""
    a = side.connect()
    results = []
    for line in ("PING", "GET", "NOSUCH", "CLIENT UNPAUSE", "MULTI", "RESET", "QUIT", "CLIENT REPLY ON", "SHUTDOWN x", "EXEC"):
        b = side.connect()
        a.call("CLIENT", "PAUSE", SHORT_MS, "ALL")
        begin = time.monotonic()
        reply = call(side, b, *line.split())
        held = time.monotonic() - begin > SHORT_MS / 2000
        # Redis answers some errors of connections that were there late, when it next looks at them.
        results.append((line, held, reply))
        b.close()
        assert a.call("PING") == b"PONG"  # it is over
    return results


def paused_transaction(side):
    a, b = side.connect(), side.connect()
    results = [b.call("MULTI"), a.call("CLIENT", "PAUSE", LONG_MS, "WRITE"), b.call("GET", "p")]
    side.send(b, "SET", "p", "1")
    results.append(side.settled(a, b))
    results.append(a.call("CLIENT", "UNPAUSE"))
    results.append(outcome(b))
    a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
    side.send(b, "EXEC")
    results.append(side.settled(a, b))
    results.append(a.call("GET", "p"))
    a.call("CLIENT", "UNPAUSE")
    results.append(outcome(b))
    b.call("MULTI")
    b.call("GET", "p")
    a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
    results.append(call(side, b, "EXEC"))
    a.call("CLIENT", "UNPAUSE")
    # A pause inside a transaction lets it go on to its end, and serves who waits for what it wrote.
    c = side.connect()
    side.send(c, "BLPOP", "served", "0")
    results.append(side.settled(a, c))
    for words in (["MULTI"], ["CLIENT", "PAUSE", LONG_MS, "WRITE"], ["LPUSH", "served", "x"], ["EXEC"]):
        results.append(a.call(*words))
    results.append(outcome(c))
    results.append(a.call("CLIENT", "UNPAUSE"))
    return results


def paused_twice(side):
    """The longer and the harder one stands."""
    a, b = side.connect(), side.connect()

    def held_for(*pauses):
        begin = time.monotonic()
        for ms, mode in pauses:
            side.send(a, "CLIENT", "PAUSE", ms, mode)
            outcome(a)
        assert b.call("SET", "k", "v") == b"OK"
        return time.monotonic() - begin

    long_s, short_ms, long_ms = 0.6, 100, 600
    return [
        held_for((long_ms, "WRITE"), (short_ms, "WRITE")) >= long_s - 0.01,
        held_for((short_ms, "WRITE"), (long_ms, "WRITE")) >= long_s - 0.01,
        held_for((short_ms, "WRITE"), (0, "WRITE")) >= short_ms / 1000 - 0.01,
    ]


def paused_order(side):
    """What was sent behind a command that waits runs behind it, and others go on."""
    a, b = side.connect(), side.connect()
    a.call("SET", "order", "1")
    a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
    for words in (["GET", "order"], ["INCR", "order"], ["GET", "order"], ["INCR", "order"], ["PING"]):
        side.send(b, *words)
    results = [outcome(b), side.settled(a, b), a.call("GET", "order"), side.line(a, b)["cmd"]]
    results.append([line for line in a.call("INFO", "clients").splitlines() if line.startswith(b"blocked_clients")])
    a.call("CLIENT", "UNPAUSE")
    return results + [outcome(b) for _ in range(4)]


def paused_and_left(side):
    """Who goes away meanwhile has written nothing."""
    a = side.connect()
    a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
    results = []
    for how in (socket.SHUT_WR, None):
        b = side.connect()
        side.send(b, "SET", "left", "x")
        results.append(side.settled(a, b))
        if how is None:
            b.close()
        else:
            b.socket.shutdown(how)
        results.append(side.gone(a, b))
    c = side.connect()
    side.send(c, "SET", "left", "y")
    side.settled(a, c)
    results.append(a.call("CLIENT", "KILL", "ID", c.id))
    results.append(outcome(c))
    a.call("CLIENT", "UNPAUSE")
    return results + [a.call("GET", "left")]


def paused_expiry(side):
    """Keys whose time is over are not found, and stay."""
    a = side.connect()
    a.call("FLUSHALL")
    a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
    a.call("CLIENT", "UNPAUSE")
    a.call("MULTI")  # none expires before the pause
    for i in range(20):
        a.call("SET", f"short:{i}", "v", "PX", 30)
    a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
    a.call("EXEC")
    pollux.wait_for(lambda: a.call("GET", "short:19") is None, "a key's time to be over")
    pollux.wait_for(lambda: a.call("KEYS", "*") == [], "all keys' time to be over")
    results = [a.call("DBSIZE"), a.call("GET", "short:1"), a.call("EXISTS", "short:2"), a.call("TTL", "short:3"),
               a.call("KEYS", "*"), a.call("TYPE", "short:4"), a.call("DBSIZE")]
    a.call("CLIENT", "UNPAUSE")
    pollux.wait_for(lambda: a.call("DBSIZE") == 0, "keys to go")
    return results


def paused_memory(side):
    """Nothing is evicted meanwhile."""
    a = side.connect()
    a.call("FLUSHALL")
    for i in range(200):
        a.call("SET", f"big:{i}", "x" * 1000)
    a.call("CLIENT", "PAUSE", LONG_MS, "WRITE")
    a.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1mb")
    try:
        results = [a.call("GET", "big:7"), a.call("DBSIZE"), a.call("DBSIZE")]
    finally:
        a.call("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
        a.call("CLIENT", "UNPAUSE")
    return results


# --- REPLY, KILL, UNBLOCK --------------------------------------------------------------------------


def replies(side):
    results = []
    for script in ("SKIP|PING|ECHO a|ECHO b", "SKIP|SKIP|ECHO a|ECHO b|ECHO c", "OFF|PING|ECHO a|ON|ECHO b", "OFF|SKIP|ECHO a|ON|ECHO b",
                   "ON|ON|ECHO a", "SKIP|NOSUCH|ECHO a", "OFF|MULTI|SET r 1|EXEC|ON|GET r", "SKIP|MULTI|SET r 2|EXEC|GET r",
                   "MULTI|OFF|EXEC|ECHO a|ON|ECHO b", "SKIP|BLPOP nothing 0.01|ECHO a", "OFF|GET|ON|ECHO end"):
        a = side.connect()
        n = 0
        for line in script.split("|"):
            side.send(a, *(["CLIENT", "REPLY", line] if line in ("ON", "OFF", "SKIP") else line.split()))
        side.send(a, "ECHO", "the end")
        got = []
        while (not got or got[-1] != b"the end") and n < 20:
            got.append(outcome(a))
            n += 1
        results.append((script, got))
    return results


def kills(side):
    a, b, c, d = (side.connect(name) for name in "abcd")
    results = [a.call("CLIENT", "KILL", "ID", b.id), outcome(b), a.call("CLIENT", "KILL", "ID", b.id)]
    address = side.line(a, c)["addr"]
    results += [a.call("CLIENT", "KILL", "ADDR", address, "TYPE", "pubsub"), a.call("CLIENT", "KILL", "ADDR", address), outcome(c)]
    address = side.line(a, d)["addr"]
    results += [a.call("CLIENT", "KILL", address), outcome(d), call(side, a, "CLIENT", "KILL", address)]
    e, f = side.connect("e"), side.connect("f")
    laddr = side.line(a, e)["laddr"]
    results += [a.call("CLIENT", "KILL", "LADDR", laddr, "ID", e.id), outcome(e)]
    results += [a.call("CLIENT", "KILL", "USER", "default"), outcome(f)]
    g = side.connect("g")
    results += [call(side, g, "CLIENT", "KILL", "ID", g.id, "SKIPME", "no"), outcome(g)]
    h = side.connect("h")
    results += [call(side, h, "CLIENT", "KILL", "ID", h.id, "SKIPME", "yes"), call(side, h, "CLIENT", "KILL", "ID", h.id)]
    results += [call(side, h, "CLIENT", "KILL", side.line(a, h)["addr"]), outcome(h)]
    i = side.connect("i")
    side.send(i, "BLPOP", "nothing", "0")
    results += [side.settled(a, i), a.call("CLIENT", "KILL", "ID", i.id), outcome(i)]
    j = side.connect("j")
    results += [a.call("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes"), outcome(j), a.call("PING")]
    return results


def unblocks(side):
    a = side.connect()
    results = []
    for words in (["BLPOP", "nothing", 0], ["BLMOVE", "x", "y", "LEFT", "LEFT", 0], ["XREAD", "BLOCK", 0, "STREAMS", "s", "$"],
                  ["BZPOPMIN", "z", 0]):
        for reason in ([], ["TIMEOUT"], ["error"]):
            b = side.connect()
            side.send(b, *words)
            results += [side.settled(a, b), a.call("CLIENT", "UNBLOCK", b.id, *reason), outcome(b)]
            results += [a.call("CLIENT", "UNBLOCK", b.id, *reason), call(side, b, "PING")]
    return results


def settings(side):
    a = side.connect()
    results = []
    for name in ("timeout", "tcp-keepalive", "maxclients", "client-query-buffer-limit", "maxmemory-clients",
                 "client-output-buffer-limit"):
        before = a.call("CONFIG", "GET", name)
        results.append(before if name != "maxclients" else before[0])
        for value in ("0", "1", "-1", "x", "100", "1mb", "5%", "101%", "normal 0 0 0", "normal 1mb 512kb 10",
                      "pubsub 32mb 8mb 60 normal 0 0 0", "slave 1 2 3", "replica 1 2 3", "foo 1 2 3", "normal 1 2", ""):
            reply = call(side, a, "CONFIG", "SET", name, value)
            results.append((name, value, reply if reply == b"+OK" else reply[:1], a.call("CONFIG", "GET", name)[1:]))
        assert a.call("CONFIG", "SET", name, before[1]) == b"OK"
    return results


SCENARIOS = {f.__name__: f for f in (
    fields_of_each, flags_of_each, unread_query, listed, wrong_words, paused_writes, paused_scripts, paused_all,
    paused_transaction, paused_twice, paused_order, paused_and_left, paused_expiry, paused_memory, replies, kills, unblocks,
    settings,
)}  # fmt: skip


def play(scenario, sides):
    results = [None, None]

    def run(i):
        try:
            results[i] = scenario(sides[i])
        except Exception as error:  # told by the comparison
            results[i] = error
        finally:
            sides[i].close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for result in results:
        if isinstance(result, Exception):
            raise AssertionError(f"{['redis', 'pollux'][results.index(result)]}: {type(result).__name__}: {result}") from result
    if results[0] == results[1]:
        return
    if isinstance(results[0], (list, tuple)) and len(results[0]) == len(results[1]):
        different = [(i, a, b) for i, (a, b) in enumerate(zip(*results)) if a != b]
        raise AssertionError("".join(f"\n  {i}\n    redis:  {a!r}\n    pollux: {b!r}" for i, a, b in different))
    raise AssertionError(f"\n  redis:  {results[0]!r}\n  pollux: {results[1]!r}")


def main():
    parser = program.parser("CLIENT on redis-server and on Pollux")
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="this scenario")
    options = parser.parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        with program.started(options, cores) as servers:
            sides = [Side(servers[0], True), Side(servers[1], options.peer == "redis")]
            yield servers, [(name, lambda n=name: play(SCENARIOS[n], sides)) for name in options.only or SCENARIOS]

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
