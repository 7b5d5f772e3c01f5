#!/usr/bin/python3
"""What watches the server at work, on redis-server 7.0.15 and on Pollux: MONITOR's lines and SLOWLOG's entries are
the same to the byte but for times and addresses, with one core and with two.

usage: test_eyes.py [--cores 0 --cores 0,1]
"""

import argparse
import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import pollux
from raw import Connection
from test_commands import Servers

# Commands by client: what MONITOR shows of them is compared. A word in {} is bytes in Latin-1.
SEEN = [
    "0 SET a 1", "1 GET a", "0 set A {\"\\\n\r\t\a\b\x01\x1f\x7f\x80\xff } {}", "1 SELECT 3", "1 GET a", "0 SELECT 99",
    "1 NOSUCH x", "1 GET", "0 PING", "0 MGET a b c d e f g h", "1 MSET a 1 b 2 c 3 d 4", "0 DEL a b c d",
    "0 MULTI", "0 SET a 1", "0 SELECT 1", "0 GET a", "0 DBSIZE", "0 KEYS *", "0 SELECT 0", "0 EXEC",
    "0 MULTI", "0 SET a 1", "0 DISCARD", "0 MULTI", "0 SET a", "0 EXEC", "0 EXEC", "0 DISCARD", "0 MULTI", "0 EXEC",
    "0 WATCH a", "1 SELECT 0", "1 SET a 2", "0 MULTI", "0 GET a", "0 EXEC", "0 WATCH a", "0 UNWATCH",
    "0 AUTH x", "0 AUTH a b", "0 HELLO 2 AUTH default x", "0 HELLO 2 AUTH default", "0 HELLO 2 SETNAME bob",
    "0 CONFIG GET port", "0 CONFIG SET hz 10", "0 CONFIG HELP", "0 CONFIG RESETSTAT", "0 DEBUG SLEEP 0", "0 CLIENT LIST",
    "0 CLIENT ID", "0 CLIENT SETNAME x", "0 CLIENT KILL ID 999999", "0 INFO server", "0 COMMAND COUNT", "0 TIME",
    "0 SLOWLOG LEN", "0 LATENCY LATEST", "0 ECHO x", "0 MEMORY USAGE a", "0 DBSIZE", "0 KEYS nothing", "0 SCAN 0",
    "0 OBJECT HELP", "0 OBJECT ENCODING a", "0 RANDOMKEY", "0 MIGRATE 127.0.0.1 1 nokey 0 10 AUTH secret",
    "0 MIGRATE 127.0.0.1 1 nokey 0 10 AUTH2 user secret", "0 BLPOP l m 0.01", "0 LPUSH l 1", "0 BLPOP l m 0", "0 SORT l",
    "1 BLPOP waits 0", "0 RPUSH waits x", "1 PING", "0 SHUTDOWN ABORT", "0 FLUSHALL", "0 RESET", "0 FLUSHDB",
    "0 ACL WHOAMI", "0 ACL SETUSER u >p", "0 ACL CAT", "0 EVAL {return 1} 0",
    "0 EVAL {redis.call('set',KEYS[1],'v') redis.call('select','5') return redis.pcall('get',KEYS[1])} 1 k",
    "0 EVAL {return redis.call('nosuch')} 0", "0 EVALSHA nosuch 0", "0 SCRIPT EXISTS x",
    "0 MULTI", "0 EVAL {return redis.call('get',KEYS[1])} 1 k", "0 EXEC", "0 SELECT 0",
    "0 PUBLISH a b", "0 SPUBLISH a b", "0 CLIENT NO-EVICT ON",
]  # fmt: skip

# What a client in MONITOR may do itself, with its replies and lines mixed.
OWN = [
    "PING", "GET a", "SET a b", "KEYS *", "DBSIZE", "SELECT 2", "SELECT 0", "MONITOR", "PING again", "MULTI", "PING", "GET a",
    "DISCARD", "MULTI", "ECHO x", "EXEC", "HELLO 3", "PING three", "HELLO 2", "COMMAND COUNT", "CLIENT SETNAME me",
]  # fmt: skip

SLOW = [
    "SET a 1", "GET a", "PING " + "x" * 128, "PING " + "x" * 129, "PING " + "x" * 20000, "MGET " + " ".join("k%d" % i for i in range(31)),
    "MGET " + " ".join("k%d" % i for i in range(32)), "MGET " + " ".join("k%d" % i for i in range(100)),
    "MULTI", "SET a 1", "GET a", "DBSIZE", "EXEC", "BLPOP none 0.01", "SELECT 0", "GET", "NOSUCH", "CLIENT SETNAME bob", "PING",
    "AUTH x", "AUTH a b", "HELLO 2 AUTH default x", "HELLO 2 AUTH default", "ACL SETUSER u >p on", "ACL WHOAMI",
    "CONFIG SET requirepass {}", "CONFIG SET masterauth s maxmemory 0", "CONFIG SET masteruser {}", "CONFIG SET MASTERAUTH {}",
    "MIGRATE 127.0.0.1 1 nokey 0 10 AUTH secret", "MIGRATE 127.0.0.1 1 nokey 0 10 COPY AUTH2 a secret",
    "KEYS *", "DBSIZE", "SCAN 0", "RANDOMKEY", "FLUSHALL", "OBJECT HELP", "INFO server", "DEBUG SLEEP 0", "CONFIG GET maxmemory",
    "RPUSH l 1 2 3", "LRANGE l 0 -1", "SORT l", "LPOP l 2", "MSET a 1 b 2 c 3", "DEL a b c", "SLOWLOG LEN",
]  # fmt: skip


class Failure(Exception):
    pass


def words_of(line):
    """Splits at blanks; what stands in braces is one word."""
    words = re.findall(r"\{([^}]*)\}|(\S+)", line.replace("\n", "\0"))
    return [(a or b).replace("\0", "\n").encode("latin-1") for a, b in words]


def same(what, redis, other):
    if redis != other:
        at = next((i for i, (a, b) in enumerate(zip(redis, other)) if a != b), min(len(redis), len(other)))
        raise Failure(f"{what}, at {at}:\n  redis:  {redis[at : at + 3]}\n  pollux: {other[at : at + 3]}")


def connect(server, n=1):
    return [Connection(server.host, server.port) for _ in range(n)]


def known(servers, words):
    """Whether Pollux has the command: what it has not yet is not compared."""
    name = words[0].decode("latin-1").lower()
    if name == "nosuch":
        return True
    c = connect(servers[1])[0]
    info = c.call("COMMAND", "INFO", name)
    c.close()
    return info[0] is not None


def usable(servers, lines):
    return [line for line in lines if known(servers, words_of(line.split(" ", 1)[1] if line[0].isdigit() else line))]


# --- MONITOR -----------------------------------------------------------------------------------------


def shown(line, clients):
    """A line without its time, and with the number of the client for its address."""
    match = re.fullmatch(rb"\+(\d+)\.(\d{6}) \[(\d+) ([^\]]*)\] (.*)", line, re.DOTALL)
    if not match:
        raise Failure(f"not a line of MONITOR: {line!r}")
    seconds, _, db, who, rest = match.groups()
    return (db, clients.get(who, who), rest), int(seconds)


def lines_until(connection, last):
    lines = []
    while not lines or last not in lines[-1]:
        lines.append(connection._line())
    return lines


def monitored(servers):
    """The commands of several clients, in order, as several monitors see them."""
    script = usable(servers, SEEN)
    results = []
    for server in servers:
        clients, watchers = connect(server, 2), connect(server, 5)
        for w in watchers:
            if w.call("MONITOR") != b"OK":
                raise Failure("MONITOR is not answered with OK")
        names = {("%s:%d" % c.socket.getsockname()[:2]).encode(): i for i, c in enumerate(clients)}
        waiting = False
        for line in script:
            who, words = int(line[0]), words_of(line[2:])
            clients[who].send([words])
            if words[:2] == [b"BLPOP", b"waits"]:
                waiting = True
                other = clients[0]
                pollux.wait_for(lambda: other.call("CLIENT", "LIST").count(b"cmd=blpop") == 1, "a client waits")
                continue
            clients[who].read()
            if waiting and words[0] == b"RPUSH":
                clients[1].read()
                waiting = False
        clients[0].call("ECHO", "the last one")
        seen = []
        for w in watchers:
            found = [shown(line, names) for line in lines_until(w, b"the last one")]
            seen.append([f[0] for f in found if b'"CLIENT" "LIST"' not in f[0][2]])
        for other in seen[1:]:
            same("two monitors of one server", seen[0], other)
        results.append(seen[0])
        for c in clients + watchers:
            c.close()
    same("MONITOR", *results)


def own_commands(servers):
    """A client in MONITOR: what it may not do, what it sees of itself, and how that ends."""
    texts = []
    script = usable(servers, OWN)
    for server in servers:
        c = connect(server)[0]
        c.call("SET", "a", "1")
        c.call("MONITOR")
        c.send([words_of(line) for line in script] + [[b"RESET"], [b"PING", b"over"], [b"QUIT"]])
        text = b"".join(iter(lambda c=c: c.socket.recv(65536), b""))
        text = re.sub(rb"\+\d+\.\d{6} \[(\d+) [^\]]*\]", rb"+[\1]", text)
        text = re.sub(rb":2\d\d\r\n", b":count\r\n", re.sub(rb"(id\r\n):\d+", rb"\1:0", text))
        texts.append(text.split(b"\r\n"))
        other = connect(server)[0]
        texts[-1] += [other.call("MULTI"), other.call("MONITOR"), other.call("EXEC")]
        flags = connect(server, 2)
        flags[0].call("MONITOR")
        texts[-1].append(re.findall(rb"flags=O ", flags[1].call("CLIENT", "LIST")))
        texts[-1].append(re.findall(rb"flags=(\w+)", flags[1].call("CLIENT", "LIST", "TYPE", "normal")).count(b"O"))
        for f in flags:
            f.close()
    same("a monitor's own commands", *texts)


def order_of_cores(servers):
    """Commands that one client sends are seen in its order, wherever their keys live, and none is lost."""
    for server in servers:
        watchers, clients = connect(server, 2), connect(server, 4)
        for w in watchers:
            w.call("MONITOR")
        for turn in range(20):
            for i, c in enumerate(clients):
                c.send([[b"SET", b"key%d" % (turn * 50 + n), b"%d-%d" % (i, turn * 50 + n)] for n in range(50)])
        for c in clients:
            for _ in range(1000):
                c.read()
        clients[0].call("ECHO", "the last one")
        for w in watchers:
            found = re.findall(rb'"(\d)-(\d+)"', b" ".join(lines_until(w, b"the last one")))
            for i in range(4):
                same(f"the order of client {i}", list(range(1000)), [int(n) for who, n in found if int(who) == i])


# --- SLOWLOG -----------------------------------------------------------------------------------------


def slow_entries(servers):
    """With a threshold of 0 every command stands in the log, trimmed and without its secrets."""
    script = usable(servers, SLOW)
    results = []
    for server in servers:
        c, other = connect(server, 2)
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000")
        c.call("SLOWLOG", "RESET")
        for line in script:
            c.call(*words_of(line))
        other.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        entries = c.call("SLOWLOG", "GET", "-1")
        ids = [e[0] for e in entries]
        if ids != sorted(set(ids), reverse=True):
            raise Failure(f"ids of the slow log: {ids}")
        if any(not 0 <= e[2] < 10**7 or abs(e[1] - int(c.call("TIME")[0])) > 60 for e in entries):
            raise Failure("times of the slow log")
        mine = b"%s:%d" % (c.socket.getsockname()[0].encode(), c.socket.getsockname()[1])
        if any(len(e) != 6 or e[4] != mine for e in entries):
            raise Failure(f"addresses of the slow log: {[e[4] for e in entries]}, not {mine}")
        results.append([(e[3], e[5]) for e in reversed(entries)])
        for n, wanted in ((b"3", 3), (b"0", 0), (b"-1", len(entries))):
            same(f"SLOWLOG GET {n}", [wanted], [len(c.call("SLOWLOG", "GET", n))])
        same("SLOWLOG GET", [10, ids[:10]], [len(c.call("SLOWLOG", "GET")), [e[0] for e in c.call("SLOWLOG", "GET")]])
        same("SLOWLOG LEN", [len(entries)], [c.call("SLOWLOG", "LEN")])
        c.call("CONFIG", "SET", "masterauth", "", "masteruser", "")
    same("SLOWLOG", *results)


def slow_limits(servers):
    """The limit counts over all cores, numbers go on after RESET, and a threshold keeps quick commands out."""
    for server in servers:
        clients = connect(server, 4)
        c = clients[0]
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "5")
        for i in range(40):
            clients[i % 4].call("SET", f"key{i}", "v")
        same("SLOWLOG LEN", [5], [c.call("SLOWLOG", "LEN")])
        entries = c.call("SLOWLOG", "GET", "100")
        names = [e[3][1] for e in entries if e[3][0] == b"SET"]
        same("the newest of all cores", [b"key%d" % i for i in range(39, 39 - len(names), -1)], names)
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        last = entries[0][0]
        same("RESET", [b"OK", 0, []], [c.call("SLOWLOG", "RESET"), c.call("SLOWLOG", "LEN"), c.call("SLOWLOG", "GET")])
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "100000", "slowlog-max-len", "128")
        for i in range(64):
            clients[i % 4].call("SET", f"key{i}", "v")
        c.call("DEBUG", "SLEEP", "0.2")
        entries = c.call("SLOWLOG", "GET")
        same("what is slow", [[b"DEBUG", b"SLEEP", b"0.2"]], [e[3] for e in entries])
        if entries[0][0] <= last or not 200_000 <= entries[0][2] < 5_000_000:
            raise Failure(f"the slow one: {entries[0]}, after {last}")
        c.call("SLOWLOG", "RESET")


def slow_errors(servers):
    results = []
    for server in servers:
        c = connect(server)[0]
        results.append([c.call(*words_of(line)) for line in (
            "SLOWLOG", "SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG GET 99999999999999999999", "SLOWLOG GET 1 2", "SLOWLOG LEN x",
            "SLOWLOG RESET x", "SLOWLOG FOO", "MONITOR x")])
    same("errors", *results)


TESTS = [monitored, own_commands, order_of_cores, slow_entries, slow_limits, slow_errors]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cores", action="append", help="of Pollux; may be repeated (0 and 0,1)")
    options = parser.parse_args()
    pollux.close_on_signals()
    passed = failed = 0
    for cores in options.cores or ["0", "0,1"]:
        servers = Servers(cores, "redis")
        for test in TESTS:
            try:
                test(servers.servers)
                passed += 1
            except (Failure, AssertionError, EOFError, OSError, ValueError, TypeError) as error:
                failed += 1
                print(f"FAILED: cores {cores}, {test.__name__}: {type(error).__name__}: {str(error)[:3000]}")
                if not servers.servers[1].alive():
                    print(f"the server has ended:\n{servers.servers[1].tail()}")
                    break
        servers.close()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
