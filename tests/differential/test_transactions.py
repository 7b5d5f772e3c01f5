#!/usr/bin/python3
"""Transactions on redis-server 7.0.15 and on Pollux: the same scenarios, the same random commands between MULTI and
EXEC, and for each command that writes, whether a client that watches its key hears of it.

usage: test_transactions.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import pollux
import program
from program import Difference
from raw import Connection, Error, parse
from rounds import Families, Servers, play_round, shown_reply

FAMILIES = ("bitmaps", "geo", "hashes", "hyperloglog", "keys", "lists", "sets", "sort", "strings", "zsets")
# Time decides nothing here: what is kept runs later than it was sent.
TIMED = {
    "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "SETEX", "PSETEX", "GETEX", "CONFIG", "MIGRATE", "OBJECT", "MEMORY",
}  # fmt: skip
TIME_WORDS = {b"EX", b"PX", b"EXAT", b"PXAT"}
CONTROL = {
    "MULTI": (30, lambda d: []),
    "EXEC": (22, lambda d: []),
    "DISCARD": (2, lambda d: []),
    "WATCH": (12, lambda d: d.keys()),
    "UNWATCH": (2, lambda d: []),
}

# A list of (client, words) each.
SCENARIOS = {
    "one after the other": "0 MULTI|0 SET a 1|0 GET a|0 INCR a|0 EXEC|0 GET a",
    "empty": "0 MULTI|0 EXEC",
    "without MULTI": "0 EXEC|0 DISCARD|0 UNWATCH|0 PING",
    "nested": "0 MULTI|0 MULTI|0 WATCH a|0 PING|0 EXEC",
    "unknown command": "0 MULTI|0 NOSUCH|0 SET a 1|0 EXEC|0 GET a",
    "wrong arity": "0 MULTI|0 SET a|0 SET a 1|0 EXEC|0 GET a",
    "unknown subcommand": "0 MULTI|0 OBJECT NOSUCH a|0 SET a 1|0 EXEC|0 GET a",
    "arity of EXEC": "0 MULTI|0 SET a 1|0 EXEC x|0 EXEC|0 GET a",
    "arity of others": "0 MULTI|0 DISCARD x|0 MULTI x|0 EXEC|0 PING",
    "errors while it runs": "0 MULTI|0 SET a x|0 INCR a|0 LPUSH a 1|0 SET b y|0 EXEC|0 GET b",
    "discarded": "0 MULTI|0 SET a 1|0 DISCARD|0 EXEC|0 GET a",
    "not in a transaction": "0 MULTI|0 SHUTDOWN|0 SET a 1|0 EXEC|0 GET a",
    "reset": "0 WATCH a|0 MULTI|0 SET a 1|0 RESET|0 EXEC|1 SET a 2|0 MULTI|0 GET a|0 EXEC",
    "databases": "0 MULTI|0 SELECT 1|0 SET x 1|0 SELECT 0|0 GET x|0 EXEC|0 SELECT 1|0 GET x|0 SELECT 0",
    "protocol": "0 MULTI|0 HELLO 3|0 HGETALL h|0 ZADD z 1 a|0 ZSCORE z a|0 EXEC|0 HELLO 2",
    "whole databases": "0 MSET a 1 b 2|0 MULTI|0 DBSIZE|0 FLUSHALL|0 DBSIZE|0 SET z 1|0 KEYS *|0 RANDOMKEY|0 EXEC",
    "swapped": "0 SET a 1|0 MULTI|0 SWAPDB 0 1|0 GET a|0 SWAPDB 0 1|0 GET a|0 EXEC",
    "settings": "0 MULTI|0 CONFIG SET hz 15|0 CONFIG GET hz|0 INCR q|0 CONFIG REWRITE|0 INCR q|0 EXEC|0 GET q",
    "no waiting": "0 MULTI|0 BLPOP l 0|0 LPUSH l 1|0 BLPOP l 0|0 XREAD BLOCK 0 STREAMS s $|0 EXEC",
    "served after all": "1 BLPOP l 0|0 MULTI|0 LPUSH l a|0 LPUSH l b|0 EXEC|0 LRANGE l 0 -1|1 *",
    "served of what is left": "1 BLPOP l 0|0 MULTI|0 LPUSH l a|0 DEL l|0 EXEC|0 LPUSH l c|1 *",
    "served in order": "1 BLPOP k l 0|0 MULTI|0 LPUSH l a|0 LPUSH k b|0 EXEC|1 *|0 LLEN l|0 LLEN k",
    "sorting": "0 RPUSH l 3 1 2|0 MSET w_1 9 w_2 8 w_3 7|0 MULTI|0 SORT l BY w_* GET # GET w_*|0 SORT l STORE m|0 EXEC",
    "many keys": "0 MULTI|0 MSET a 1 b 2 c 3 d 4|0 MGET a b c d|0 RENAME a e|0 COPY b f|0 SMOVE x y z|0 EXEC|0 MGET e f",
    "watched, changed": "0 WATCH a b c|1 SET b 1|0 MULTI|0 SET a 9|0 EXEC|0 GET a|0 MULTI|0 SET a 9|0 EXEC",
    "watched, another changed": "0 WATCH a b c|1 SET d 1|0 MULTI|0 INCR a|0 EXEC",
    "watched, changed by itself": "0 WATCH a|0 SET a 5|0 MULTI|0 PING|0 EXEC",
    "watched, changed in the same transaction": "0 WATCH a|0 MULTI|0 SET a 5|0 SET a 6|0 EXEC|0 GET a",
    "watched, in another database": "0 WATCH a|1 SELECT 1|1 SET a 1|1 SELECT 0|0 MULTI|0 PING|0 EXEC",
    "watched in another database": "0 SELECT 1|0 WATCH a|0 SELECT 0|1 SELECT 1|1 SET a 1|1 SELECT 0|0 MULTI|0 PING|0 EXEC",
    "unwatched": "0 WATCH a|1 SET a 5|0 UNWATCH|0 MULTI|0 PING|0 EXEC",
    "discarding unwatches": "0 WATCH a|0 MULTI|0 DISCARD|1 SET a 5|0 MULTI|0 PING|0 EXEC",
    "a refused EXEC unwatches": "0 WATCH a|0 MULTI|0 NOSUCH|0 EXEC|1 SET a 5|0 MULTI|0 PING|0 EXEC",
    "twice": "0 WATCH a a|0 WATCH a|1 SET a 5|0 MULTI|0 PING|0 EXEC|0 MULTI|0 PING|0 EXEC",
    "UNWATCH inside": "0 WATCH a|0 MULTI|0 UNWATCH|0 PING|1 SET a 5|0 EXEC",
    "flushed, there": "0 SET a 1|0 WATCH a|1 FLUSHALL|0 MULTI|0 PING|0 EXEC",
    "flushed, not there": "0 WATCH a|1 FLUSHALL|0 MULTI|0 PING|0 EXEC",
    "another database flushed": "0 SET a 1|0 WATCH a|1 SELECT 1|1 FLUSHDB|1 SELECT 0|0 MULTI|0 PING|0 EXEC",
    "swapped away": "0 SET a 1|0 WATCH a|1 SWAPDB 0 1|0 MULTI|0 PING|0 EXEC|1 SWAPDB 0 1",
    "swapped here": "0 SET a 1|0 SWAPDB 0 1|0 WATCH a|1 SWAPDB 0 1|0 MULTI|0 PING|0 EXEC",
    "swapped, nowhere there": "0 WATCH a|1 SWAPDB 0 1|0 MULTI|0 PING|0 EXEC",
    "its time was over": "0 SET k v PX 10|0 DEBUG SLEEP 0.03|0 WATCH k|0 GET k|0 MULTI|0 PING|0 EXEC",
    "served by another": "1 BLPOP l 0|0 WATCH l|2 LPUSH l a|1 *|0 MULTI|0 PING|0 EXEC",
    "two watch": "0 WATCH a|1 WATCH a|0 MULTI|0 INCR a|0 EXEC|1 MULTI|1 INCR a|1 EXEC",
    "no memory to keep it": "0 SET a 1|0 CONFIG SET maxmemory 1|0 MULTI|0 SET b 1|0 GET a|0 EXEC|0 CONFIG SET maxmemory 0",
    "no memory to run it": "0 SET a 1|0 MULTI|0 SET b 1|1 CONFIG SET maxmemory 1|0 EXEC|0 EXEC|1 CONFIG SET maxmemory 0",
    "no memory, and none is wanted": "0 SET a 1|0 MULTI|0 GET a|1 CONFIG SET maxmemory 1|0 EXEC|1 CONFIG SET maxmemory 0",
    "quit": "0 WATCH a|0 MULTI|0 SET a 1|0 QUIT",
    "commands of the connection": "0 MULTI|0 CLIENT SETNAME me|0 CLIENT GETNAME|0 ECHO x|0 COMMAND COUNT x|0 EXEC",
}  # fmt: skip

# On several cores keys that one transaction fills come home core by core: who waits for some of them gets one.
ONE_CORE = {"served in order"}

# Commands that write to the key `k` (or not), behind what makes it, and the key `j`.
CHANGES = """
SET k 1|APPEND k x|APPEND k ""|SETRANGE k 0 x|SETRANGE k 0 ""|GETSET k 1|GETDEL k|GETEX k|GETEX k PERSIST|GETEX k EX 100
SET k 1;INCR k|SET k 1;INCRBYFLOAT k 1|SET k 1;SETNX k 2|SET k 1;SET k 2 XX|SET k 1;SET k 2 NX|MSET j 1 k 2
SET k 1;MSETNX j 1 k 2|SETBIT k 1 1|SET k 1;BITFIELD k SET u8 0 1|SET k 1;BITFIELD k GET u8 0|SET j a;BITOP NOT k j
SET k 1;DEL k|DEL k|SET k 1;UNLINK k|SET k 1;RENAME k j|SET j 1;RENAME j k|SET j 1;SET k 1;RENAMENX j k
SET j 1;COPY j k|SET k 1;SET j 1;COPY j k|SET k 1;SET j 1;COPY j k REPLACE|SET k 1;MOVE k 1|SET k 1;EXPIRE k 100
EXPIRE k 100|SET k 1;EXPIRE k -1|SET k 1;PERSIST k|SET k 1 EX 100;PERSIST k|SET k 1;TOUCH k|SET k 1;GET k|SET k 1;TYPE k
LPUSH k a|LPUSHX k a|RPUSH k a;LPUSHX k b|RPUSH k a;LPOP k|LPOP k|RPUSH k a;LSET k 0 b|RPUSH k a;LREM k 0 b
RPUSH k a;LREM k 0 a|RPUSH k a b;LTRIM k 0 0|RPUSH k a b;LTRIM k 0 -1|RPUSH k a;LINSERT k BEFORE a b
RPUSH k a;LINSERT k BEFORE x b|RPUSH k a;LMOVE k j LEFT LEFT|RPUSH j a;LMOVE j k LEFT LEFT|RPUSH k a;RPOPLPUSH k k
RPUSH k a;LMPOP 1 k LEFT|RPUSH k a;BLPOP k 0|RPUSH k a;LRANGE k 0 -1|SADD k a|SADD k a;SADD k a|SADD k a;SREM k a
SADD k a;SREM k b|SADD k a;SPOP k|SADD k a;SMOVE k j a|SADD j a;SMOVE j k a|SADD j a;SMOVE j k b|SADD j a;SUNIONSTORE k j
SUNIONSTORE k j|SADD k a;SINTERSTORE k j|SADD k a;SDIFFSTORE k k|SADD k a;SMEMBERS k|HSET k f 1|HSET k f 1;HSET k f 1
HSETNX k f 1|HSET k f 1;HSETNX k f 2|HINCRBY k f 1|HINCRBYFLOAT k f 1|HSET k f 1;HDEL k f|HSET k f 1;HDEL k g|HMSET k f 1
ZADD k 1 a|ZADD k 1 a;ZADD k 1 a|ZADD k 1 a;ZADD k 2 a|ZADD k XX 1 a|ZINCRBY k 1 a|ZADD k 1 a;ZREM k a|ZADD k 1 a;ZREM k b
ZADD k 1 a;ZPOPMIN k|ZPOPMIN k|ZADD k 1 a;ZMPOP 1 k MIN|ZADD k 1 a;BZPOPMAX k 0|ZADD k 1 a;ZREMRANGEBYRANK k 0 0
ZADD k 1 a;ZREMRANGEBYRANK k 5 6|ZADD k 1 a;ZREMRANGEBYSCORE k 1 1|ZADD k 1 a;ZREMRANGEBYLEX k - +|ZADD j 1 a;ZUNIONSTORE k 1 j
ZUNIONSTORE k 1 j|ZADD k 1 a;ZINTERSTORE k 1 j|ZADD j 1 a;ZDIFFSTORE k 1 j|ZADD j 1 a;ZRANGESTORE k j 0 -1|ZRANGESTORE k j 0 -1
PFADD k a|PFADD k a;PFADD k a|PFADD k a;PFCOUNT k|PFADD j a;PFMERGE k j|GEOADD k 1 1 a|GEOADD j 1 1 a;GEOSEARCHSTORE k j FROMMEMBER a BYRADIUS 1 m
XADD k 1-1 f v|XADD k 1-1 f v;XDEL k 1-1|XADD k 1-1 f v;XDEL k 9-9|XADD k 1-1 f v;XTRIM k MAXLEN 0|XADD k 1-1 f v;XTRIM k MAXLEN 9
XADD k 1-1 f v;XSETID k 5-5|XADD k 1-1 f v;XGROUP CREATE k g 0|XGROUP CREATE k g 0 MKSTREAM|XADD k 1-1 f v;XGROUP CREATE k g 0;XGROUP DESTROY k g
XADD k 1-1 f v;XGROUP CREATE k g 0;XREADGROUP GROUP g c STREAMS k >|XADD k 1-1 f v;XGROUP CREATE k g 0;XACK k g 1-1
XADD k 1-1 f v;XGROUP CREATE k g 0;XGROUP CREATECONSUMER k g c|XADD k 1-1 f v;XGROUP CREATE k g 0;XREADGROUP GROUP g c STREAMS k >;XACK k g 1-1
XADD k 1-1 f v;XGROUP CREATE k g 0;XREADGROUP GROUP g c STREAMS k >;XCLAIM k g d 0 1-1|XADD k 1-1 f v;XGROUP CREATE k g 0;XREADGROUP GROUP g c STREAMS k >;XAUTOCLAIM k g d 0 0
XADD k 1-1 f v;XGROUP CREATE k g 0;XREADGROUP GROUP g c STREAMS k >;XGROUP DELCONSUMER k g c|XADD k 1-1 f v;XDEL k 1-1;XADD k 2-2 f v|XADD k 1-1 f v;XGROUP CREATE k g 0;XGROUP SETID k g 1-1
RPUSH j b a;SORT j ALPHA STORE k|SORT j STORE k|RPUSH k a;SORT j STORE k|SET j 1;RESTORE k 0 x|FLUSHDB|SET k 1;FLUSHDB|SET k 1;FLUSHALL
SET k 1;OBJECT ENCODING k|SET k 1;DUMP k|LPUSH k 1;SET k 2 GET|SET k 1;LPUSH k 1
"""  # fmt: skip


def words_of(line):
    return [b"" if word == '""' else word.encode() for word in line.split()]


class Pairs:
    """Clients of both servers, side by side."""

    def __init__(self, servers, n):
        self.pairs = [[Connection(server.host, server.port) for server in servers] for _ in range(n)]

    def both(self, client, words):
        for connection in self.pairs[client]:
            connection.send([words])
        return [connection.read() for connection in self.pairs[client]]

    def close(self):
        for pair in self.pairs:
            for connection in pair:
                connection.close()


def waits(pair, words):
    """Whether the command makes its client wait, or ends it."""
    return words[0] == b"BLPOP" and words[-1] == b"0"


def wait_until_blocked(pairs, client):
    """Both servers know that the client waits."""
    for side, connection in enumerate(pairs.pairs[client]):
        other = pairs.pairs[-1][side]

        def blocked(other=other, connection=connection):
            listed = other.call("CLIENT", "LIST")
            return b"laddr=" in listed and any(
                b"addr=%s:%d " % (h.encode(), p) in line and b"flags=b" in line
                for line in listed.split(b"\n")
                for h, p in [connection.socket.getsockname()]
            )

        pollux.wait_for(blocked, "a client that waits")


def play_scenario(servers, text):
    pairs = Pairs(servers, 4)
    in_multi = set()
    try:
        pairs.both(3, [b"FLUSHALL"])
        for step in text.split("|"):
            client, words = int(step[0]), words_of(step[2:])
            if words == [b"*"]:  # its reply is due now
                replies = [connection.read() for connection in pairs.pairs[client]]
            elif waits(pairs, words) and client not in in_multi:
                for connection in pairs.pairs[client]:
                    connection.send([words])
                wait_until_blocked(pairs, client)
                continue
            else:
                replies = pairs.both(client, words)
            if words == [b"MULTI"]:
                in_multi.add(client)
            if words[0] in (b"EXEC", b"DISCARD", b"RESET"):
                in_multi.discard(client)
            if replies[0] != replies[1] and not (b"HELLO" in text.encode() and words[0] in (b"EXEC", b"HELLO")):
                a, b = (parse(r) for r in replies)
                if isinstance(a, list) and isinstance(b, list) and words[0] == b"EXEC":
                    a, b = ([sorted(x) if isinstance(x, list) and all(isinstance(y, bytes) for y in x) else x for x in y]
                            for y in (a, b))
                    if a == b:
                        continue
                raise Difference(f"{step}\n  redis:  {shown_reply(replies[0])}\n  pollux: {shown_reply(replies[1])}")
    finally:
        pairs.close()


def play_time_over(servers):
    """A watched key whose time ends before EXEC. It is given more where that was over before the key was watched."""
    pairs = Pairs(servers, 1)
    try:
        pairs.both(0, [b"FLUSHALL"])
        for ms in (10, 40, 160, 640, 2560, 10240):
            pairs.both(0, [b"UNWATCH"])
            pairs.both(0, [b"SET", b"k", b"v", b"PX", b"%d" % ms])
            pairs.both(0, [b"WATCH", b"k"])
            if all(parse(reply) > 0 for reply in pairs.both(0, [b"PTTL", b"k"])):
                break
        else:
            raise Difference("no key lives until it is watched")
        pairs.both(0, [b"DEBUG", b"SLEEP", b"%.3f" % (ms / 1000 + 0.02)])
        pairs.both(0, [b"MULTI"])
        pairs.both(0, [b"PING"])
        replies = pairs.both(0, [b"EXEC"])
        if replies[0] != replies[1]:
            raise Difference(f"EXEC\n  redis:  {replies[0]!r}\n  pollux: {replies[1]!r}")
    finally:
        pairs.close()


def play_change(servers, line):
    """Whether EXEC runs, after another client did this to a watched key: the same on both."""
    *before, last = line.split(";")
    pairs = Pairs(servers, 2)
    try:
        pairs.both(1, [b"FLUSHALL"])
        for step in before:
            pairs.both(1, words_of(step))
        pairs.both(0, [b"WATCH", b"k"])
        did = pairs.both(1, words_of(last))
        pairs.both(0, [b"MULTI"])
        pairs.both(0, [b"PING"])
        replies = pairs.both(0, [b"EXEC"])
        if replies[0] != replies[1]:
            raise Difference(f"{line}: {did}\n  redis:  {replies[0]!r}\n  pollux: {replies[1]!r}")
    finally:
        pairs.close()


class InTransactions(Families):
    """Random commands, many of them between MULTI and EXEC. What EXEC answers is compared command by command."""

    def __init__(self):
        super().__init__(FAMILIES)
        self.limits = {}
        self.commands = [entry for entry in self.commands if entry[0] not in TIMED]
        weight = sum(weight for _, weight, _ in self.commands) / 100
        self.commands += [(name, share * weight, rest) for name, (share, rest) in CONTROL.items()]

    def draw(self, d, n):
        return [
            (connection, words)
            for connection, words in super().draw(d, n)
            if words[0].decode().upper() not in TIMED and not TIME_WORDS & {word.upper() for word in words}
        ]


def split(reply):
    """The replies in an array's."""
    connection = Connection.__new__(Connection)
    connection.data, connection.at = bytearray(reply), 0
    n = int(connection._line()[1:])
    return [connection.read() for _ in range(n)]


class Kept(Servers):
    """Plays commands as Servers does; knows what each connection has kept."""

    def play(self, families, commands):
        self.connect()
        kept = [[] for _ in self.pairs]
        for at, (connection, words) in enumerate(commands):
            pair = self.pairs[connection]
            for c in pair:
                c.send([words])
            replies = [c.read() for c in pair]
            name = words[0].upper()
            try:
                if replies[0] == b"+QUEUED\r\n" == replies[1]:
                    kept[connection].append(words)
                    continue
                if name == b"EXEC" and all(r[:1] == b"*" and r[1:2] != b"-" for r in replies):
                    inner = [split(r) for r in replies]
                    if len(inner[0]) != len(kept[connection]) or len(inner[0]) != len(inner[1]):
                        raise Difference(f"EXEC of {len(kept[connection])}: {len(inner[0])} and {len(inner[1])} replies")
                    for number, one in enumerate(kept[connection]):
                        families.check(one, inner[0][number], inner[1][number])
                else:
                    families.check(words, *replies)
            except Difference as difference:
                difference.at = at
                raise
            if name in (b"EXEC", b"DISCARD", b"MULTI", b"RESET") and not isinstance(parse(replies[0]), Error):
                kept[connection] = []
            elif name == b"EXEC":
                kept[connection] = []
        for connection, pair in enumerate(self.pairs):
            for c in pair:
                c.send([[b"DISCARD"], [b"SELECT", b"0"]])
                c.read(), c.read()
        self.compare_state(families)


def main():
    options = program.parser("transactions on redis-server and on Pollux", rounds=(6, 100), commands=1500).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        servers, families = Kept(cores, options.peer), InTransactions()
        pair = servers.servers
        tests = [(f"scenario {name!r}", lambda t=text: play_scenario(pair, t)) for name, text in SCENARIOS.items()
                 if cores == "0" or name not in ONE_CORE]
        tests.append(("its time is over", lambda: play_time_over(pair)))
        tests += [(f"watched: {line}", lambda l=line: play_change(pair, l)) for line in CHANGES.replace("\n", "|").split("|") if line]
        yield pair, tests + program.seeds(options, lambda seed: play_round(servers, families, seed, options.commands))
        servers.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
