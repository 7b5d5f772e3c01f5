#!/usr/bin/python3
"""Commands that wait, on redis-server 7.0.15 and on Pollux: who gets what, and who goes on waiting.

A scenario is a list of steps of several clients. After each step Redis is asked which clients wait; the
replies that it has given by then must come from Pollux as well, equal to the byte, and the same clients
must wait there. A command with a time-out is awaited before the next step, so that time decides nothing
else.

usage: test_blocking.py [--seed N] [--rounds N] [--steps N] [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import checks
import program
from program import Difference
from raw import Connection

CLIENTS = 6
DATABASES = 2
PATIENCE_S = 20
LISTS = [b"l0", b"l1", b"l2", b"l3"]
ZSETS = [b"z0", b"z1", b"z2"]
STREAMS = [b"s0", b"s1"]
CONTENT = {
    b"string": lambda key: [b"GET", key],
    b"list": lambda key: [b"LRANGE", key, b"0", b"-1"],
    b"zset": lambda key: [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
    b"stream": lambda key: [b"XRANGE", key, b"-", b"+"],
}


class Side:
    """One server with the clients of a scenario."""

    def __init__(self, server):
        self.server = server
        self.control = self.open()
        self.clients = [None] * CLIENTS
        self.ids = [0] * CLIENTS

    def open(self):
        return Connection(self.server.host, self.server.port)

    def connect(self, i, protocol=2):
        self.clients[i] = self.open()
        self.clients[i].call("HELLO", protocol)
        self.clients[i].call("CLIENT", "SETNAME", f"c{i}")
        self.ids[i] = self.clients[i].call("CLIENT", "ID")

    def start(self, protocols):
        for client in self.clients:
            if client:
                client.close()
        self.control.call("FLUSHALL")
        for i in range(CLIENTS):
            self.connect(i, protocols[i])

    def blocked(self):
        names = set()
        for line in self.control.call("CLIENT", "LIST").decode().splitlines():
            fields = dict(field.split("=", 1) for field in line.split(" "))
            if "b" in fields["flags"]:
                names.add(fields["name"])
        return names

    def available(self, i):
        """The replies of a client that are there."""
        client = self.clients[i]
        replies = []
        client.socket.setblocking(False)
        try:
            while True:
                start = client.at
                try:
                    replies.append(client.read())
                except BlockingIOError:
                    client.at = start
                    return replies
                except (EOFError, ConnectionError):
                    return replies + ["closed"]
        finally:
            client.socket.settimeout(PATIENCE_S)

    def read(self, i, n):
        """`n` replies, waited for."""
        replies = []
        for _ in range(n):
            try:
                replies.append(self.clients[i].read())
            except (EOFError, ConnectionError):
                replies.append("closed")
            except TimeoutError:
                replies.append("nothing")
                break
        return replies

    def close(self):
        for client in self.clients + [self.control]:
            if client:
                client.close()


class Pair:
    def __init__(self, cores, servers):
        self.cores = len(cores.split(","))
        self.redis, self.other = (Side(server) for server in servers)

    def sides(self):
        return self.redis, self.other

    def start(self, protocols=(2,) * CLIENTS):
        for side in self.sides():
            side.start(protocols)

    def settle(self, what, i=None, n=0, timed=False):
        """Both have done what there is to do, and the same. `n` commands of client i are new."""
        got = [[] for _ in range(CLIENTS)]

        def look():
            for k in range(CLIENTS):
                got[k] += self.redis.available(k)

        deadline = time.monotonic() + PATIENCE_S
        waiting = self.redis.blocked()
        look()
        # What Redis was sent is done when all is answered, or something waits.
        while i is not None and len(got[i]) < n and "closed" not in got[i] and (timed or f"c{i}" not in waiting):
            if time.monotonic() > deadline:
                raise Difference(f"{what}: redis does not answer")
            waiting = self.redis.blocked()
            look()
        waiting = self.redis.blocked()
        look()
        for k in range(CLIENTS):
            other = self.other.read(k, len(got[k]))
            if got[k] != other:
                raise Difference(f"{what}: client {k} got\n  redis:  {got[k]}\n  pollux: {other}")
        while self.other.blocked() != waiting:
            if time.monotonic() > deadline:
                raise Difference(f"{what}: waiting\n  redis:  {waiting}\n  pollux: {self.other.blocked()}")
            time.sleep(0.001)
        for k in range(CLIENTS):
            more = self.other.available(k)
            if more:
                raise Difference(f"{what}: client {k} got more from pollux: {more}")

    def step(self, i, *commands, timed=False):
        """A client sends commands in one piece. `timed`: they are answered in the end."""
        commands = [[w if isinstance(w, bytes) else str(w).encode() for w in words] for words in commands]
        for side in self.sides():
            side.clients[i].send([[b"%d" % side.ids[int(w[3:])] if w.startswith(b"id:") else w for w in words]
                                  for words in commands])
        self.settle(f"client {i}: {commands}", i, len(commands), timed)

    def disconnect(self, i, protocol=2):
        for side in self.sides():
            side.clients[i].close()
            deadline = time.monotonic() + PATIENCE_S
            while f"c{i}" in side.blocked():
                if time.monotonic() > deadline:
                    raise Difference(f"client {i} is gone and still waits")
                time.sleep(0.001)
            side.connect(i, protocol)
        self.settle(f"client {i} went away")

    def kill(self, i):
        """CLIENT KILL closes the connection without a reply."""
        for side in self.sides():
            killed = side.control.call("CLIENT", "KILL", "ID", side.ids[i])
            got = side.read(i, 1)
            if killed != 1 or got != ["closed"]:
                raise Difference(f"CLIENT KILL of client {i}: {killed}, then {got}")
        self.disconnect(i)

    def compare(self):
        for db in range(DATABASES):
            for side in self.sides():
                side.control.call("SELECT", db)
            keys = [sorted(side.control.call("KEYS", "*")) for side in self.sides()]
            if keys[0] != keys[1]:
                raise Difference(f"keys of database {db}\n  redis:  {keys[0]}\n  pollux: {keys[1]}")
            pair = self.redis.control, self.other.control
            for key in keys[0]:
                kind = checks.both(*pair, "TYPE", key)
                checks.both(*pair, *CONTENT[bytes(kind)](key))
        for side in self.sides():
            side.control.call("SELECT", 0)


# --- scripted --------------------------------------------------------------------------------------


def order(p):
    """Who came first is served first, each with one element."""
    for i in range(4):
        p.step(i, ["BLPOP", "l0", 0])
    p.step(4, ["RPUSH", "l0", "a", "b"])
    p.step(4, ["LPUSH", "l0", "c", "d", "e"])
    p.step(4, ["LLEN", "l0"])


def several_keys(p):
    """A client waits for keys on several cores; the first one that is filled answers."""
    p.step(0, ["BLPOP", "l0", "l1", "l2", "l3", 0])
    p.step(1, ["BRPOP", "l3", "l2", "l1", "l0", 0])
    p.step(5, ["RPUSH", "l2", "x"])
    p.step(5, ["RPUSH", "l1", "y"])
    p.step(0, ["BLPOP", "l0", "l0", "l1", 0])
    p.step(5, ["RPUSH", "l0", "x", "y"])
    p.step(0, ["BLPOP", "l1", "l0", 0])


def chains(p):
    """What one command moves wakes the next."""
    p.step(0, ["BLMOVE", "l0", "l1", "LEFT", "RIGHT", 0])
    p.step(1, ["BLMOVE", "l1", "l2", "LEFT", "RIGHT", 0])
    p.step(2, ["BLMOVE", "l2", "l3", "RIGHT", "LEFT", 0])
    p.step(3, ["BLPOP", "l3", 0])
    p.step(4, ["RPUSH", "l0", "x"])
    p.step(0, ["BLMOVE", "l0", "l1", "LEFT", "RIGHT", 0])
    p.step(1, ["BLMOVE", "l0", "l2", "LEFT", "RIGHT", 0])
    p.step(2, ["BLPOP", "l0", 0])
    p.step(3, ["BLMOVE", "l0", "l0", "LEFT", "RIGHT", 0])
    p.step(4, ["RPUSH", "l0", "a", "b", "c", "d"])
    p.step(0, ["BLMOVE", "l1", "l1", "LEFT", "RIGHT", 0])


def moved_to_wrong_type(p):
    """The destination is no list: an error, and the element stays for the next."""
    p.step(5, ["SET", "l1", "v"])
    p.step(0, ["BLMOVE", "l0", "l1", "LEFT", "RIGHT", 0])
    p.step(1, ["BLPOP", "l0", 0])
    p.step(5, ["RPUSH", "l0", "x"])


def timeouts(p):
    for words in (["BLPOP", "l0"], ["BRPOP", "l0", "l1"], ["BLMOVE", "l0", "l1", "LEFT", "LEFT"]):
        p.step(0, [*words, "0.01"], timed=True)
        p.step(0, [*words, "0.001"], timed=True)
        p.step(0, *([*words, t] for t in ("-1", "-0.01", "1e400", "x", "", "nan", "inf", "-inf", "9223372036854775807",
                                          "9223372036854775.808", "1e4932")))
        for t in ("-0.0001", "9223372036854775.807", "9223372036853000", "0"):
            p.step(0, [*words, t])
            p.step(5, ["CLIENT", "UNBLOCK", "id:0"])
    p.step(0, ["BLPOP", "l0", 0])
    p.step(1, ["BLPOP", "l0", "0.05"], timed=True)
    p.step(2, ["BLPOP", "l0", 0])
    p.step(5, ["RPUSH", "l0", "a", "b"])


def pipelined(p):
    """What stands behind a command that waits waits too."""
    p.step(1, ["BLPOP", "l1", 0], ["PING"])
    p.step(0, ["BLPOP", "l0", 0], ["RPUSH", "l1", "x"], ["BLPOP", "l0", 0], ["PING"])
    p.step(5, ["RPUSH", "l0", "a"])
    p.step(5, ["RPUSH", "l0", "a"])
    p.step(0, ["BLPOP", "l0", "0.01"], ["PING"], timed=True)


def unblock(p):
    p.step(0, ["BLPOP", "l0", 0])
    p.step(5, ["CLIENT", "UNBLOCK", "id:0"])
    p.step(5, ["CLIENT", "UNBLOCK", "id:0"])
    p.step(0, ["BLMOVE", "l0", "l1", "LEFT", "LEFT", 0], ["PING"])
    p.step(5, ["CLIENT", "UNBLOCK", "id:0", "TIMEOUT"])
    p.step(0, ["BLPOP", "l0", "l1", 0])
    p.step(5, ["CLIENT", "UNBLOCK", "id:0", "error"])
    for words in (["x"], ["1", "x"], ["x", "x"], ["1", "TIMEOUT", "x"], [], ["-1"], ["99999"]):
        p.step(5, ["CLIENT", "UNBLOCK", *words])
    p.step(1, ["BLPOP", "l0", 0])
    p.step(5, ["RPUSH", "l0", "x"])


def gone(p):
    """Who goes away, by itself or killed, takes nothing with it."""
    for i in range(3):
        p.step(i, ["BLPOP", "l0", "l1", 0])
    p.disconnect(1)
    p.kill(0)
    p.step(5, ["RPUSH", "l0", "a", "b"])


def becomes_ready(p):
    """All the ways a key comes to be."""
    for i, words in enumerate((
            ["RENAME", "src", "l0"], ["COPY", "src", "l0"], ["RENAMENX", "src", "l0"],
            ["LMOVE", "src", "l0", "LEFT", "LEFT"], ["RPOPLPUSH", "src", "l0"], ["SORT", "src", "STORE", "l0", "ALPHA"])):
        p.step(i, ["BLPOP", "l0", 0])
        p.step(i, ["PING"])
        p.step((i + 1) % CLIENTS, ["DEL", "src"], ["RPUSH", "src", "x", "y"], words)
        p.step((i + 1) % CLIENTS, ["DEL", "src", "l0"])
    p.step(0, ["BLPOP", "l0", 0])
    p.step(1, ["SELECT", 1], ["RPUSH", "l0", "x"], ["MOVE", "l0", 0])
    p.step(0, ["BLPOP", "l0", 0])
    p.step(1, ["RPUSH", "l0", "x"], ["SWAPDB", 0, 1])
    p.step(1, ["RPUSH", "l0", "x"])


def wrong_types(p):
    """A key of another type serves nobody and ends nothing."""
    p.step(0, ["BLPOP", "l0", 0])
    p.step(1, ["SET", "l0", "v"])
    p.step(1, ["APPEND", "l0", "v"])
    p.step(2, ["BLPOP", "l0", 0])
    p.step(2, ["BLPOP", "l1", "l0", 0])
    p.step(1, ["DEL", "l0"])
    p.step(1, ["RPUSH", "l0", "x"])


def replaced_by_a_result(p):
    """Commands that store a result in the place of another type: Redis forgets those who wait for it, until
    the key changes once more; here they are served at once, so that both have served them in the end."""
    stores = (
        ["SORT", "src", "ALPHA", "STORE", "l0"], ["ZUNIONSTORE", "z0", 1, "zsrc"], ["ZINTERSTORE", "z0", 1, "zsrc"],
        ["ZDIFFSTORE", "z0", 1, "zsrc"], ["ZRANGESTORE", "z0", "zsrc", 0, -1],
        ["GEOSEARCHSTORE", "z0", "zsrc", "FROMLONLAT", 0, 0, "BYRADIUS", 30000, "km"],
    )  # fmt: skip
    p.step(5, ["RPUSH", "src", "a", "b"], ["GEOADD", "zsrc", 1, 1, "a", 2, 2, "b"])
    for words in stores:
        key = "l0" if words[0] == "SORT" else "z0"
        waits = ["BLPOP", key, 0] if key == "l0" else ["BZPOPMIN", key, 0]
        p.step(0, waits)
        p.step(1, ["SET", key, "v"])
        batch = [[str(w).encode() for w in command] for command in (words, ["DEL", key])]
        for side in p.sides():
            side.clients[1].send(batch[:1])
            if side.read(1, 1) != [b":2\r\n"]:
                raise Difference(f"{words} is refused")
        if p.redis.blocked() != {"c0"}:
            raise Difference(f"{words}: redis has not forgotten who waits")
        got = p.other.read(0, 1)
        p.redis.clients[1].send(batch[::-1])
        if p.redis.read(1, 2) != [b":1\r\n", b":2\r\n"] or p.redis.read(0, 1) != got:
            raise Difference(f"{words}: pollux {got}")
        p.step(2, ["DEL", key])


SCRIPTED = [order, several_keys, chains, moved_to_wrong_type, timeouts, pipelined, unblock, gone, becomes_ready,
            wrong_types, replaced_by_a_result]


# --- random ----------------------------------------------------------------------------------------


class Draw:
    def __init__(self, seed, pair):
        self.random = random.Random(seed)
        self.n = 0
        # On several cores the ends of a chain of moves are served while its middle goes on. So that only
        # one outcome is right there, either nothing is moved by those who wait, or one element at a time
        # travels and nobody waits in two places.
        self.single = pair.cores > 1 and seed % 2 == 0
        left_out = set()
        if self.single:
            left_out = {"RENAME", "COPY", "SORT", "BLMPOP", "ZRANGESTORE", "ZUNIONSTORE"}
        elif pair.cores > 1:
            left_out = {"BLMOVE", "BRPOPLPUSH"}
        # Redis forgets those who wait when these replace a value of another type (replaced_by_a_result).
        left_out |= {"SET"} if seed % 3 else {"SORT", "ZRANGESTORE", "ZUNIONSTORE"}
        self.makers = [(weight, make) for weight, name, make in self.all_makers()
                       if name not in left_out]

    def all_makers(self):
        side = lambda: self.random.choice(("LEFT", "RIGHT"))
        key = self.random.choice
        some = lambda keys: self.random.sample(keys, 1 if self.single else self.random.randint(1, len(keys)))
        group = ["GROUP", "g", "me"]
        return [
            (6, "BLPOP", lambda: ["BLPOP", *some(LISTS), self.wait()]),
            (6, "BRPOP", lambda: ["BRPOP", *some(LISTS), self.wait()]),
            (6, "BLMOVE", lambda: ["BLMOVE", key(LISTS), key(LISTS), side(), side(), self.wait()]),
            (3, "BRPOPLPUSH", lambda: ["BRPOPLPUSH", key(LISTS), key(LISTS), self.wait()]),
            (4, "BLMPOP", lambda: self.mpop("BLMPOP", some(LISTS), side())),
            (10, "RPUSH", lambda: ["RPUSH", key(LISTS), *self.values()]),
            (10, "LPUSH", lambda: ["LPUSH", key(LISTS), *self.values()]),
            (2, "LPOP", lambda: ["LPOP", key(LISTS)]),
            (3, "LMOVE", lambda: ["LMOVE", key(LISTS), key(LISTS), side(), side()]),
            (1, "SORT", lambda: ["SORT", key(LISTS), "ALPHA", "STORE", key(LISTS)]),
            (3, "RENAME", lambda: ["RENAME", key(LISTS), key(LISTS)]),
            (2, "COPY", lambda: ["COPY", key(LISTS), key(LISTS), "REPLACE"]),
            (2, "SET", lambda: ["SET", key(LISTS + ZSETS + STREAMS), "v"]),
            (4, "DEL", lambda: ["DEL", *some(LISTS + ZSETS + STREAMS)[:4]]),
            (1, "FLUSHALL", lambda: ["FLUSHALL"]),
            (4, "BZPOPMIN", lambda: ["BZPOPMIN", *some(ZSETS), self.wait()]),
            (4, "BZPOPMAX", lambda: ["BZPOPMAX", *some(ZSETS), self.wait()]),
            (4, "BZMPOP", lambda: self.mpop("BZMPOP", some(ZSETS), self.random.choice(("MIN", "MAX")))),
            (8, "ZADD", lambda: ["ZADD", key(ZSETS), *self.scores()]),
            (2, "ZRANGESTORE", lambda: ["ZRANGESTORE", key(ZSETS), key(ZSETS), 0, -1]),
            (2, "ZUNIONSTORE", lambda: ["ZUNIONSTORE", key(ZSETS), 2, key(ZSETS), key(ZSETS)]),
            (5, "XREAD", lambda: ["XREAD", "BLOCK", self.wait_ms(), "STREAMS", *STREAMS, "$", "$"]),
            (3, "XREADGROUP", lambda: ["XREADGROUP", *group, "BLOCK", self.wait_ms(), "STREAMS", key(STREAMS), ">"]),
            (3, "XGROUP", lambda: ["XGROUP", "CREATE", key(STREAMS), "g", "$", "MKSTREAM"]),
            (1, "XGROUP", lambda: ["XGROUP", "DESTROY", key(STREAMS), "g"]),
            (6, "XADD", lambda: ["XADD", key(STREAMS), self.next_id(), "f", self.n]),
            (2, "CLIENT", lambda: ["CLIENT", "UNBLOCK", f"id:{self.random.randrange(CLIENTS)}", *self.outcome()]),
            (1, "PING", lambda: ["PING"]),
        ]

    def wait(self):
        return self.random.choice((0, 0, 0, "0.01"))

    def wait_ms(self):
        return self.random.choice((0, 0, 0, 10))

    def mpop(self, name, keys, side):
        count = ["COUNT", self.random.randint(1, 4)] if self.random.random() < 0.5 else []
        return [name, self.wait(), len(keys), *keys, side, *count]

    def outcome(self):
        return self.random.choice(([], ["TIMEOUT"], ["ERROR"]))

    def next_id(self):
        self.n += 1
        return f"{self.n}-1"

    def values(self):
        names = []
        for _ in range(1 if self.single else self.random.randint(1, 3)):
            self.n += 1
            names.append(f"v{self.n}")
        return names

    def scores(self):
        words = []
        for value in self.values():
            words += [self.random.randint(0, 9), value]
        return words

    def command(self):
        weights = [weight for weight, _ in self.makers]
        return self.random.choices([make for _, make in self.makers], weights)[0]()


def is_timed(words):
    """Whether the command comes to an end by itself, after some time."""
    name = words[0]
    if name in ("XREAD", "XREADGROUP"):
        return words[words.index("BLOCK") + 1] != 0
    if name in ("BLMPOP", "BZMPOP"):
        return words[1] != 0
    return name.startswith("B") and words[-1] != 0


def play_random(p, seed, n):
    d = Draw(seed, p)
    protocols = [d.random.choice((2, 3)) for _ in range(CLIENTS)]
    p.start(protocols)
    for _ in range(n):
        waiting = p.redis.blocked()
        free = [i for i in range(CLIENTS) if f"c{i}" not in waiting]
        # Somebody must be there to end the waiting.
        if len(free) < 2 or d.random.random() < 0.03:
            p.disconnect(i := d.random.randrange(CLIENTS), protocols[i])
            continue
        batch = [d.command()]
        timed = is_timed(batch[0])
        # On several cores those who were served go on in no certain order.
        while p.cores == 1 and not timed and d.random.random() < 0.2:
            words = d.command()
            if not is_timed(words):
                batch.append(words)
        p.step(d.random.choice(free), *batch, timed=timed)
    p.compare()


# ---------------------------------------------------------------------------------------------------


def play_scripted(pair, scenario):
    pair.start()
    scenario(pair)
    pair.compare()


def main():
    parser = program.parser("commands that wait, on redis-server and on Pollux", rounds=(6, 60))
    parser.add_argument("--steps", type=int, default=200, help="of a random round")
    options = parser.parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        with program.started(options, cores, {"databases": DATABASES}) as servers:
            pair = Pair(cores, servers)
            tests = [(scenario.__name__, lambda s=scenario: play_scripted(pair, s)) for scenario in SCRIPTED]
            yield servers, tests + program.seeds(options, lambda seed: play_random(pair, seed, options.steps))

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
