#!/usr/bin/python3
"""Channels on redis-server 7.0.15 and on Pollux: the same scenarios, and the same random subscribing and publishing
by connections of both protocols. Every connection must hear the same messages.

usage: test_pubsub.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1] [--peer redis]

What differs on purpose: a message that a command (or a transaction) sends to its own client comes behind the
command's reply, never within it; and the order of names where a client leaves all of them is nobody's promise.
"""

import contextlib
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import pollux
import program
from program import Difference
from raw import Connection

CHANNELS = [b"a", b"b", b"news:{a}", b"", b"bin\x00\r\n\xff", b"long" + b"c" * 300, b"a*"]
PATTERNS = [b"*", b"a*", b"news:*", b"?", b"[ab]", b"", b"nothing", b"*\xff", b"\\a", b"*b*"]
PAYLOADS = [b"", b"x", b"hello world", b"\x00\r\n$3\r\n", b"y" * 1000, b"z" * 16383, b"w" * 16384, b"v" * 100000]
LEAVES = (b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE")

# Lists of (client, words); a client's protocol is its number modulo 2 plus 2.
SCENARIOS = {
    "one channel": "0 SUBSCRIBE a|2 PUBLISH a hello|2 PUBLISH b nobody|0 UNSUBSCRIBE a|2 PUBLISH a gone",
    "twice the same": "0 SUBSCRIBE a a|0 PSUBSCRIBE a* a*|2 PUBLISH a x|0 UNSUBSCRIBE a a|2 PUBLISH a y",
    "what a subscriber may ask": "0 SUBSCRIBE a|0 GET x|0 PING|0 PING hi|0 PING a b|0 SET|0 NOSUCH|0 CLIENT LIST|0 PUBLISH a x"
    "|0 SPUBLISH a x|0 PUBSUB CHANNELS|0 AUTH x|0 HELLO 3|0 MULTI|0 EXEC|0 EXEC x|0 UNSUBSCRIBE|0 GET x|0 PING hi",
    "sharded channels alone are a subscription": "0 SSUBSCRIBE a|0 GET x|0 UNSUBSCRIBE|0 PUNSUBSCRIBE|0 SUNSUBSCRIBE|0 GET x",
    "counts": "0 SUBSCRIBE a b|0 PSUBSCRIBE c|0 SSUBSCRIBE d e|0 UNSUBSCRIBE zz|0 SUNSUBSCRIBE zz d|0 PUNSUBSCRIBE c|0 UNSUBSCRIBE b a",
    "in RESP3 all is allowed": "1 SUBSCRIBE a|1 GET x|1 PING|1 PUBLISH b y|1 MULTI|1 PING|1 EXEC|1 UNSUBSCRIBE|1 UNSUBSCRIBE",
    "to itself": "1 SUBSCRIBE a|1 PSUBSCRIBE *|1 PUBLISH a me|1 SSUBSCRIBE a|1 SPUBLISH a me|1 RESET",
    "shards are names of their own": "0 SSUBSCRIBE a|1 SUBSCRIBE a|2 PUBLISH a x|2 SPUBLISH a y|3 PSUBSCRIBE *|2 SPUBLISH a z|2 PUBLISH a v",
    "RESET leaves": "0 SUBSCRIBE a|0 PSUBSCRIBE *|0 SSUBSCRIBE a|0 RESET|2 PUBLISH a x|2 SPUBLISH a x|0 GET x|2 PUBSUB NUMPAT",
    "RESP3 and back": "1 SUBSCRIBE a|1 HELLO 2 AUTH x y|1 GET x|1 RESET|1 GET x",
    "PUBSUB": "0 SUBSCRIBE a b|1 SUBSCRIBE a|1 PSUBSCRIBE a* b*|0 PSUBSCRIBE a*|0 SSUBSCRIBE s|2 PUBSUB CHANNELS|2 PUBSUB CHANNELS a"
    "|2 PUBSUB CHANNELS a b|2 PUBSUB NUMSUB|2 PUBSUB NUMSUB a b c a|2 PUBSUB NUMPAT|2 PUBSUB NUMPAT x|2 PUBSUB SHARDCHANNELS"
    "|2 PUBSUB SHARDCHANNELS x*|2 PUBSUB SHARDCHANNELS a b|2 PUBSUB SHARDNUMSUB s a|2 PUBSUB SHARDNUMSUB|2 PUBSUB NOSUCH|2 PUBSUB"
    "|2 pubsub channels a b",
    "wrong": "2 SUBSCRIBE|2 PSUBSCRIBE|2 SSUBSCRIBE|2 PUBLISH|2 PUBLISH a|2 PUBLISH a b c|2 SPUBLISH a|2 PUBSUB CHANNELS a b|2 PUBSUB HELP x",
    "in a transaction": "0 SUBSCRIBE a|1 PSUBSCRIBE *|2 MULTI|2 SET k v|2 PUBLISH a 1|2 INCR n|2 PUBLISH b 2|2 SPUBLISH a 3|2 PUBSUB NUMSUB a"
    "|2 GET k|2 EXEC|2 MULTI|2 PUBLISH a 4|2 EXEC|2 MULTI|2 PUBLISH a never|2 DISCARD|2 MULTI|2 PUBLISH a|2 PUBLISH a never|2 EXEC",
    "subscribing in a transaction": "0 MULTI|0 SUBSCRIBE a b|0 GET x|0 PSUBSCRIBE *|0 PING|0 EXEC|0 GET x|2 PUBLISH a x|0 UNSUBSCRIBE|0 PUNSUBSCRIBE|0 GET x"
    "|1 MULTI|1 SSUBSCRIBE a|1 GET x|1 SUNSUBSCRIBE|1 EXEC|1 GET x",
    "a refused transaction": "1 MULTI|1 SUBSCRIBE|1 SUBSCRIBE a|1 EXEC|1 PUBLISH a x",
    "CLIENT REPLY": "2 CLIENT REPLY SKIP;SUBSCRIBE a|2 PING|1 PUBLISH a x|2 CLIENT REPLY OFF;CLIENT REPLY ON|2 UNSUBSCRIBE|2 PING"
    "|1 CLIENT REPLY OFF;PING;SUBSCRIBE b;SET k v;PUBLISH b x;UNSUBSCRIBE;PING;CLIENT REPLY ON|1 GET k",
    "scripts": "0 SUBSCRIBE a|1 PSUBSCRIBE *|2 EVAL return(redis.call('PUBLISH','a','x')) 0|2 EVAL redis.call('SET','k','v');redis.call('PUBLISH','a','1');return(redis.call('PUBLISH','b','2')) 1 k"
    "|2 MULTI|2 EVAL return(redis.call('PUBLISH','a','y')) 0|2 PUBLISH a z|2 EXEC|2 EVAL return(redis.call('SUBSCRIBE','a')) 0",
    "COMMAND": "2 COMMAND GETKEYS SPUBLISH a b|2 COMMAND GETKEYS SUBSCRIBE a|2 COMMAND GETKEYS SSUBSCRIBE a b",
}  # fmt: skip


class Parted(Connection):
    """A connection that tells messages from replies."""

    def __init__(self, server, protocol):
        super().__init__(server.host, server.port)
        self.synced = 0
        self.in_multi = False
        if protocol == 3:
            self.call("HELLO", "3")

    def ask_sync(self):
        self.synced += 1
        self.send([[b"PING", b"sync%d" % self.synced]])

    def heard(self):
        """All replies until that of ask_sync."""
        token = b"sync%d" % self.synced
        got = []
        while True:
            reply = self.read()
            if reply in (b"$%d\r\n%s\r\n" % (len(token), token), b"*2\r\n$4\r\npong\r\n$%d\r\n%s\r\n" % (len(token), token)):
                return got
            got.append(reply)


def is_message(reply):
    return any(b"\r\n%s\r\n" % word in reply[:24] for word in (b"message", b"pmessage", b"smessage")) and reply[:1] in b"*>"


def settled(replies, leaves):
    """In an order that both servers must agree on: replies, then messages. Those of patterns that one message
    met, and names that were left at once, come in any order."""
    answers = [r for r in replies if not is_message(r)]
    messages = [r for r in replies if is_message(r)]
    if leaves and len(answers) > 1:
        lines = [r.rsplit(b"\r\n:", 1) for r in answers]
        answers = sorted(l[0] for l in lines) + sorted(l[-1] for l in lines)
    groups = []
    for message in messages:
        payload = message.split(b"\r\n", 1)[1] if b"\r\npmessage\r\n" not in message[:24] else None
        if payload is None and groups and isinstance(groups[-1], list):
            groups[-1].append(message)
        else:
            groups.append([message] if payload is None else message)
    return answers, [sorted(g) if isinstance(g, list) else g for g in groups]


def names_sorted(reply):
    parts = reply.split(b"\r\n")
    return parts[0], sorted(parts[1:])


def short(heard):
    return re.sub(r"(.)\1{20,}", r"\1…", str(heard))[:1500]


class Players:
    def __init__(self, servers, n, protocol=lambda i: 2 + i % 2):
        self.pairs = [[Parted(server, protocol(i)) for server in servers] for i in range(n)]
        for connection in self.pairs[-1]:
            connection.call("FLUSHALL")

    def step(self, client, commands, text):
        """One client sends, then every connection is compared."""
        for side in range(2):
            self.pairs[client][side].send(commands)
            # What it sent must be done before others are asked.
            opens = commands[-1][0].upper() == b"MULTI"
            ends = commands[-1][0].upper() in (b"EXEC", b"DISCARD", b"RESET")
            me = self.pairs[client][side]
            me.in_multi = (me.in_multi or opens) and not ends
            first = None
            if me.in_multi:
                first = [me.read()]
            else:
                me.ask_sync()
                first = me.heard()
            heard = [first if i == client else None for i in range(len(self.pairs))]
            for i, pair in enumerate(self.pairs):
                if i != client and not pair[side].in_multi:
                    pair[side].ask_sync()
            for i, pair in enumerate(self.pairs):
                if i != client and not pair[side].in_multi:
                    heard[i] = pair[side].heard()
            if side == 0:
                redis = heard
        leaves = commands[0][0].upper() in LEAVES and len(commands[0]) == 1
        for i, (a, b) in enumerate(zip(redis, heard)):
            if a == b or a is None:
                continue
            x, y = settled(a, leaves and i == client), settled(b, leaves and i == client)
            if x == y:
                continue
            if commands[0][0].upper() == b"PUBSUB" and len(a) == len(b) == 1 and names_sorted(a[0]) == names_sorted(b[0]):
                continue
            raise Difference(f"{text}: client {i} heard\n  redis:  {short(x)}\n  pollux: {short(y)}")

    def close(self):
        for pair in self.pairs:
            for connection in pair:
                connection.close()


def play_scenario(servers, text):
    players = Players(servers, 4)
    try:
        for step in text.split("|"):
            client, rest = step.split(" ", 1)
            players.step(int(client), [[w.encode() for w in words.split(" ")] for words in rest.split(";")], step)
    finally:
        players.close()


def play_gone(servers):
    """Subscriptions end with their client."""
    for side, server in enumerate(servers):
        watcher, leaver = Parted(server, 2), Parted(server, 3)
        for words in (("SUBSCRIBE", "gone"), ("PSUBSCRIBE", "gone*"), ("SSUBSCRIBE", "gone")):
            leaver.call(*words)
        if watcher.call("PUBLISH", "gone", "x") != 2 or watcher.call("SPUBLISH", "gone", "x") != 1:
            raise Difference(f"side {side}: the subscriber is not counted")
        leaver.close()
        pollux.wait_for(lambda w=watcher: w.call("PUBSUB", "NUMSUB", "gone") == [b"gone", 0], "the end of a subscriber")
        rest = [watcher.call(*w) for w in (("PUBSUB", "NUMPAT"), ("PUBSUB", "SHARDCHANNELS"), ("PUBLISH", "gone", "x"))]
        if rest != [0, [], 0]:
            raise Difference(f"side {side}: left behind: {rest}")
        watcher.close()


def play_pipelined(servers):
    """Messages of one publisher keep their order, and come before what it publishes by others' subscriptions."""
    sent = [b"m%d" % i for i in range(2000)]
    for server in servers:
        listeners = [Parted(server, 2 + i % 2) for i in range(6)]
        for listener in listeners:
            listener.call("SUBSCRIBE", "p")
        publisher = Parted(server, 2)
        publisher.send([[b"PUBLISH", b"p", text] for text in sent])
        for _ in sent:
            if publisher.read() != b":6\r\n":
                raise Difference("a message did not go to all")
        for listener in listeners:
            heard = [listener.read().split(b"\r\n")[-2] for _ in sent]
            if heard != sent:
                raise Difference(f"out of order: {[h for h, s in zip(heard, sent) if h != s][:5]}")
        for connection in listeners + [publisher]:
            connection.close()


def play_cause(servers):
    """Who hears of a change finds it made."""
    for server in servers:
        listeners = [Parted(server, 2) for _ in range(4)]
        readers = [Parted(server, 2) for _ in range(4)]
        publisher = Parted(server, 2)
        for listener in listeners:
            listener.call("SUBSCRIBE", "made")
        for i in range(200):
            publisher.send([[b"SET", b"made:%d" % i, b"v"], [b"PUBLISH", b"made", b"made:%d" % i]])
            for listener, reader in zip(listeners, readers):
                key = listener.read().split(b"\r\n")[-2]
                if reader.call("GET", key) != b"v":
                    raise Difference(f"{key} is told of and not there")
            publisher.read(), publisher.read()
        for connection in listeners + readers + [publisher]:
            connection.close()


def draw_step(rng, n):
    """Client and commands; the last client never subscribes, and is the only one with transactions."""
    client = rng.randrange(n)
    names = lambda pool: rng.sample(pool, rng.randint(1, 3))
    roll = rng.random()
    if client == n - 1 or roll < 0.35:
        publishes = [
            [rng.choice((b"PUBLISH", b"PUBLISH", b"SPUBLISH")), rng.choice(CHANNELS), rng.choice(PAYLOADS)]
            for _ in range(rng.randint(1, 4))
        ]
        if client == n - 1 and rng.random() < 0.4:
            within = [p if rng.random() < 0.7 else [b"SET", rng.choice((b"k", b"l")), b"v"] for p in publishes]
            return client, [[b"MULTI"], *within, [b"EXEC"]]
        return client, publishes
    if roll < 0.55:
        return client, [[b"SUBSCRIBE", *names(CHANNELS)]]
    if roll < 0.65:
        return client, [[b"PSUBSCRIBE", *names(PATTERNS)]]
    if roll < 0.72:
        return client, [[b"SSUBSCRIBE", *names(CHANNELS)]]
    if roll < 0.92:
        word, pool = rng.choice(((b"UNSUBSCRIBE", CHANNELS), (b"PUNSUBSCRIBE", PATTERNS), (b"SUNSUBSCRIBE", CHANNELS)))
        return client, [[word, *(names(pool) if rng.random() < 0.75 else [])]]
    if roll < 0.94:
        return client, [[b"RESET"]]
    about = rng.choice(([b"CHANNELS"], [b"CHANNELS", rng.choice(PATTERNS)], [b"NUMSUB", *names(CHANNELS)], [b"NUMPAT"],
                        [b"SHARDCHANNELS"], [b"SHARDNUMSUB", *names(CHANNELS)]))  # fmt: skip
    return client, [[b"PUBSUB", *about]]


def play_round(servers, seed, n):
    rng = random.Random(seed)
    players = Players(servers, 7)
    try:
        for number in range(n):
            client, commands = draw_step(rng, 7)
            text = b"; ".join(b" ".join(w[:30] for w in words) for words in commands)
            players.step(client, commands, f"step {number}, client {client}: {text}")
            if commands == [[b"RESET"]] and client % 2:
                players.step(client, [[b"HELLO", b"3", b"SETNAME", b"x", b"WRONG"]], "HELLO")
                for connection in players.pairs[client]:
                    connection.call("HELLO", "3")
    finally:
        players.close()


def main():
    options = program.parser("channels on redis-server and on Pollux", rounds=(2, 60), commands=250).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        with program.started(options, cores) as servers:
            tests = [(f"scenario {name!r}", lambda t=text: play_scenario(servers, t)) for name, text in SCENARIOS.items()]
            tests += [("subscribers that go", lambda: play_gone(servers)), ("order", lambda: play_pipelined(servers)),
                      ("cause and word of it", lambda: play_cause(servers))]  # fmt: skip
            yield servers, tests + program.seeds(options, lambda seed: play_round(servers, seed, options.commands))

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
