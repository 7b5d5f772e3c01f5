#!/usr/bin/python3
"""Client-side caching on redis-server 7.0.15 and on Pollux: scenarios, each command that changes a key, and random
commands of several clients that are told of changes; what each client is told after each command must be the same.
On several cores what one command invalidates may come in another order. At last Pollux alone is loaded by clients
with caches, in which nothing stale may stay.

usage: test_tracking.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import itertools
import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import pollux
import program
from draw import KEYS
from program import Difference
from raw import Connection, Error, encode, parse
from rounds import Families, Servers, play_round, shown, shown_reply
from test_transactions import CHANGES, FAMILIES, TIME_WORDS, TIMED, split, words_of

CLIENTS = 4
PATIENCE_S = 10
# SWAPDB tells nobody in Redis, though keys change by it; here it is told as FLUSHDB is.
NOT_DRAWN = TIMED | {"SWAPDB"}

# A list of (client, words) each; @N stands for the id of client N, and a client with ! is not asked whether it was
# told anything, from then on until it sends something without. One with ~ waits, until its reply is read by =.
SCENARIOS = {
    "errors": "0 CLIENT TRACKING|0 CLIENT TRACKING x|0 CLIENT TRACKING ON REDIRECT|0 CLIENT TRACKING ON REDIRECT x|"
    "0 CLIENT TRACKING ON REDIRECT 999999|0 CLIENT TRACKING ON REDIRECT 0|0 CLIENT TRACKING ON REDIRECT -5|"
    "0 CLIENT TRACKING ON REDIRECT 999999 FOO|0 CLIENT TRACKING ON FOO REDIRECT 999999|0 CLIENT TRACKING ON PREFIX a|"
    "0 CLIENT TRACKING ON REDIRECT @1 REDIRECT @2|0 CLIENT TRACKING ON REDIRECT @1 FOO|0 CLIENT TRACKING x REDIRECT @1|"
    "0 CLIENT TRACKING OFF x|0 CLIENT TRACKING x FOO|0 CLIENT CACHING|0 CLIENT CACHING yes|0 CLIENT CACHING x|"
    "0 CLIENT GETREDIR|0 CLIENT GETREDIR x|0 CLIENT TRACKINGINFO x|0 CLIENT TRACKINGINFO|0 CLIENT TRACKING ON PREFIX",
    "options that do not agree": "0 CLIENT TRACKING ON BCAST OPTIN|0 CLIENT TRACKING ON BCAST OPTOUT|"
    "0 CLIENT TRACKING ON OPTIN OPTOUT|0 CLIENT TRACKING OFF BCAST OPTIN PREFIX a PREFIX ab|0 CLIENT TRACKING ON|"
    "0 CLIENT TRACKING ON BCAST|0 CLIENT TRACKING ON BCAST REDIRECT @1|0 CLIENT TRACKINGINFO|0 CLIENT TRACKING OFF|"
    "0 CLIENT TRACKING ON BCAST|0 CLIENT TRACKING ON|0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON OPTIN|"
    "0 CLIENT TRACKING ON OPTOUT|0 CLIENT TRACKINGINFO|0 CLIENT TRACKING ON NOLOOP|0 CLIENT TRACKINGINFO|"
    "0 CLIENT TRACKING ON OPTOUT|0 CLIENT TRACKINGINFO|0 CLIENT CACHING yes|0 CLIENT CACHING no|0 CLIENT TRACKINGINFO",
    "prefixes that overlap": "0 CLIENT TRACKING ON BCAST PREFIX a PREFIX ab|0 CLIENT TRACKINGINFO|"
    "0 CLIENT TRACKING ON BCAST PREFIX foo PREFIX bar|0 CLIENT TRACKING ON BCAST PREFIX fo|"
    "0 CLIENT TRACKING ON BCAST PREFIX fooo|0 CLIENT TRACKING ON BCAST PREFIX foo|0 CLIENT TRACKINGINFO|"
    "0 CLIENT TRACKING ON BCAST|0 CLIENT TRACKING ON BCAST|0 CLIENT TRACKINGINFO|1 SET foo 1|1 SET ba 1|"
    "0 CLIENT TRACKING OFF|0 CLIENT TRACKINGINFO|1 SET foo 1|0 CLIENT TRACKING ON BCAST PREFIX fo|1 SET foo 1",
    "a key once": "0 CLIENT TRACKING ON|0 GET k|1 SET k 1|1 SET k 2|0 GET k|0 GET k|1 SET k 1|0 CLIENT TRACKINGINFO",
    "its own changes": "0 CLIENT TRACKING ON|0 GET k|0 SET k 1|0 SET k 2|0 GET k|0 DEL k",
    "its own changes, not wanted": "0 CLIENT TRACKING ON NOLOOP|0 GET k|0 SET k 1|0 GET k|1 SET k 2|0 SET k 1",
    "many keys": "0 CLIENT TRACKING ON|0 MGET a b c a|1 MSET a 1 b 2 c 3|0 EXISTS a b|1 RENAME a b|0 MGET b c|1 DEL b c",
    "no keys": "0 CLIENT TRACKING ON|0 GET nosuch|1 SET nosuch 1|0 LLEN k|1 SET k 1|0 LLEN k|1 SET k 2",
    "nothing changed": "0 CLIENT TRACKING ON|0 GET k|1 DEL k|1 LPOP k|1 SADD s a|0 SCARD s|1 SADD s a|1 SREM s b|1 SREM s a",
    "databases": "0 CLIENT TRACKING ON|0 GET k|1 SELECT 1|1 SET k 1|0 GET k|1 FLUSHDB|1 SET k 2|1 SELECT 0|0 SELECT 1|0 GET k|"
    "1 SET k 3|0 SELECT 0",
    "what is read": "0 CLIENT TRACKING ON|0 TTL k|1 SET k 1|0 TYPE k|1 DEL k|0 STRLEN k|1 APPEND k x|0 OBJECT ENCODING k|1 SET k 2|"
    "0 TOUCH k|1 SET k 3|0 DUMP nosuch|1 SET nosuch 1|0 GETEX k|1 SET k 4|0 LRANGE l 0 -1|1 RPUSH l 1|0 SORT_RO l|1 LPOP l",
    "flushed": "0 CLIENT TRACKING ON|0 GET k|1 FLUSHALL|1 FLUSHDB|1 SET k 1|0 GET k|0 FLUSHALL|2 CLIENT TRACKING ON|2 GET k|1 FLUSHALL",
    "off": "0 CLIENT TRACKING ON|0 GET k|0 CLIENT TRACKING OFF|1 SET k 1|0 GET k|1 SET k 2|0 GET k|0 CLIENT TRACKING ON|1 SET k 1",
    "off and on": "0 CLIENT TRACKING ON|0 GET k|0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON|1 SET k 1",
    "reset": "0 CLIENT TRACKING ON BCAST PREFIX a|0 RESET|0 CLIENT TRACKINGINFO|0 HELLO 3|1 SET a 1",
    "to broadcast": "0 CLIENT TRACKING ON|0 GET k|0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON BCAST PREFIX a|1 SET k 1|1 SET a 1",
    "broadcast": "0 CLIENT TRACKING ON BCAST|1 SET a 1|1 SET b 1|1 DEL a b|1 MSET c 1 a 2 b 3|0 SET x 1|1 FLUSHALL|1 GET a|0 GET a",
    "prefixes": "0 CLIENT TRACKING ON BCAST PREFIX x PREFIX y|1 MSET y2 1 x2 1 y1 1 x1 1 z 1 y2 2|0 MSET y2 1 x2 1|"
    "3 CLIENT TRACKING ON BCAST PREFIX x1 PREFIX z|1 MSET z 1 x1 2 x2 2 y3 3 x 1 y 2|3 CLIENT TRACKING OFF|1 SET x1 1",
    "broadcast, not its own": "0 CLIENT TRACKING ON BCAST NOLOOP|0 SET a 1|1 SET a 2|0 MSET a 1 b 2|0 MULTI|0 SET a 1|0 EXEC",
    "OPTIN": "0 CLIENT TRACKING ON OPTIN|0 GET k|1 SET k 1|0 CLIENT CACHING YES|0 GET k|1 SET k 2|0 GET k|1 SET k 3|"
    "0 CLIENT CACHING YES|0 PING|0 GET k|1 SET k 4|0 CLIENT CACHING YES|0 CLIENT ID|0 GET k|1 SET k 5|"
    "0 CLIENT CACHING YES|0 FOO|0 GET k|1 SET k 6|0 CLIENT CACHING YES|0 GET|0 GET k|1 SET k 7|0 CLIENT TRACKINGINFO",
    "OPTOUT": "0 CLIENT TRACKING ON OPTOUT|0 GET k|1 SET k 1|0 CLIENT CACHING NO|0 GET k|1 SET k 2|0 GET k|1 SET k 3",
    "OPTIN for a transaction": "0 CLIENT TRACKING ON OPTIN|0 CLIENT CACHING YES|0 MULTI|0 GET k|0 GET j|0 EXEC|1 SET k 1|1 SET j 1|"
    "0 GET k|1 SET k 2|0 CLIENT TRACKINGINFO|0 CLIENT CACHING YES|0 MULTI|0 GET k|0 DISCARD|0 GET k|1 SET k 1",
    "OPTIN within one": "0 CLIENT TRACKING ON OPTIN|0 MULTI|0 CLIENT CACHING YES|0 GET k|0 EXEC|1 SET k 1|0 CLIENT TRACKINGINFO",
    "behind a transaction": "0 CLIENT TRACKING ON|0 GET k|0 MULTI|0 SET k 1|0 GET k|0 SET k 2|0 FLUSHALL|0 GET k|0 EXEC|1 SET k 3",
    "a transaction of many": "0 CLIENT TRACKING ON|0 MGET a b c d|1 MULTI|1 SET a 1|1 SET b 1|1 MSET c 1 d 1|1 SET a 2|1 EXEC|"
    "0 MULTI|0 MGET a b c d|0 SET d 5|0 GET d|0 EXEC|1 SET d 6|1 MSET a 1 b 2 c 3",
    "tracking in a transaction": "0 MULTI|0 CLIENT TRACKING ON|0 GET k|0 EXEC|1 SET k 1|0 MULTI|0 CLIENT TRACKING OFF|"
    "0 CLIENT TRACKING ON BCAST PREFIX k|0 CLIENT TRACKINGINFO|0 EXEC|1 SET k 2|1 SET j 1",
    "off behind changes, in one transaction": "0 CLIENT TRACKING ON REDIRECT @3|3 CLIENT TRACKING ON|0 MULTI|0 GET k|0 FLUSHDB|"
    "0 GET k|0 SET k 1|0 CLIENT TRACKING OFF|0 EXEC|1 SET k 2",
    "off behind changes, not redirected": "0 CLIENT TRACKING ON|0 GET k|0 MULTI|0 SET k 1|0 FLUSHALL|0 GET j|0 SET j 1|"
    "0 CLIENT TRACKING OFF|0 SET j 2|0 EXEC|1 SET k 2",
    "on behind changes": "0 MULTI|0 FLUSHDB|0 CLIENT TRACKING ON|0 GET k|0 SET k 1|0 GET k|0 CLIENT TRACKING ON NOLOOP|"
    "0 SET k 2|0 EXEC|1 SET k 3",
    "redirected elsewhere behind changes": "0 CLIENT TRACKING ON|0 MULTI|0 GET k|0 SET k 1|0 FLUSHDB|0 CLIENT TRACKING ON REDIRECT @3|"
    "0 GET j|0 SET j 1|0 EXEC|0 MULTI|0 GET k|0 SET k 1|0 CLIENT TRACKING ON|0 EXEC|0 MULTI|0 MGET j k|0 MSET k 1 j 2|"
    "0 CLIENT TRACKING ON REDIRECT @3|0 CLIENT TRACKING OFF|0 CLIENT GETREDIR|0 EXEC|0 CLIENT GETREDIR|1 MSET k 1 j 2",
    "the other way behind changes": "0 CLIENT TRACKING ON|0 MULTI|0 GET k|0 SET k 1|0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON BCAST|"
    "0 EXEC|0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON|0 MULTI|0 GET k|0 CLIENT TRACKING ON NOLOOP|0 SET k 1|"
    "0 CLIENT TRACKING ON|0 GET j|0 SET j 1|0 CLIENT TRACKING ON NOLOOP|0 EXEC|0 CLIENT TRACKINGINFO|1 SET k 2",
    "on again between what is read and changed": "|".join(
        f"{who} {step}" for who in (0, 3) for key in "abcd" for step in
        ("CLIENT TRACKING ON", "MULTI", f"GET {key}", "CLIENT TRACKING ON", f"SET {key} 1", "EXEC", "CLIENT TRACKING OFF")),
    "broadcast behind changes": "3 CLIENT TRACKING ON BCAST|0 MULTI|0 SET k 1|0 CLIENT TRACKING ON BCAST PREFIX k|0 SET k2 1|0 EXEC|"
    "0 MULTI|0 SET k 1|0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON BCAST PREFIX k|0 SET j 1|0 EXEC|1 SET k 2",
    "another protocol behind changes": "0 CLIENT TRACKING ON|0 MULTI|0 GET k|0 SET k 1|0 FLUSHDB|0 HELLO 2|0 EXEC|2 CLIENT TRACKING ON|"
    "2 MULTI|2 GET k|2 SET k 1|2 FLUSHDB|2 HELLO 3|2 EXEC",
    "redirected to nobody behind changes": "0 CLIENT TRACKING ON REDIRECT @4|4 QUIT|0 MULTI|0 GET k|0 SET k 1|0 CLIENT TRACKINGINFO|"
    "0 CLIENT TRACKING OFF|0 EXEC|0 CLIENT TRACKINGINFO|0 CLIENT TRACKING ON|0 CLIENT TRACKINGINFO",
    "redirected to one that changes": "3 CLIENT TRACKING ON REDIRECT @0|0 CLIENT TRACKING ON|3 MGET k j|0 MGET k j|0 MSET k 1 j 1|"
    "3 MGET k j|0 MGET k j|0 MULTI|0 SET k 1|0 SET j 1|0 FLUSHALL|0 CLIENT TRACKING OFF|0 EXEC",
    "redirected": "0 CLIENT TRACKING ON REDIRECT @3|0 CLIENT GETREDIR|0 CLIENT TRACKINGINFO|0 GET k|1 SET k 1|0 GET k|3 SET k 2|"
    "0 GET k|0 SET k 3|1 FLUSHALL|0 CLIENT TRACKING ON|0 GET k|1 SET k 1|0 CLIENT GETREDIR",
    "redirected to the older protocol": "0 CLIENT TRACKING ON REDIRECT @2|0 GET k|1 SET k 1|2 SUBSCRIBE q|0 GET k|1 SET k 2|"
    "1 FLUSHALL|0 HELLO 2|1 FLUSHALL|0 GET k|1 SET k 3|2 PUNSUBSCRIBE|2 UNSUBSCRIBE|0 GET k|1 SET k 1",
    "redirected from the older protocol": "2 CLIENT TRACKING ON REDIRECT @0|2 GET k|1 SET k 1|1 FLUSHALL|2 CLIENT TRACKING OFF",
    "redirected, broadcast": "0 CLIENT TRACKING ON BCAST REDIRECT @3|1 MSET a 1 b 2|3 SET a 1|0 SET a 2|1 FLUSHALL",
    "redirected to itself": "0 CLIENT TRACKING ON REDIRECT @0|0 GET k|1 SET k 1|0 GET k|0 SET k 1",
    "redirected to nobody": "0 CLIENT TRACKING ON REDIRECT @4|0 GET k|4 QUIT|1 SET k 1|0 CLIENT TRACKINGINFO|0 GET k|1 SET k 2|1 FLUSHALL|"
    "0 CLIENT GETREDIR|0 CLIENT TRACKING ON|0 CLIENT TRACKINGINFO|0 GET k|1 SET k 1",
    "the older protocol hears nothing": "2 CLIENT TRACKING ON|2 GET k|1 SET k 1|2 CLIENT TRACKINGINFO",
    "no replies": "0 CLIENT TRACKING ON|0 GET k|0! CLIENT REPLY OFF|1 SET k 1|0! GET k|1 SET k 2|0 CLIENT REPLY ON",
    "served": "0 CLIENT TRACKING ON|0 LLEN l|1 RPUSH l a|0 LLEN l|0 BLPOP l 1|1 RPUSH l b|0 LLEN l|1 LMOVE l m LEFT LEFT",
    "served when it has waited": "0 CLIENT TRACKING ON|0 LLEN l|0~ BLPOP l 0|1 RPUSH l a b|0= the reply|0 LLEN l|1 LPOP l|"
    "0~ XREAD BLOCK 0 STREAMS s $|1 XADD s 1-1 a b|0= the reply|1 XADD s 2-2 a b",
    "served, and broadcast": "0 CLIENT TRACKING ON BCAST NOLOOP|0~ BLMOVE l m LEFT LEFT 0|1 RPUSH l a b|0= the reply|0 LLEN l|1 LPOP m",
    "OPTIN and OPTOUT, scripts": "0 CLIENT TRACKING ON OPTIN|0 CLIENT CACHING YES|"
    "0 EVAL return(redis.call('get',KEYS[1])) 2 a b|0 EVAL return(redis.call('get',KEYS[1])) 1 c|1 MSET a 1 b 1 c 1|"
    "0 CLIENT CACHING YES|0 MULTI|0 EVAL return(redis.call('get',KEYS[1])) 1 a|0 GET b|0 EXEC|0 GET c|1 MSET a 1 b 1 c 1|"
    "0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON OPTOUT|0 MULTI|0 GET a|0 CLIENT CACHING NO|0 GET b|"
    "0 EVAL return(redis.call('get',KEYS[1])) 1 c|0 EXEC|0 GET d|1 MSET a 1 b 1 c 1 d 1",
    "CACHING is for the next": "0 CLIENT TRACKING ON OPTIN|0 MULTI|0 GET a|0 CLIENT CACHING YES|0 GET b|0 GET c|0 EXEC|0 GET d|"
    "1 MSET a 1 b 1 c 1 d 1|0 CLIENT CACHING YES|0 CLIENT TRACKING ON|0 GET a|1 SET a 1|0 CLIENT CACHING YES|"
    "0 CLIENT NO-EVICT ON|0 GET a|1 SET a 1|0 CLIENT CACHING YES|0 WATCH a|0 GET a|1 SET a 1",
    "the other protocol meanwhile": "0 CLIENT TRACKING ON|0 GET k|0 HELLO 2|1 SET k 1|0 HELLO 3|0 GET k|1 SET k 2|0 GET k|0 RESET|0 HELLO 3|"
    "1 SET k 1|0 CLIENT TRACKING ON|1 SET k 2|3 CLIENT TRACKING ON REDIRECT @0|3 GET k|0 HELLO 2|1 SET k 1|3 GET k|"
    "0 SUBSCRIBE q|1 SET k 1|1 FLUSHALL",
    "its time is over": "0 CLIENT TRACKING ON|1 SET k 1 PX 20|0 GET k|1 DEBUG SLEEP 0.05|1 GET k|0 GET k|1 SET k 1",
    "its time is over, seen by itself": "0 CLIENT TRACKING ON NOLOOP|1 SET k 1|0 GET k|0 PEXPIRE k -1|0 GET k|1 SET k 2",
    "scripts": "0 CLIENT TRACKING ON|0 EVAL return(redis.call('get','k')) 2 k j|1 MSET k 1 j 2|0 EVAL return(1) 2 k j|1 MSET k 1 j 2|"
    "0 EVAL_RO return(redis.call('get',KEYS[2])) 2 k j|1 SET k 1|1 SET j 2|0 EVAL return(redis.call('set',KEYS[1],1)) 1 k|0 SET k 1|"
    "0 GET k|0 EVAL return(redis.call('set',KEYS[1],redis.call('get',KEYS[1]))) 1 k|1 SET k 9",
    "scripts, not its own": "0 CLIENT TRACKING ON NOLOOP|0 GET k|0 EVAL return(redis.call('set',KEYS[1],1)) 1 k|0 GET k|"
    "0 EVAL return(redis.call('flushall')) 0|0 CLIENT TRACKING OFF|0 CLIENT TRACKING ON BCAST NOLOOP|0 SET k 1|"
    "0 EVAL return(redis.call('set',KEYS[1],1)) 1 k|0 MULTI|0 SET j 1|0 EVAL return(redis.call('set',KEYS[1],1)) 1 k|0 EXEC|"
    "0 EVAL return(redis.call('pexpire',KEYS[1],-1)) 1 k",
    "what expires is broadcast": "0 CLIENT TRACKING ON BCAST NOLOOP|1 SET k 1|1 PEXPIRE k -1|0 SET k 1|0 PEXPIRE k -1",
}  # fmt: skip


def blank_ids(reply, ids):
    for n, number in enumerate(ids):
        reply = reply.replace(b":%d\r\n" % number, b":@%d\r\n" % n)
    return reply


class Listener:
    """A client of one server: replies apart from what it is told."""

    def __init__(self, server, protocol):
        self.connection = Connection(server.host, server.port)
        self.connection.call("HELLO", protocol)
        self.id = self.connection.call("CLIENT", "ID")
        self.subscribed = self.silent = self.closed = False
        self.told = []

    def is_told(self, reply):
        return reply.startswith((b">2\r\n$10\r\ninvalidate", b">2\r\n$21\r\ntracking-redir-broken",
                                 b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate"))  # fmt: skip

    def read(self):
        while True:
            reply = self.connection.read()
            if not self.is_told(reply):
                return self.without_told(reply) if b"invalidate" in reply and reply[:1] == b"*" else reply
            self.told.append(reply)

    def without_told(self, reply):
        """Redis writes what another client redirects to one that is in EXEC between the replies of that."""
        parts, kept = split(reply), []
        n = len(parts)
        while len(kept) < n:
            part = parts.pop(0) if parts else self.connection.read()
            (self.told if self.is_told(part) else kept).append(part)
        return b"*%d\r\n" % n + b"".join(kept)

    def call(self, words):
        self.connection.send([words])
        return self.read()

    def answer(self):
        """To what waited until now."""
        self.silent = False
        return self.read()

    def ask(self):
        """All that was told before now is in `told` when this returns."""
        if not self.silent and not self.closed:
            self.call([b"PING"] if self.subscribed else [b"CLIENT", b"ID"])

    def take(self):
        told, self.told = self.told, []
        return told


def plain(told, ids, ordered, once):
    """What a client was told, for comparing: key by key where the order means nothing."""
    if ordered:
        # Those who redirect to one client have no order among each other where all of them forget all.
        return [message for all_keys, run in itertools.groupby(told, lambda message: parse(message)[-1] is None)
                for message in (sorted if all_keys else list)(blank_ids(m, ids) for m in run)]  # fmt: skip
    keys, others = [], []
    for message in told:
        what = parse(message)[-1]
        if isinstance(what, list):
            keys += what
        else:
            others.append(blank_ids(message, ids))
    return sorted(set(keys) if once else keys) + sorted(others)


class Pairs:
    """Clients of both servers, side by side, and what they are told."""

    def __init__(self, servers, ordered, protocols=(3, 2, 2, 3, 3)):
        self.ordered = ordered
        self.pairs = [[Listener(server, protocol) for server in servers] for protocol in protocols]
        self.ids = [[pair[side].id for pair in self.pairs] for side in range(len(servers))]

    def send(self, client, words):
        """Replies of both."""
        pair = self.pairs[client]
        replies = []
        for side, listener in enumerate(pair):
            named = words[:2] == [b"CLIENT", b"TRACKING"]
            mine = [b"%d" % self.ids[side][int(w[1:])] if named and w[:1] == b"@" else w for w in words]
            if listener.silent:
                listener.connection.send([mine])
                replies.append(b"")
            else:
                reply = listener.call(mine)
                replies.append(blank_ids(reply, self.ids[side]) if words[0] in (b"CLIENT", b"EXEC") else reply)
        return replies

    def told(self, words):
        """Raises Difference unless all clients were told the same."""
        # On several cores EXEC may take several turns, each of which tells prefixes what changed in it.
        once = words[0] == b"EXEC"
        for client, pair in enumerate(self.pairs):
            for listener in pair:
                listener.ask()
            got = [listener.take() for listener in pair]

            def shown_told(got=got):
                return [plain(t, self.ids[side], self.ordered, once) for side, t in enumerate(got)]

            # A message may come from another core than the reply to the command that caused it.
            deadline = time.monotonic() + PATIENCE_S
            while len(set(map(repr, shown_told()))) > 1 and time.monotonic() < deadline and len(got[1]) <= len(got[0]):
                pair[1].ask()
                got[1] += pair[1].take()
            told = shown_told()
            if told[0] != told[1]:
                raise Difference(f"client {client} is told\n  redis:  {told[0]}\n  pollux: {told[1]}")

    def close(self):
        for pair in self.pairs:
            for listener in pair:
                listener.connection.close()


def compare_replies(step, replies, ordered):
    if replies[0] == replies[1]:
        return
    a, b = (parse(r) for r in replies)
    if not ordered and a == b and not isinstance(a, Error):
        return
    raise Difference(f"{step}\n  redis:  {shown_reply(replies[0])}\n  pollux: {shown_reply(replies[1])}")


def play_scenario(servers, text, ordered):
    pairs = Pairs(servers, ordered)
    try:
        pairs.send(3, [b"FLUSHALL"])
        for step in text.split("|"):
            who, line = step.split(" ", 1)
            client, words = int(who[0]), words_of(line)
            if who.endswith("="):
                compare_replies(step, [listener.answer() for listener in pairs.pairs[client]], ordered)
                continue
            if who.endswith("~"):
                for listener in pairs.pairs[client]:
                    listener.silent = True
            if line == "CLIENT REPLY OFF" or line == "CLIENT REPLY ON":
                for listener in pairs.pairs[client]:
                    listener.silent = line.endswith("OFF")
            replies = pairs.send(client, words)
            if who.endswith("~"):
                for other in pairs.pairs[1]:
                    pollux.wait_for(lambda o=other: b"blocked_clients:1\r" in o.call([b"INFO", b"clients"]), f"{step} that waits")
            if "HELLO" not in line and b"$7\r\nversion" not in replies[0]:
                compare_replies(step, replies, ordered)
            for listener in pairs.pairs[client]:
                if words[0].endswith(b"SUBSCRIBE"):
                    listener.subscribed = words[0] == b"SUBSCRIBE"
                listener.closed |= words == [b"QUIT"]
            try:
                pairs.told(words)
            except Difference as difference:
                raise Difference(f"after {step}: {difference}") from None
    finally:
        pairs.close()


def play_change(servers, line, ordered):
    """Whether a client that has read a key is told of it when another client did this."""
    *before, last = line.split(";")
    pairs = Pairs(servers, ordered)
    try:
        pairs.send(1, [b"FLUSHALL"])
        for step in before:
            pairs.send(1, words_of(step))
        pairs.send(0, words_of("CLIENT TRACKING ON"))
        pairs.send(0, [b"EXISTS", b"k", b"j"])
        pairs.send(3, words_of("CLIENT TRACKING ON BCAST"))
        compare_replies(last, pairs.send(1, words_of(last)), ordered)
        pairs.told(words_of(last))
    except Difference as difference:
        raise Difference(f"{line}: {difference}") from None
    finally:
        pairs.close()


def draw_tracking(d):
    kind = d.random.random()
    if kind < 0.15:
        return [b"CLIENT", b"TRACKING", b"OFF"]
    if kind < 0.45:
        return [b"CLIENT", b"CACHING", d.pick([b"YES", b"NO"])]
    if kind < 0.5:
        return [b"CLIENT", b"TRACKINGINFO"]
    words = [b"CLIENT", b"TRACKING", b"ON"]
    for word, share in ((b"BCAST", 0.4), (b"NOLOOP", 0.3), (b"OPTIN", 0.15), (b"OPTOUT", 0.15)):
        if d.chance(share):
            words.append(word)
    if b"BCAST" in words:
        for _ in range(d.random.randrange(3)):
            words += [b"PREFIX", d.pick(KEYS)[: d.random.randrange(1, 4)]]
    if d.chance(0.25):
        words += [b"REDIRECT", b"@%d" % d.random.randrange(CLIENTS)]
    return words


# Calls that may fail do so in the same way, whatever is there.
SCRIPTS = (
    (b"EVAL", b"redis.pcall('get',KEYS[1]) redis.pcall('set',KEYS[2],'v') return 1"),
    (b"EVAL", b"redis.pcall('set',KEYS[1],'v') redis.pcall('strlen',KEYS[1]) redis.pcall('del',KEYS[2]) return 2"),
    (b"EVAL", b"redis.pcall('type',KEYS[1]) redis.pcall('flushdb') redis.pcall('exists',KEYS[2]) return 3"),
    (b"EVAL_RO", b"redis.pcall('exists',KEYS[1]) redis.pcall('set',KEYS[2],'v') return 4"),
)  # fmt: skip


def draw_beside(d):
    """What else bears on who is told."""
    kind = d.random.randrange(5)
    if kind == 0:
        return [b"RESET"]
    if kind == 1:
        return [b"HELLO", d.pick([b"2", b"3"])]
    if kind == 2:
        return [b"CLIENT", b"NO-EVICT", d.pick([b"ON", b"OFF"])]
    command, script = d.pick(SCRIPTS)
    return [command, script, b"2", d.pick(KEYS), d.pick(KEYS)]


class Tracked(Families):
    """Random commands of clients that track, some of them in transactions."""

    def __init__(self):
        super().__init__(FAMILIES)
        self.limits = {}
        self.commands = [entry for entry in self.commands if entry[0] not in NOT_DRAWN]

    def draw(self, d, n):
        drawn = []
        for connection, words in super().draw(d, n):
            if words[0].decode(errors="replace").upper() in NOT_DRAWN or TIME_WORDS & {w.upper() for w in words}:
                continue
            connection = d.random.randrange(CLIENTS)
            drawn.append((connection, words))
            if d.chance(0.08):
                drawn.append((d.random.randrange(CLIENTS), draw_tracking(d)))
            if d.chance(0.03):
                drawn.append((connection, [d.pick([b"MULTI", b"EXEC", b"EXEC", b"DISCARD"])]))
            if d.chance(0.04):
                drawn.append((d.random.randrange(CLIENTS), draw_beside(d)))
        return drawn


class Told(Servers):
    def __init__(self, cores, peer):
        super().__init__(cores, peer)
        self.ordered = cores == "0"

    def play(self, families, commands):
        pairs = Pairs(self.servers, self.ordered, (3, 3, 2, 3))
        at = 0
        try:
            pairs.send(0, [b"FLUSHALL"])
            for at, (client, words) in enumerate(commands):
                replies = pairs.send(client, words)
                if words[0] not in (b"EXEC", b"HELLO"):
                    families.check(words, *replies)
                pairs.told(words)
        except Difference as difference:
            raise Difference(f"{shown(commands[at][1])} of client {commands[at][0]}: {difference}", at) from None
        finally:
            pairs.close()


# --- caches --------------------------------------------------------------------------------------

CACHED_KEYS = [b"cached:%d" % i for i in range(40)]


class Cache:
    """A client that keeps what it reads until it is told, and never asks for what it has."""

    def __init__(self, server, options, seed):
        self.connection = Connection(server.host, server.port)
        self.connection.call("HELLO", 3)
        assert self.connection.call("CLIENT", "TRACKING", "ON", *options) == b"OK"
        self.random = random.Random(seed)
        self.values = {}
        self.asked = []

    def handle(self, reply):
        if reply[:1] == b">":
            keys = parse(reply)[1]
            for key in self.values.copy() if keys is None else keys:
                self.values.pop(key, None)
            return
        key = self.asked.pop(0)
        if key is not None:
            self.values[key] = parse(reply)

    def run(self, rounds):
        for _ in range(rounds):
            commands = []
            for _ in range(self.random.randint(1, 16)):
                key = self.random.choice(CACHED_KEYS)
                if self.random.random() < 0.7:
                    if key in self.values:
                        continue
                    commands.append([b"GET", key])
                    self.asked.append(key)
                elif self.random.random() < 0.8:
                    commands.append([b"SET", key, b"%d" % self.random.getrandbits(40)])
                    self.asked.append(None)
                else:
                    others = self.random.sample(CACHED_KEYS, 2)
                    commands.append([b"MSET", key, b"x%d" % self.random.getrandbits(40), others[0], b"y", others[1], b"z"])
                    self.asked.append(None)
            self.connection.socket.sendall(b"".join(map(encode, commands)))
            while self.asked:
                self.handle(self.connection.read())

    def settle(self):
        self.asked.append(None)
        self.connection.send([[b"PING"]])
        while self.asked:
            self.handle(self.connection.read())


def play_caches(server, rounds):
    """After much reading and writing at once no cache holds anything stale."""
    options = [(), ("NOLOOP",), ("BCAST", "PREFIX", "cached:"), ("BCAST", "PREFIX", "cached:1", "PREFIX", "cached:2"), ()]
    caches = [Cache(server, option, seed) for seed, option in enumerate(options)]
    errors = []

    def run(cache):
        try:
            cache.run(rounds)
        except Exception as error:  # noqa: BLE001: told below
            errors.append(repr(error))

    threads = [threading.Thread(target=run, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    asks = Connection(server.host, server.port)
    actual = dict(zip(CACHED_KEYS, asks.call("MGET", *CACHED_KEYS)))
    for number, cache in enumerate(caches):
        if number == 1:
            continue  # it is not told of its own changes, and does not keep what it writes
        wanted = [key for key in CACHED_KEYS if options[number][:1] != ("BCAST",) or number == 2 or
                  key.startswith((b"cached:1", b"cached:2"))]  # fmt: skip

        def fresh(cache=cache, wanted=wanted):
            cache.settle()
            return all(cache.values.get(key, actual[key]) == actual[key] for key in wanted)

        pollux.wait_for(fresh, f"cache {number} ({options[number]}) without stale values", PATIENCE_S)
        cache.connection.close()
    caches[1].connection.close()
    asks.close()


# --- figures and bounds --------------------------------------------------------------------------


def figures(connection):
    text = connection.call("INFO", "everything").decode()
    return {k: int(v) for k, v in (line.split(":", 1) for line in text.splitlines() if line.startswith("tracking_"))}


def play_limit(server):
    """Keys above tracking-table-max-keys are invalidated early; counts come back to nothing."""
    asks, reads = (Connection(server.host, server.port) for _ in range(2))
    asks.call("FLUSHALL")
    reads.call("HELLO", 3)
    asks.call("CONFIG", "SET", "tracking-table-max-keys", 100)
    reads.call("CLIENT", "TRACKING", "ON")
    reads.send([[b"GET", b"limit:%d" % i] for i in range(1000)])
    got, invalidated = 0, set()

    def take():
        nonlocal got
        reply = reads.read()
        if reply[:1] == b">":
            invalidated.update(parse(reply)[1])
        else:
            got += 1

    while got < 1000:
        take()
    while len(invalidated) < 900:
        take()
    now = figures(asks)
    assert now["tracking_clients"] == 1 and now["tracking_total_keys"] == now["tracking_total_items"] == 100, now
    asks.call("CONFIG", "SET", "tracking-table-max-keys", 1000000)
    asks.call("FLUSHALL")
    now = figures(asks)
    assert now["tracking_total_keys"] == now["tracking_total_items"] == 0, now
    others = [Connection(server.host, server.port) for _ in range(4)]
    for i, c in enumerate(others):
        assert c.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", f"b{i % 2}") == b"OK"
    now = figures(asks)
    assert now["tracking_clients"] == 5 and now["tracking_total_prefixes"] == 3, now
    for c in others:
        c.close()
    reads.close()
    pollux.wait_for(lambda: figures(asks)["tracking_clients"] == 0, "clients that left are not counted")
    pollux.wait_for(lambda: figures(asks)["tracking_total_prefixes"] == 0, "prefixes of clients that left are not counted")
    asks.close()


def main():
    options = program.parser("client-side caching on redis-server and on Pollux", rounds=(2, 60), commands=450).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        servers, families = Told(cores, options.peer), Tracked()
        pair, ordered = servers.servers, servers.ordered
        for server in pair:  # for scenarios that wait
            connection = Connection(server.host, server.port)
            connection.call("CONFIG", "SET", "latency-tracking", "no")
            connection.close()
        tests = [(f"scenario {name!r}", lambda t=text: play_scenario(pair, t, ordered)) for name, text in SCENARIOS.items()]
        tests += [(f"changed: {line}", lambda l=line: play_change(pair, l, ordered))
                  for line in CHANGES.replace("\n", "|").split("|") if line]  # fmt: skip
        tests += program.seeds(options, lambda seed: play_round(servers, families, seed, options.commands))
        tests.append(("caches", lambda: play_caches(pair[1], 2000 if pollux.FULL else 150)))
        tests.append(("limit and figures", lambda: play_limit(pair[1])))
        yield pair, tests
        servers.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
