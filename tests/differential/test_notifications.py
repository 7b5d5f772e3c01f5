#!/usr/bin/python3
"""What subscribers of keyspace notifications hear, on redis-server 7.0.15 and on Pollux: for random commands of every
family, and for scripted ones, the same events of the same keys in the same order.

usage: test_notifications.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1] [--families NAMES]
"""

import contextlib
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import pollux
import program
from program import Difference
from raw import Connection, parse
from rounds import Families, Servers, play_round, shown, shown_reply

# Time decides nothing here: the servers execute a command one after the other.
TIMED = {"EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "SETEX", "PSETEX", "GETEX", "CONFIG", "MIGRATE"}
TIME_WORDS = {b"EX", b"PX", b"EXAT", b"PXAT", b"IDLETIME"}
# Redis draws among what it has, so that what follows may differ.
DRAWING = {"RANDOMKEY", "SPOP"}

# Each is played with every class on; clients are numbered, the last one is apart.
SCENARIOS = {
    "waiting for a list": "1 BLPOP l m 0|0 RPUSH m a b|1 BRPOP l 0|0 LPUSH l a|1 BLMOVE l m LEFT RIGHT 0|0 RPUSH l z|1 BLMPOP 0 2 l q LEFT|0 RPUSH q 1",
    "waiting for a sorted set": "1 BZPOPMIN z 0|0 ZADD z 1 a|1 BZPOPMAX z 0|0 ZADD z 1 a 2 b|0 DEL z|1 BZMPOP 0 1 z MIN COUNT 2|0 ZADD z 5 c 6 d",
    "waiting for a stream": "1 XREAD BLOCK 0 STREAMS s $|0 XADD s 1-1 f v|0 XGROUP CREATE s g $|1 XREADGROUP GROUP g me BLOCK 0 STREAMS s >|0 XADD s 2-2 f v",
    "a chain of moves": "1 BLMOVE a b LEFT LEFT 0|2 BLMOVE b c LEFT LEFT 0|0 RPUSH a x",
    "a transaction": "0 MULTI;SET a 1;INCR a;DEL a;LPUSH l 1 2;RENAME l m;SADD s x;EXEC",
    "a transaction over slots, that wakes": "1 BLPOP l 0|0 MULTI;RPUSH l a;SET k v;LPUSH l b;EXEC",
    "over several slots": "0 MSET a 1 b 2 c 3|0 DEL a b c|0 SADD s1 a b|0 SADD s2 b c|0 SUNIONSTORE s3 s1 s2|0 SMOVE s1 s2 a|0 RENAME s1 s9|0 COPY s9 s8|0 UNLINK s9 s8 nosuch",
    "times": "0 SET a 1|0 EXPIRE a 1000|0 PERSIST a|0 PERSIST a|0 EXPIRE a 1000|0 EXPIRE a -1|0 SET a 1 EX 1000|0 SET a 1 KEEPTTL|0 GETEX a EX 5000|0 GETEX a PERSIST|0 GETEX a"
    "|0 PEXPIREAT a 1|0 SETEX b 1000 v|0 PSETEX b 1000000 v|0 EXPIREAT b 1|0 SET c 1|0 GETEX c PXAT 1|0 EXPIRE nosuch 1|0 SET e 1|0 EXPIRE e 100 NX|0 EXPIRE e 50 GT",
    "databases": "0 SET a 1|0 MOVE a 1|0 SELECT 1|0 COPY a b DB 0|0 GET nosuch|0 SELECT 0|0 COPY b a DB 1 REPLACE|0 COPY b a DB 1|0 SWAPDB 0 1|0 GET a|0 FLUSHALL",
    "misses": "0 GET a|0 MGET a b|0 EXISTS a b|0 TYPE a|0 TTL a|0 PTTL a|0 EXPIRETIME a|0 STRLEN a|0 TOUCH a|0 OBJECT ENCODING a|0 OBJECT FREQ a|0 MEMORY USAGE a|0 DUMP a|0 HGET a f|0 HGETALL a|0 HMGET a f"
    "|0 LRANGE a 0 1|0 LLEN a|0 SMEMBERS a|0 SINTER a b|0 SUNION a b|0 SDIFF a b|0 SCARD a|0 SISMEMBER a x|0 ZSCORE a b|0 ZRANGE a 0 1|0 ZUNION 2 a b|0 ZINTERCARD 2 a b|0 XLEN a|0 XRANGE a - +|0 XREAD STREAMS a 0"
    "|0 PFCOUNT a|0 PFCOUNT a b|0 BITCOUNT a|0 GETBIT a 1|0 BITPOS a 1|0 BITOP AND c a b|0 GEOPOS a x|0 SORT a|0 SORT_RO a|0 LCS a b|0 SUBSTR a 0 1|0 GETRANGE a 0 1|0 GETEX a|0 GETDEL a|0 SET a x GET|0 SET a y GET"
    "|0 DEL x|0 INCR y|0 APPEND y 1|0 LPOP x|0 LPUSHX x 1|0 SREM x a|0 HDEL x f|0 ZREM x a|0 RENAME x y|0 COPY x y|0 RESTORE z 0 x|0 LINDEX x 1|0 LPOS x a|0 LINSERT x BEFORE a b|0 SRANDMEMBER x|0 HRANDFIELD x|0 ZRANDMEMBER x"
    "|0 XINFO STREAM x|0 XPENDING x g|0 XACK x g 1-1|0 GEOSEARCH x FROMLONLAT 0 0 BYRADIUS 1 m|0 GEODIST x a b|0 GEOHASH x a|0 BITFIELD x GET u8 0|0 BITFIELD_RO x GET u8 0|0 SETRANGE x 0 v|0 SMISMEMBER q a|0 SINTERCARD 1 q|0 SSCAN q 0|0 HSCAN q 0|0 ZSCAN q 0"
    "|0 ZRANGESTORE d q 0 1|0 ZUNIONSTORE d 1 q|0 SUNIONSTORE d q|0 SINTERSTORE d q|0 SDIFFSTORE d q|0 PFMERGE d q|0 SORT q STORE d|0 GEOSEARCHSTORE d q FROMLONLAT 0 0 BYRADIUS 1 m|0 SMOVE q d a|0 LMOVE q d LEFT LEFT|0 RPOPLPUSH q d|0 MSETNX q 1 d 2|0 MSETNX q 1 e 2"
    "|0 GETSET g 1|0 GETSET g 2|0 SETNX g 1|0 SETNX h 1|0 DECR i|0 INCRBYFLOAT j 1|0 LMPOP 1 q2 LEFT|0 ZMPOP 1 q2 MIN|0 ZPOPMIN q2|0 SPOP q2|0 BLPOP q2 0.01|0 ZINCRBY q3 1 a|0 HINCRBY q4 f 1|0 XADD q5 1-1 f v|0 XADD q6 NOMKSTREAM 1-1 f v|0 XDEL q6 1-1|0 XTRIM q6 MAXLEN 0|0 XSETID q6 1-1"
    "|0 XGROUP CREATE q7 g 0|0 XGROUP CREATE q7 g 0 MKSTREAM|0 XAUTOCLAIM q8 g c 0 0|0 XCLAIM q8 g c 0 1-1|0 XREADGROUP GROUP g c STREAMS q7 >|0 XREADGROUP GROUP g c STREAMS q8 >|0 WATCH q9|0 UNWATCH",
    "scripts": "0 EVAL return(redis.call('SET',KEYS[1],1)) 1 a|0 EVAL redis.call('RPUSH',KEYS[1],1,2);redis.call('LPOP',KEYS[1]);return(redis.call('DEL',KEYS[1])) 1 l",
    "which are told": "0 CONFIG SET notify-keyspace-events K|0 SET a 1|0 CONFIG SET notify-keyspace-events A|0 SET a 1|0 CONFIG SET notify-keyspace-events Eg|0 SET a 1|0 DEL a"
    "|0 CONFIG SET notify-keyspace-events K$|0 SET a 1|0 DEL a|0 CONFIG SET notify-keyspace-events KEl|0 LPUSH l a|0 SADD s a|0 CONFIG SET notify-keyspace-events Kn|0 SET b 1|0 GET q|0 CONFIG SET notify-keyspace-events Em"
    "|0 SET c 1|0 GET q|0 CONFIG SET notify-keyspace-events KEA|0 SET d 1|0 GET q|0 CONFIG SET notify-keyspace-events AKEn|0 SET e 1|0 CONFIG GET notify-keyspace-events|0 CONFIG SET notify-keyspace-events mnAKE|0 CONFIG GET notify-keyspace-events",
}  # fmt: skip


class Told(Servers):
    """Plays commands one by one; after each, a subscriber of every event must have heard the same."""

    def connect(self):
        super().connect()
        for connection in getattr(self, "listeners", []):
            connection.close()
        for connection in self.pairs[0]:
            connection.call("CONFIG", "SET", "notify-keyspace-events", "AKEmn")
        self.listeners = [Connection(server.host, server.port) for server in self.servers]
        for listener in self.listeners:
            listener.call("PSUBSCRIBE", "__key*__:*")
        self.synced = 0

    def heard(self):
        """Since the last call, on both sides: (channel, what it said) each."""
        self.synced += 1
        token = b"%d" % self.synced
        both = []
        for listener in self.listeners:
            listener.send([[b"PING", token]])
            events = []
            while True:
                message = parse(listener.read())
                if message == [b"pong", token]:
                    break
                events.append(tuple(message[2:]))
            both.append(events)
        return both

    def compare(self, text, unordered=False):
        redis, other = self.heard()
        for _ in range(50):  # a core takes so many words of another a turn: more of them come later
            if len(other) >= len(redis):
                break
            other += self.heard()[1]
        if unordered:
            redis, other = sorted(redis), sorted(other)
        if redis != other:
            same = next((i for i, (r, p) in enumerate(zip(redis, other)) if r != p), min(len(redis), len(other)))
            lines = [f"  {name} {event}" for name, side in (("redis ", redis), ("pollux", other)) for event in side[same : same + 12]]
            raise Difference(f"{text}: after {same} equal ones\n" + "\n".join(lines))

    def play(self, families, commands):
        self.connect()
        for at, (connection, words) in enumerate(commands):
            pair = self.pairs[connection]
            for c in pair:
                c.send([words])
            replies = [c.read() for c in pair]
            try:
                families.check(words, *replies)
                # Sets have no order, nor have the keys that SORT makes of their members.
                self.compare(f"{shown(words)}: {shown_reply(replies[0])}", words[0].upper().startswith(b"SORT"))
            except Difference as difference:
                difference.at = at
                raise
        self.compare_state(families)

    def scenario(self, text):
        self.connect()
        waiting = set()
        for step in text.split("|"):
            number, rest = step.split(" ", 1)
            client = int(number)
            for words in rest.split(";") if "MULTI" in rest else [rest]:
                words = [w.encode() for w in words.split(" ")]
                for c in self.pairs[client]:
                    c.send([words])
                blocks = (words[0][:1] == b"B" and words[-1] == b"0") or b"BLOCK" in words or words[0] in (b"BLMPOP", b"BZMPOP")
                if blocks and not words[0].startswith(b"BIT"):
                    waiting.add(client)
                    self.wait_until_blocked(len(waiting))
                    continue
                replies = [c.read() for c in self.pairs[client]]
                if b"DUMP" != words[0] and b"MEMORY" != words[0] and parse(replies[0]) != parse(replies[1]):
                    raise Difference(f"{step}: {replies}")
            if len(waiting) and client not in waiting:
                # Whoever waited and was served answers now.
                self.served(waiting)
            self.compare(step[:100])
        for client in waiting:
            for c in self.pairs[client]:
                c.close()
        self.pairs = [pair for i, pair in enumerate(self.pairs) if i not in waiting]

    def wait_until_blocked(self, n):
        for server, probe in zip(self.servers, self.listeners):
            del probe
            connection = Connection(server.host, server.port)
            pollux.wait_for(lambda c=connection: b"\r\nblocked_clients:%d\r\n" % n in c.call("INFO", "clients"), f"{n} that wait")
            connection.close()

    def served(self, waiting):
        """Reads what the waiting were answered, on Redis first; Pollux must have answered the same ones."""
        counts = []
        for server in self.servers:
            connection = Connection(server.host, server.port)
            info = connection.call("INFO", "clients")
            counts.append(int(info.split(b"\r\nblocked_clients:")[1].split(b"\r\n")[0]))
            connection.close()
        if counts[0] == len(waiting):
            return
        for client in sorted(waiting):
            if counts[0] < len(waiting):
                [c.read() for c in self.pairs[client]]
                waiting.discard(client)


class Undated(Families):
    def __init__(self, names):
        super().__init__(names)
        self.limits = {}
        self.commands = [entry for entry in self.commands if entry[0] not in TIMED | DRAWING]

    def draw(self, d, n):
        return [
            (connection, words)
            for connection, words in super().draw(d, n)
            if words[0].decode(errors="replace").upper() not in TIMED | DRAWING and not TIME_WORDS & {word.upper() for word in words}
        ]


def main():
    names = sorted(name[len("family_") : -len(".py")] for name in os.listdir(HERE) if name.startswith("family_"))
    parser = program.parser("keyspace notifications of redis-server and of Pollux", rounds=(2, 100), commands=1500)
    parser.add_argument("--families", default=",".join(names), help="names, separated by commas")
    options = parser.parse_args()
    families = Undated(options.families.split(","))

    @contextlib.contextmanager
    def tests_of(cores):
        servers = Told(cores, options.peer)
        tests = [(f"scenario {name!r}", lambda t=text: servers.scenario(t)) for name, text in SCENARIOS.items()]
        yield servers.servers, tests + program.seeds(options, lambda seed: play_round(servers, families, seed, options.commands, 20))
        servers.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
