#!/usr/bin/python3
"""Libraries of functions in redis-server 7.0.15 and in Pollux: the same scenarios, and random ones, in both protocols.
Payloads of FUNCTION DUMP are exchanged. What one connection loads, all others have, whatever core serves them.

usage: test_functions.py [--seed N] [--rounds N] [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import os
import random
import re
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import payload
import pollux
import program
from program import Difference
from raw import Connection, Error, parse
from rounds import shown, shown_reply

CLIENTS = 6
EXISTS = re.compile(rb"Function \w+ already exists")
STEPS = 30  # of a random scenario
R = "redis.register_function"


def library(name, text):
    return f"#!lua name={name}\n{text}"


def simple(name, *functions):
    return library(name, " ".join(f"{R}('{f}', function(keys, args) return {{'{name}.{f}', keys, args}} end)" for f in functions))


FLAGGED = library("flagged", f"""
local n = 0
{R}{{function_name = 'reads', callback = function(k) return redis.call('get', k[1]) end, flags = {{'no-writes'}}, description = 'reads'}}
{R}{{function_name = 'writes', callback = function(k, a) return redis.call('set', k[1], a[1]) end}}
{R}{{function_name = 'lies', callback = function(k, a) return redis.call('set', k[1], a[1]) end, flags = {{'NO-writes', 'allow-oom'}}}}
{R}{{function_name = 'all_flags', callback = function() end,
  flags = {{'no-writes', 'allow-oom', 'allow-stale', 'no-cluster', 'allow-cross-slot-keys'}}}}
""")  # fmt: skip
ERRORS = library("errors", f"""
local up = 5
{R}('global', function() x = 1 end)
{R}('missing', function() return x end)
{R}('keys', function() return KEYS end)
{R}('plain', function() error('plain') end)
{R}('object', function() error({{err = 'MYERR of an object'}}) end)
{R}('call', function() return redis.call('nosuch') end)
{R}('pcall', function() return redis.pcall('nosuch') end)
{R}('wrong', function() return redis.call('lpush', 's', 1) end)
{R}('index', function() local t = nil return t.x end)
{R}('again', function() return redis.register_function('y', function() end) end)
{R}('handler', function() return __redis__err__handler end)
{R}('compile', function() return loadstring('x = 1')() end)
{R}('compile_missing', function() return loadstring('return KEYS')() end)
{R}('names', function() local o = {{}} for k, v in pairs(_G) do o[#o + 1] = k .. type(v) end table.sort(o) return o end)
{R}('names_of_redis', function() local o = {{}} for k, v in pairs(redis) do o[#o + 1] = k .. type(v) end table.sort(o) return o end)
{R}('change', function() redis.call = nil end)
{R}('change_raw', function() rawset(string, 'x', 1) end)
{R}('counter', function() up = up + 1 return up end)
{R}('leaked', redis.register_function)
{R}('logs', redis.log)
{R}('resp', function() redis.setresp(3) return {{true, {{map = {{a = 1.5}}}}, {{double = 1.5}}}} end)
""")  # fmt: skip

# What FUNCTION LOAD refuses, and a few that it takes.
LOADS = [
    "", "#!lua", "#!lua name=a", "lua\n", "#!\n", "#!lua\n", "#!lua name=\nx", "#!lua name=a b\nx", "#!lua name=a-b\nx",
    "#!lua name=a name=b\nx", "#!lua foo=a\nx", "#!js name=a\nx", "#! name=a\nx", '#!lua name="a\nx', '#!lua name=a"b\nx',
    " #!lua name=a\nx", "#!lua name=a\0b\nx", "#!lua name=a\n", "#!lua name=a\nlocal", "#!lua name=a\nx = 1", "#!lua name=a\nreturn 1",
    "#!lua name=a\n\x1bLua", f"#!LUA NAME='a'\n{R}('f', function() end)", f"#!lua \"name=\\x41\"\n{R}('f', function() end)",
    f"#!lua\tname=a\r\n{R}('f', function() end)",
] + [library("a", text) for text in [
    "while true do end", "redis.call('get', 'x')", "local a = redis.pcall", "local a = redis.setresp", "local a = redis.sha1hex", "local a = redis.nope",
    "local a = redis.LOG_WARNING .. redis.REDIS_VERSION .. redis.REDIS_VERSION_NUM", "local a = redis.REPL_ALL", "redis.x = 1",
    "local a = string", "local a = pairs", "local a = _G", "local a = KEYS", "error('x')", "local s = ('x').format", "local function r() return 1 + r() end r()",
    "redis.log()", "redis.log(redis.LOG_DEBUG, 'x')", f"{R}()", f"{R}('a')", f"{R}(1, 2)", f"{R}({{}}, function() end)", f"{R}(1, function() end)",
    f"{R}('a', 'b')", f"{R}('a b', function() end)", f"{R}('', function() end)", f"{R}('a', function() end, 1)", f"{R}{{}}",
    f"{R}('a', function() end) {R}('a', function() end)", f"{R}{{function_name = 'a'}}",
    f"{R}{{callback = function() end}}", f"{R}{{function_name = 'a', callback = 1}}", f"{R}{{function_name = 1, callback = function() end}}",
    f"{R}{{function_name = {{}}, callback = function() end}}", f"{R}{{function_name = 'a', callback = function() end, flags = 'x'}}",
    f"{R}{{function_name = 'a', callback = function() end, flags = {{'x'}}}}", f"{R}{{function_name = 'a', callback = function() end, flags = {{1}}}}",
    f"{R}{{function_name = 'a', callback = function() end, flags = {{'no-writes', nil, 'x'}}}}",
    f"{R}{{function_name = 'a', callback = function() end, flags = {{x = 'no-writes'}}}}",
    f"{R}{{function_name = 'a', callback = function() end, description = {{}}}}", f"{R}{{function_name = 'a', callback = function() end, description = 1}}",
    f"{R}{{function_name = 'a', callback = function() end, foo = 1}}", f"{R}{{function_name = 'a', callback = function() end, [1] = 1}}",
    f"{R}{{function_name = 'a', callback = function() end, [true] = 1}}", f"{R}{{FUNCTION_NAME = 'a', CALLBACK = function() end, FLAGS = {{}}}}",
    f"{R}{{[1] = 'a', [2] = 'b'}}", f"{R}(('x'):rep(200), function() end)", f"{R}('a\\0b', function() end)",
]]  # fmt: skip

# (client, words) each.
SCENARIOS = {
    "load and call": [
        (0, "FUNCTION LOAD", simple("a", "f", "g")), (1, "FCALL f 1 k a"), (2, "FCALL F 0"), (3, "FCALL g 0 x y"), (4, "FCALL nosuch 0"),
        (5, "FCALL f 2 a"), (0, "FCALL f -1"), (0, "FCALL f x"), (0, "FCALL nosuch x"), (0, "FCALL f"), (1, "FCALL_RO f 0"),
        (2, "FUNCTION STATS"), (3, "FUNCTION LIST"), (4, "FUNCTION LIST WITHCODE"), (5, "FUNCTION KILL"), (0, "FUNCTION DELETE A"),
        (0, "FUNCTION DELETE a"), (1, "FCALL f 0"), (2, "FUNCTION LIST"), (3, "FUNCTION DELETE a"),
    ],
    "replace": [
        (0, "FUNCTION LOAD", simple("a", "f", "g")), (1, "FCALL f 0"), (2, "FUNCTION LOAD", simple("a", "h")), (3, "FCALL g 0"),
        (4, "FUNCTION LOAD REPLACE", simple("a", "h")), (0, "FCALL f 0"), (1, "FCALL h 0"), (2, "FCALL h 0"), (3, "FUNCTION LIST"),
        (0, "FUNCTION LOAD", simple("b", "H")), (1, "FUNCTION LOAD", simple("b", "f")), (2, "FUNCTION LOAD REPLACE", simple("a", "f")),
        (3, "FCALL h 0"), (4, "FCALL f 0"), (5, "FUNCTION LOAD REPLACE", library("a", "x = 1")), (0, "FCALL h 0"),
        (0, "FUNCTION LOAD REPLACE", simple("c", "new", "h")), (1, "FCALL new 0"),
    ],
    "arguments": [
        (0, "FUNCTION"), (0, "FUNCTION FOO"), (0, "FUNCTION LOAD"), (0, "FUNCTION LOAD REPLACE"), (0, "FUNCTION LOAD FOO x"),
        (0, "FUNCTION LOAD replace REPLACE", simple("a", "f")), (0, "FUNCTION LIST LIBRARYNAME"), (0, "FUNCTION LIST LIBRARYNAME A"),
        (0, "FUNCTION LIST libraryname ? withcode"), (0, "FUNCTION LIST LIBRARYNAME x"), (0, "FUNCTION LIST LIBRARYNAME a LIBRARYNAME b"),
        (0, "FUNCTION LIST WITHCODE WITHCODE"), (0, "FUNCTION LIST foo"), (0, "FUNCTION STATS x"), (0, "FUNCTION DUMP x"),
        (0, "FUNCTION FLUSH x"), (0, "FUNCTION FLUSH SYNC x"), (0, "FUNCTION FLUSH async"), (0, "FUNCTION FLUSH"), (0, "FUNCTION DELETE"),
        (0, "FUNCTION RESTORE"), (0, "FUNCTION RESTORE x"), (0, "FUNCTION RESTORE x y"), (0, "FUNCTION RESTORE x FLUSH y"), (0, "FUNCTION KILL x"),
    ],
    "flags": [
        (0, "FUNCTION LOAD", FLAGGED), (1, "FCALL writes 1 k v"), (2, "FCALL reads 1 k"), (3, "FCALL_RO reads 1 k"), (4, "FCALL_RO writes 1 k v"),
        (5, "FCALL lies 1 k v"), (0, "FCALL_RO lies 1 k v"), (1, "FCALL all_flags 0"), (2, "FUNCTION LIST"), (0, "CONFIG SET maxmemory 1"),
        (1, "FCALL reads 1 k"), (1, "FCALL writes 1 k w"), (1, "FCALL lies 1 k w"), (1, "FUNCTION LOAD", simple("b", "g")), (0, "CONFIG SET maxmemory 0"),
    ],
    "errors": [(0, "FUNCTION LOAD", ERRORS), (0, "SET s v")] + [
        (i % CLIENTS, f"FCALL {name} 0")
        for i, name in enumerate("global missing keys plain object call pcall wrong index again handler compile compile_missing names names_of_redis "
                                 "change change_raw leaked logs resp".split())
    ] + [(2, "FCALL counter 0"), (2, "FCALL counter 0"), (2, "FCALL leaked 2 a b"), (0, "FCALL logs 0 1 x")],
    "in a transaction": [
        (0, "MULTI"), (0, "FUNCTION LOAD", simple("a", "f")), (0, "FCALL f 1 k a"), (0, "FUNCTION DELETE a"), (0, "FCALL f 0"), (0, "EXEC"),
    ],
    "not in scripts": [
        (0, "EVAL", "return redis.call('function', 'list')", "0"), (0, "EVAL", "return redis.call('fcall', 'f', 0)", "0"),
        (0, "FUNCTION LOAD", library("a", f"{R}('f', function() return redis.call('fcall', 'f', 0) end)")), (1, "FCALL f 0"),
    ],
    "neither sees the other": [
        (0, "FUNCTION LOAD", library("a", f"local t = {{}} {R}('put', function(k, a) t[1] = a[1] end) {R}('get', function() return t[1] end)")),
        (0, "FCALL put 0 x"), (0, "FCALL get 0"), (0, "EVAL", "return type(KEYS)", "0"), (0, "FCALL get 0"), (0, "EVAL", "return get", "0"),
    ],
    "flushed": [
        (0, "FUNCTION LOAD", simple("a", "f")), (1, "FCALL f 0"), (2, "FUNCTION FLUSH"), (1, "FCALL f 0"), (3, "FUNCTION STATS"),
        (0, "FUNCTION LOAD", simple("a", "f")), (4, "FLUSHALL"), (1, "FCALL f 0"), (5, "SCRIPT FLUSH"), (1, "FCALL f 0"),
    ],
}  # fmt: skip


def words_of(step):
    head, *rest = step[1:]
    return [w.encode() for w in head.split(" ")] + [w.encode() for w in rest]


def plain(value):
    """A reply, with libraries, functions and flags in one order."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        items = [plain(v) for v in value]
        maps = items and all(isinstance(v, (dict, list)) and v and (b"library_name" in v or b"description" in v) for v in items)
        flags = items and all(type(v).__name__ == "Status" for v in items)
        return sorted(items, key=repr) if maps or flags else items
    return value


class Pair:
    def __init__(self, servers):
        self.servers = servers

    def connect(self, protocol):
        self.clients = [[Connection(s.host, s.port) for s in self.servers] for _ in range(CLIENTS)]
        for connection in (c for pair in self.clients for c in pair):
            connection.call("HELLO", protocol)
        for words in ([b"CONFIG", b"SET", b"maxmemory", b"0"], [b"FUNCTION", b"FLUSH"], [b"FLUSHALL"]):
            self.both(0, words)

    def both(self, client, words):
        for connection in self.clients[client]:
            connection.send([words])
        return [connection.read() for connection in self.clients[client]]

    def compare(self, client, words):
        # Of several functions that another library has Redis names any.
        replies = [EXISTS.sub(b"Function F already exists", reply) for reply in self.both(client, words)]
        if replies[0] != replies[1] and plain(parse(replies[0])) != plain(parse(replies[1])):
            raise Difference(f"{shown(words)}\n  redis:  {shown_reply(replies[0])}\n  pollux: {shown_reply(replies[1])}")

    def exchange(self, policy):
        """Each takes what the other dumps; then both have what both had."""
        dumps = [parse(reply) for reply in self.both(0, [b"FUNCTION", b"DUMP"])]
        for connection, dump in zip(self.clients[1], reversed(dumps)):
            reply = connection.call("FUNCTION", "RESTORE", dump, policy)
            if reply != b"OK":
                raise Difference(f"FUNCTION RESTORE {policy}: {reply!r}")
        self.compare(2, [b"FUNCTION", b"LIST", b"WITHCODE"])

    def close_clients(self):
        for connection in (c for pair in self.clients for c in pair):
            connection.close()


def play(pair, protocol, steps):
    pair.connect(protocol)
    try:
        for client, words in steps:
            pair.compare(client, words)
        pair.exchange("FLUSH")
        pair.exchange("REPLACE")
    finally:
        pair.close_clients()


def busy(pair):
    """A function that never ends: what others are told of it, and its end."""
    pair.connect(2)
    try:
        pair.both(0, [b"CONFIG", b"SET", b"busy-reply-threshold", b"50"])
        pair.both(0, [b"FUNCTION", b"LOAD", library("a", f"{R}('spin', function() while true do end end)").encode()])
        for connection in pair.clients[0]:
            connection.send([[b"FCALL", b"spin", b"1", b"k", b"arg"]])
        for connection in pair.clients[1]:
            pollux.wait_for(lambda c=connection: isinstance(c.call("PING"), Error), "a busy function")
        stats = []
        for connection in pair.clients[2]:
            running, engines = connection.call("FUNCTION", "STATS")[1::2]
            if running[5] < 50 or engines != [b"LUA", [b"libraries_count", 1, b"functions_count", 1]]:
                raise Difference(f"FUNCTION STATS: {running} {engines}")
            stats.append(running[:5])
        if stats[0] != stats[1]:
            raise Difference(f"FUNCTION STATS:\n  redis:  {stats[0]}\n  pollux: {stats[1]}")
        for words in ("GET k", "FUNCTION LIST", "FCALL spin 0", "SCRIPT KILL", "FUNCTION KILL"):
            pair.compare(3, [w.encode() for w in words.split(" ")])
        replies = [connection.read() for connection in pair.clients[0]]
        if replies[0] != replies[1]:
            raise Difference(f"FCALL spin\n  redis:  {replies[0]}\n  pollux: {replies[1]}")
        pair.compare(4, [b"FUNCTION", b"STATS"])
        pair.compare(4, [b"FUNCTION", b"KILL"])
    finally:
        pair.close_clients()


def damaged_payloads(pair):
    """What is no payload, or means nothing, is refused by both with the same words."""
    pair.connect(2)
    try:
        code = simple("a", "f").encode()
        pair.both(0, [b"FUNCTION", b"LOAD", code])
        for body in (
            b"", b"\x00\x01x", b"\xff", b"\xf5\x03bad", b"\xf5\xc0\x05", text(code), text(code) + text(code), text(code) + b"\x01",
            text(simple("b", "f").encode()), text(library("z", "x = 1").encode()), text(simple("c", "x").encode()) + text(simple("d", "X").encode()),
        ):
            for policy in (b"APPEND", b"REPLACE", b"flush"):
                for words in ([b"FUNCTION", b"RESTORE", sealed(body), policy], [b"FUNCTION", b"LIST"]):
                    pair.compare(1, words)
    finally:
        pair.close_clients()


def sealed(body):
    data = body + struct.pack("<H", payload.VERSION)
    return data + struct.pack("<Q", payload.crc64(data))


def text(code):
    n = len(code)
    return b"\xf5" + (bytes([n]) if n < 64 else bytes([0x40 | n >> 8, n & 255])) + code


def drawn(seed):
    """Libraries that come and go, with functions of few names."""
    r = random.Random(seed)
    names, functions = ["a", "b", "c", "A"], ["f", "g", "h", "F", "x_1"]
    for _ in range(STEPS):
        kind = r.randrange(12)
        client = r.randrange(CLIENTS)
        if kind < 4:
            words = ["FUNCTION", "LOAD"] + ["REPLACE"] * r.randrange(2)
            # Of two functions that differ in letter case Redis calls any.
            chosen = r.sample(functions[:3] + functions[4:], r.randint(1, 3)) if r.random() < 0.8 else [r.choice(functions)]
            yield client, [w.encode() for w in words + [simple(r.choice(names), *chosen)]]
        elif kind == 4:
            yield client, [b"FUNCTION", b"DELETE", r.choice(names).encode()]
        elif kind == 5:
            yield client, [b"FUNCTION", b"LIST"] + [b"WITHCODE"] * r.randrange(2)
        elif kind == 6:
            yield client, [b"FUNCTION", b"STATS"]
        elif kind == 7 and r.random() < 0.2:
            yield client, [b"FUNCTION", b"FLUSH"]
        else:
            yield client, [b"FCALL", r.choice(functions).encode(), b"1", b"k%d" % r.randrange(9), b"v"]


def main():
    options = program.parser("functions on redis-server and on Pollux", rounds=(15, 500)).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        with program.started(options, cores) as servers:
            pair = Pair(servers)
            tests = [(f"{name}, RESP{p}", lambda s=steps, p=p: play(pair, p, [(s[0], words_of(s)) for s in s]))
                     for name, steps in SCENARIOS.items() for p in (2, 3)]
            tests += [(f"load {i}", lambda t=t: play(pair, 2, [(0, [b"FUNCTION", b"LOAD", t.encode()]), (1, [b"FUNCTION", b"LIST"])]))
                      for i, t in enumerate(LOADS)]
            tests += [("busy", lambda: busy(pair)), ("damaged payloads", lambda: damaged_payloads(pair))]
            tests += program.seeds(options, lambda seed: play(pair, 2 + seed % 2, list(drawn(seed))))
            yield servers, tests

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
