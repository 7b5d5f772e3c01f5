#!/usr/bin/python3
"""EVAL and its like on redis-server 7.0.15 and on Pollux: the same scenarios, and the same random commands called by
scripts, with their keys declared or not, alone or between MULTI and EXEC.

usage: test_scripts.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import os
import random
import shlex
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import program
from program import Difference
from raw import Error, parse
from rounds import Families, Servers, play_round, shown, shown_reply
from test_transactions import FAMILIES, TIME_WORDS, TIMED, Pairs, split

# Runs its arguments as commands: numbers of words, and then the words. What they answer, as an array.
RUNNER = """local replies, at = {}, tonumber(ARGV[1]) + 2
for i = 1, tonumber(ARGV[1]) do
  local n = tonumber(ARGV[i + 1])
  local reply = redis.pcall(unpack(ARGV, at, at + n - 1))
  if reply == nil then reply = false end
  replies[i] = reply
  at = at + n
end
return replies"""

GET_SHA = "c7f8a1ff2b4d6e6d0ebf1ae5c2be4d1d6ad1f8d0"  # of no script
ONE = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"  # return 1

# Commands of one client each, in order, one a line; "\\n" in a script is a line of its own.
SCENARIOS = {
    "values": """
        EVAL 'return 1' 0
        EVAL 'return {1, 2, {3, "x", true, false, nil, 5}}' 0
        EVAL 'return 3.99' 0
        EVAL 'return -3.99' 0
        EVAL 'return "a string"' 0
        EVAL 'return' 0
        EVAL '' 0
        EVAL 'return {KEYS[1], KEYS[2], ARGV[1], ARGV[2], #KEYS, #ARGV}' 2 a b c d
        EVAL 'return {ok = "fine"}' 0
        EVAL 'return {err = "BAD thing"}' 0
        EVAL 'return redis.status_reply("X")' 0
        EVAL 'return redis.error_reply("X y")' 0
        EVAL 'return redis.error_reply("-X y")' 0
        EVAL 'return redis.sha1hex("")' 0
        EVAL 'return {redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING}' 0
        EVAL 'return {redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA, redis.REPL_ALL}' 0
        EVAL 'return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}' 0
        EVAL 'return {redis.replicate_commands(), redis.breakpoint(), redis.debug("x"), redis.set_repl(redis.REPL_ALL)}' 0
        EVAL 'redis.log(redis.LOG_WARNING, "a", "line") return 1' 0""",
    "calls": """
        EVAL 'return redis.call("SET", KEYS[1], ARGV[1])' 1 k v
        EVAL 'return redis.call("get", KEYS[1])' 1 k
        EVAL 'return redis.call("get", "nosuch")' 0
        EVAL 'redis.call("set", "n", 1.5) return redis.call("get", "n")' 0
        EVAL 'redis.call("set", "n", 0.1) return redis.call("get", "n")' 0
        EVAL 'redis.call("set", "n", 1e100) return redis.call("get", "n")' 0
        EVAL 'redis.call("set", "n", 12345678901234567890) return redis.call("get", "n")' 0
        EVAL 'redis.call("set", "n", -0) return redis.call("get", "n")' 0
        EVAL 'redis.call("rpush", "l", 1, 2, 3) return redis.call("lrange", "l", 0, -1)' 0
        EVAL 'return redis.call("hset", "h", "f", 1)' 0
        EVAL 'return redis.call("hgetall", "h")' 0
        EVAL 'return redis.call("incrbyfloat", "f", "1.5")' 0
        EVAL 'return redis.call("ping")' 0
        EVAL 'return redis.call("echo", "x")' 0
        EVAL 'return redis.call("dbsize")' 0
        EVAL 'return #redis.call("keys", "*")' 0
        EVAL 'return redis.call("exists", "k", "l", "nosuch")' 0
        EVAL 'return redis.call("mset", "x1", 1, "x2", 2, "x3", 3)' 0
        EVAL 'return redis.call("mget", "x1", "x2", "nosuch", "x3")' 0
        EVAL 'return redis.call("publish", "channel", "x")' 0
        EVAL 'return type(redis.call("randomkey"))' 0
        EVAL 'return redis.call("scan", 0, "match", "nosuch")[2]' 0
        EVAL 'return redis.call("flushall")' 0
        EVAL 'return redis.call("dbsize")' 0
        EVAL 'return redis.call("type", "k")' 0
        EVAL 'return redis.call("type", "k")["ok"]' 0
        EVAL 'return redis.call("blpop", "nosuch", 0)' 0
        EVAL 'return redis.call("XRead", "count", 1, "block", "x", "streams", "nosuch", "$")' 0
        EVAL 'return redis.pcall("xreadgroup", "group", "g", "c", "block", 0, "streams", "nosuch", ">").err' 0
        EVAL 'return redis.call("xread", "count", 1, "streams", "nosuch", "$")' 0
        EVAL 'return redis.call("sort", "nosuch", "by", "w_*", "get", "#")' 0
        EVAL 'return redis.acl_check_cmd("get", "k")' 0""",
    "errors of calls": """
        EVAL 'return redis.call()' 0
        EVAL 'return redis.pcall()' 0
        EVAL 'return redis.call({})' 0
        EVAL 'return redis.call("get", {})' 0
        EVAL 'return redis.pcall("get", nil)' 0
        EVAL 'return redis.call("nosuch")' 0
        EVAL 'return redis.pcall("nosuch")' 0
        EVAL 'return redis.call("get")' 0
        EVAL 'return redis.call("get", "a", "b")' 0
        EVAL 'return redis.call("config", "get")' 0
        EVAL 'return redis.call("config", "nosuch")' 0
        EVAL 'return redis.call("multi")' 0
        EVAL 'return redis.call("eval", "return 1", 0)' 0
        EVAL 'return redis.call("subscribe", "x")' 0
        EVAL 'return redis.call("client", "id")' 0
        EVAL 'return redis.call("watch", "x")' 0
        SET s x
        EVAL 'return redis.call("incr", "s")' 0
        EVAL 'return redis.pcall("incr", "s")' 0
        EVAL 'return redis.pcall("incr", "s")["err"]' 0
        EVAL 'return redis.call("lpush", "s", 1)' 0
        EVAL 'local ok, e = pcall(redis.call, "lpush", "s", 1) return {ok, type(e), e.err}' 0
        EVAL 'local ok, e = pcall(redis.call, "lpush", "s", 1) error(e)' 0
        EVAL 'redis.call("set", "a", 1) error("after") redis.call("set", "b", 1)' 0
        EXISTS a b""",
    "errors of scripts": """
        EVAL 'error("thrown")' 0
        EVAL 'error("thrown", 0)' 0
        EVAL 'error({err = "MY own"})' 0
        EVAL 'error({err = "MY own", source = "x", line = 5})' 0
        EVAL '\\n\\nerror("line three")' 0
        EVAL 'local function f() error("inside") end\\nf()' 0
        EVAL 'return 1 + nil' 0
        EVAL 'return #nil' 0
        EVAL 'return ("x"):nosuch()' 0
        EVAL 'return (' 0
        EVAL 'x = = 1' 0
        EVAL 'return "unfinished' 0
        EVAL 'nosuch()' 0
        EVAL 'x = 1' 0
        EVAL 'KEYS = 1' 0
        EVAL 'local a = {} a[nil] = 1' 0
        EVAL 'return tostring(pcall(error, "x"))' 0
        EVAL 'local a, b = xpcall(function() error("x") end, function(e) error("y") end) return {tostring(a), tostring(b)}' 0
        EVAL 'local a, b = xpcall(function() error("x") end, function(e) return e .. "!" end) return {tostring(a), b}' 0
        EVAL 'local a, b = xpcall(function() error("x") end, nil) return {tostring(a), tostring(b)}' 0
        EVAL 'local a, b, c = xpcall(function() return 1, 2 end, nil) return {tostring(a), b, c}' 0
        EVAL 'local function f() return f() + 1 end return f()' 0
        EVAL 'return setmetatable({}, {__index = function() error("from __index") end}).x' 0
        EVAL 'return redis.sha1hex()' 0
        EVAL 'return redis.status_reply()' 0
        EVAL 'return redis.error_reply(1)' 0
        EVAL 'return redis.set_repl()' 0
        EVAL 'return redis.set_repl(8)' 0
        EVAL 'return redis.log()' 0
        EVAL 'return redis.log("x", "y")' 0
        EVAL 'return redis.log(7, "y")' 0
        EVAL 'return redis.setresp()' 0
        EVAL 'return redis.setresp(4)' 0
        EVAL 'return redis.acl_check_cmd()' 0
        EVAL 'return redis.acl_check_cmd("nosuch")' 0""",
    "arguments": """
        EVAL 'return 1'
        EVAL 'return 1' x
        EVAL 'return 1' -1
        EVAL 'return 1' 1
        EVAL 'return 1' 2 a
        EVAL 'return 1' 99999999999999999999
        EVALSHA
        EVALSHA x 0
        EVAL_RO
        EVALSHA_RO x 1
        SCRIPT
        SCRIPT NOSUCH
        SCRIPT EXISTS
        SCRIPT LOAD
        SCRIPT LOAD a b
        SCRIPT KILL x
        SCRIPT DEBUG
        SCRIPT DEBUG x
        SCRIPT FLUSH x
        SCRIPT FLUSH SYNC x""",
    "the cache": f"""
        SCRIPT FLUSH
        EVALSHA {ONE} 0
        SCRIPT EXISTS {ONE} {GET_SHA}
        SCRIPT LOAD 'return 1'
        SCRIPT EXISTS {ONE} {GET_SHA} x
        EVALSHA {ONE} 0
        EVALSHA {ONE.upper()} 0
        SCRIPT EXISTS {ONE.upper()}
        EVALSHA_RO {ONE} 0
        SCRIPT FLUSH ASYNC
        EVALSHA {ONE} 0
        EVAL 'return 1' 0
        EVALSHA {ONE} 0
        SCRIPT FLUSH sync
        EVALSHA {ONE} 0
        SCRIPT LOAD 'return ('
        SCRIPT LOAD '#!lua flags=nosuch\\nreturn 1'
        SCRIPT KILL
        EVALSHA {GET_SHA} 1 x""",
    "flags": """
        EVAL '#!lua\\nreturn 1' 0
        EVAL '#!lua\\nerror("line two")' 0
        EVAL '#!lua flags=no-writes\\nreturn redis.call("set", "k", 1)' 0
        EVAL '#!lua flags=no-writes\\nreturn redis.pcall("set", "k", 1)' 0
        EVAL '#!lua flags=no-writes\\nreturn redis.call("get", "k")' 0
        EVAL '#!lua flags=no-writes,allow-oom\\nreturn 1' 0
        EVAL '#!lua flags=no-writes,allow-stale,no-cluster,allow-cross-slot-keys\\nreturn 2' 0
        EVAL '#!lua flags=\\nreturn 3' 0
        EVAL '#!lua flags=x\\nreturn 1' 0
        EVAL '#!lua flags=no-writes,x\\nreturn 1' 0
        EVAL '#!lua name=x\\nreturn 1' 0
        EVAL '#!lua x\\nreturn 1' 0
        EVAL '#!python\\nreturn 1' 0
        EVAL '#!lua' 0
        EVAL '#!' 0
        EVAL '#!lua  flags=no-writes \\nreturn 4' 0
        EVAL_RO 'return redis.call("set", "k", 1)' 0
        EVAL_RO 'return redis.pcall("publish", "c", 1)' 0
        EVAL_RO 'return redis.call("get", "k")' 0
        EVAL_RO '#!lua\\nreturn 1' 0
        EVAL_RO '#!lua flags=no-writes\\nreturn 1' 0
        EVAL_RO '#!lua flags=allow-oom\\nreturn 1' 0""",
    "memory is short": """
        SET full x
        CONFIG SET maxmemory 1
        EVAL 'return redis.call("set", "k", 1)' 0
        EVAL 'return redis.pcall("set", "k", 1)' 0
        EVAL 'return redis.call("get", "full")' 0
        EVAL 'redis.call("del", "nosuch") return redis.call("set", "k", 1)' 0
        EVAL '#!lua\\nreturn 1' 0
        EVAL '#!lua flags=no-writes\\nreturn 1' 0
        EVAL '#!lua flags=allow-oom\\nreturn redis.call("set", "k", 2)' 0
        EVAL_RO 'return redis.call("get", "full")' 0
        CONFIG SET maxmemory 0
        GET k""",
    "databases": """
        EVAL 'redis.call("select", 1) redis.call("set", "there", 1) return redis.call("get", "there")' 0
        GET there
        EVAL 'return redis.call("select", 99)' 0
        EVAL 'return redis.call("select", "x")' 0
        SELECT 1
        GET there
        SELECT 0
        EVAL 'redis.call("set", "moved", 1) return redis.call("move", "moved", 1)' 0
        EVAL 'redis.call("swapdb", 0, 1) return redis.call("get", "there")' 0
        FLUSHALL""",
    "protocols": """
        HSET h f v
        SADD s m
        ZADD z 1.5 m
        EVAL 'redis.setresp(3) local r = redis.call("hgetall", "h") return {type(r.map), r.map.f}' 0
        EVAL 'redis.setresp(3) local r = redis.call("smembers", "s") return {type(r.set), tostring(r.set.m)}' 0
        EVAL 'redis.setresp(3) return redis.call("zscore", "z", "m")' 0
        EVAL 'redis.setresp(3) return redis.call("hgetall", "h")' 0
        EVAL 'redis.setresp(3) return redis.call("get", "nosuch")' 0
        EVAL 'return redis.call("zscore", "z", "m")' 0
        EVAL 'return {double = 3.5}' 0
        EVAL 'return {map = {a = 1}}' 0""",
    "transactions": f"""
        MULTI
        EVAL 'return redis.call("set", KEYS[1], ARGV[1])' 1 k v
        GET k
        EVAL 'return redis.call("nosuch")' 0
        EVAL 'return (' 0
        EVALSHA {GET_SHA} 0
        EVAL 'return redis.call("mget", "k", "a", "b", "c")' 0
        EVAL 'return redis.call("dbsize")' 0
        SCRIPT LOAD 'return 1'
        EVALSHA {ONE} 0
        EVAL 'redis.call("select", 1) return redis.call("set", "x", 1)' 0
        EVAL 'return redis.call("publish", "c", "x")' 0
        EXEC
        EVAL 'return redis.call("exec")' 0
        WATCH k
        EVAL 'return redis.call("set", "k", 2)' 0
        MULTI
        PING
        EXEC
        MULTI
        EVAL 'return 1'
        EXEC""",
    "many steps": """
        EVAL 'local n = 0 for i = 1, 300000 do n = n + i end return tostring(n)' 0
        EVAL 'for i = 1, 20000 do redis.call("incr", KEYS[1]) end return redis.call("get", KEYS[1])' 1 counter
        EVAL 'for i = 1, 3000 do redis.call("set", "k" .. i, i) end return redis.call("dbsize")' 0
        EVAL 'local s = 0 for i = 1, 3000 do s = s + redis.call("get", "k" .. i) end return s' 0
        MULTI
        EVAL 'for i = 1, 20000 do redis.call("incr", KEYS[1]) end return redis.call("get", KEYS[1])' 1 counter
        GET counter
        EXEC
        EVAL 'for i = 1, 20000 do redis.call("lpush", KEYS[1], i) end return redis.call("llen", KEYS[1])' 1 list
        CLIENT REPLY SKIP
        EVAL 'for i = 1, 20000 do redis.call("incr", KEYS[1]) end' 1 counter
        GET counter
        FLUSHALL""",
    "calls and figures": """
        CONFIG RESETSTAT
        EVAL 'redis.call("set", "a", 1) redis.call("set", "b", 1) return redis.pcall("incr", "a")' 0
        EVAL 'return redis.call("lpush", "a", 1)' 0""",
}  # fmt: skip


def play_scenario(servers, text):
    pairs = Pairs(servers, 1)
    silent = False  # the next command is not answered
    try:
        pairs.both(0, [b"CONFIG", b"SET", b"maxmemory", b"0"])
        pairs.both(0, [b"FLUSHALL"])
        for line in text.strip().split("\n"):
            words = [word.replace("\\n", "\n").encode() for word in shlex.split(line.strip())]
            if silent or words[:2] == [b"CLIENT", b"REPLY"]:
                for connection in pairs.pairs[0]:
                    connection.send([words])
                silent = not silent
                continue
            replies = pairs.both(0, words)
            if replies[0] != replies[1]:
                raise Difference(f"{line.strip()}\n  redis:  {shown_reply(replies[0])}\n  pollux: {shown_reply(replies[1])}")
    finally:
        pairs.close()


def play_help(servers):
    """SCRIPT HELP names what Redis names, in its order, but for the debugger: there is none."""
    pairs = Pairs(servers, 1)
    try:
        lines = [[line[1:].decode().rstrip() for line in split(reply)] for reply in pairs.both(0, [b"SCRIPT", b"HELP"])]
        redis, other = [[line for line in side[1:] if not line.startswith(" ")] for side in lines]
        if redis[0] != "DEBUG (YES|SYNC|NO)" or other[0] != "DEBUG NO" or redis[1:] != other[1:]:
            raise Difference(f"SCRIPT HELP\n  redis:  {redis}\n  pollux: {other}")
        if pairs.both(0, [b"SCRIPT", b"DEBUG", b"NO"]) != [b"+OK\r\n", b"+OK\r\n"]:
            raise Difference("SCRIPT DEBUG NO")
        if not pairs.both(0, [b"SCRIPT", b"DEBUG", b"YES"])[1].startswith(b"-ERR There is no debugger"):
            raise Difference("SCRIPT DEBUG YES")
    finally:
        pairs.close()


class InScripts(Families):
    """Random commands as scripts call them."""

    def __init__(self):
        super().__init__(FAMILIES)
        self.limits = {}
        self.commands = [entry for entry in self.commands if entry[0] not in TIMED]

    def draw(self, d, n):
        """(connection, commands of one script, how many keys it declares, whether between MULTI and EXEC)"""
        drawn = [
            (connection, words)
            for connection, words in super().draw(d, n)
            if words[0].decode().upper() not in TIMED and not TIME_WORDS & {word.upper() for word in words}
        ]
        chance = random.Random(d.pick(range(1 << 30)))
        scripts = []
        while drawn:
            size = chance.choice((1, 1, 2, 5))
            part, drawn = drawn[:size], drawn[size:]
            scripts.append((part[0][0], [words for _, words in part], chance.random() < 0.6, chance.random() < 0.1))
        return scripts


def eval_of(commands, keys):
    """`keys` None: they are not told. Such a script is another text, since Pollux learns from each what it needs."""
    text = RUNNER if keys is None else RUNNER + " -- of its keys alone"
    keys = keys or []
    sizes = [b"%d" % len(words) for words in commands]
    return [b"EVAL", text.encode(), b"%d" % len(keys), *keys, b"%d" % len(commands), *sizes,
            *(word for words in commands for word in words)]  # fmt: skip


def keys_of(redis, commands):
    """Every key that the commands touch; None: that cannot be told."""
    keys = []
    for words in commands:
        if words[0].upper().startswith(b"SORT"):
            return None
        redis.send([[b"COMMAND", b"GETKEYS", *words]])
        found = parse(redis.read())
        if isinstance(found, Error):
            return None
        keys += found
    return keys


class Played(Servers):
    PROTOCOLS = (2, 2, 2)

    def play(self, families, scripts):
        self.connect()
        for at, (connection, commands, declares, multi) in enumerate(scripts):
            try:
                self.play_script(families, self.pairs[connection], commands, declares, multi)
            except Difference as difference:
                difference.at = at
                raise
        for pair in self.pairs:
            for c in pair:
                c.send([[b"SELECT", b"0"]])
                c.read()
        self.compare_state(families)

    def play_script(self, families, pair, commands, declares, multi):
        script = eval_of(commands, keys_of(pair[0], commands) if declares else None)
        replies = []
        for c in pair:
            c.send([[b"MULTI"], script, [b"EXEC"]] if multi else [script])
            if multi:
                c.read(), c.read()
            reply = c.read()
            replies.append(split(reply)[0] if multi and reply[:1] == b"*" else reply)
        if any(reply[:1] != b"*" for reply in replies):
            if replies[0] != replies[1]:
                raise Difference(f"{shown(script)}\n  redis:  {shown_reply(replies[0])}\n  pollux: {shown_reply(replies[1])}")
            return
        inner = [split(reply) for reply in replies]
        if len(inner[0]) != len(inner[1]):
            raise Difference(f"{shown(script)}: {len(inner[0])} and {len(inner[1])} replies")
        for words, redis, other in zip(commands, *inner):
            families.check(words, redis, other)


def shown_script(step):
    connection, commands, _, multi = step
    return f"{connection}{' MULTI' if multi else ''}: {'; '.join(shown(words) for words in commands)}"


def main():
    options = program.parser("scripts on redis-server and on Pollux", rounds=(3, 60), commands=1500).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        servers, families = Played(cores, options.peer), InScripts()
        pair = servers.servers
        tests = [(f"scenario {name!r}", lambda t=text: play_scenario(pair, t)) for name, text in SCENARIOS.items()]
        if options.peer == "pollux":
            tests.append(("SCRIPT HELP", lambda: play_help(pair)))
        yield pair, tests + program.seeds(options, lambda seed: play_round(servers, families, seed, options.commands, 20, shown_script))
        servers.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
