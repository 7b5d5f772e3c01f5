"""Rounds of random commands, played by redis-server and by the server that is compared with it."""

import importlib
import time

import checks
import compare
import known
import payload
import pollux
from draw import KEYS, Draw
from program import Difference
from raw import Connection, Error, parse

DATABASES = 4
PIPELINE_MAX = 20
STATE_MILLISECONDS = compare.SECONDS * 1000
COPY = b"\xffcopy"
ALL_KEYS = KEYS + [b"other%d" % i for i in range(50)]
# What a value is, by type, for the comparison in the end: a command, whose replies count as the same by
# the same rules as elsewhere. A family adds its types in CONTENT.
CONTENT = {kind: lambda key: [b"DUMP", key] for kind in (b"list", b"set", b"zset", b"hash", b"stream")}
CONTENT[b"string"] = lambda key: [b"GET", key]


def shown(words, most=60):
    return " ".join(repr(w)[1:] if len(w) <= most else f"{w[:most]!r}…({len(w)})" for w in words)


def shown_reply(reply, most=300):
    return repr(reply) if len(reply) <= most else f"{reply[:most]!r}…({len(reply)} bytes)"


class Families:
    def __init__(self, names):
        self.commands, self.same, self.metadata = [], {"DUMP": payload.same}, []
        self.content, self.limits, self.before, self.unspoiled = dict(CONTENT), {}, {}, set()
        for name in names:
            family = importlib.import_module(f"family_{name}")
            # Two families may draw words for one command, each in its way.
            self.commands += [(command, *drawing) for command, drawing in family.COMMANDS.items()]
            self.same.update(family.SAME)
            self.metadata += family.METADATA
            self.content.update(getattr(family, "CONTENT", {}))
            self.limits.update(getattr(family, "LIMITS", {}))
            self.before.update(getattr(family, "BEFORE", {}))
            self.unspoiled.update(getattr(family, "UNSPOILED", ()))

    def draw(self, d, n):
        """`n` commands: the number of the connection, the words."""
        weights = [weight for _, weight, _ in self.commands]
        drawn = [(0, self.limit(d, name)) for name in self.limits]
        while len(drawn) < n:
            if self.limits and d.chance(0.005):
                drawn.append((0, self.limit(d, d.pick(list(self.limits)))))
            connection = d.random.randrange(len(Servers.PROTOCOLS))
            for name, _, rest in d.random.choices(self.commands, weights, k=d.random.randint(1, PIPELINE_MAX)):
                words = [d.case(name)] + rest(d)
                if self.unspoiled.isdisjoint([name, *words]):
                    words = d.spoil(words)
                if name == "DBSIZE":  # expired keys count until somebody looks at them
                    others = {w[1] for _, w in drawn if len(w) > 1} - set(ALL_KEYS)  # of spoilt commands
                    drawn.append((connection, [b"EXISTS"] + ALL_KEYS + sorted(others)))
                if name in self.before and len(words) > 1:
                    drawn += [(connection, before) for before in self.before[name](words[1])]
                drawn.append((connection, words))
        return drawn

    def limit(self, d, name):
        return [b"CONFIG", b"SET", name.encode(), b"%d" % d.pick(self.limits[name])]

    def check(self, words, redis, other):
        """Raises Difference unless both replies to a command count as the same."""
        if redis == other:
            return
        a, b = parse(redis), parse(other)
        name = words[0].decode().upper()
        same = self.same.get(name)
        if not same and len(words) > 1:
            same = self.same.get(f"{name} {words[1].decode(errors='replace').upper()}")
        if same and not isinstance(a, Error) and not isinstance(b, Error) and same(a, b):
            return
        if known.reason(words, a, b):
            return
        raise Difference(f"{shown(words)}\n  redis:  {shown_reply(redis)}\n  pollux: {shown_reply(other)}")


class Servers:
    """Redis and the server that is compared with it, and connections to both."""

    PROTOCOLS = (2, 3, 2)

    def __init__(self, cores, peer):
        options = {"databases": DATABASES}
        # Redis looks into payloads as deeply as Pollux always does.
        redis = {**options, "sanitize-dump-payload": "yes"}
        self.servers = [pollux.Redis(redis)]
        if peer == "redis":
            self.servers.append(pollux.Redis(redis))
        else:
            self.servers.append(pollux.Server({**options, "cores": cores}))
        self.pairs = []
        for server in self.servers:
            server.wait_ready()

    def connect(self):
        for connection in (c for pair in self.pairs for c in pair):
            connection.close()
        self.pairs = []
        for protocol in self.PROTOCOLS:
            pair = [Connection(server.host, server.port) for server in self.servers]
            for connection in pair:
                connection.call("HELLO", protocol)
            self.pairs.append(pair)
        checks.both(*self.pairs[0], "FLUSHALL")

    def play(self, families, commands):
        """Raises Difference, with the number of the command in `at`."""
        self.connect()
        start = 0
        while start < len(commands):
            connection = commands[start][0]
            end = start
            while end < len(commands) and commands[end][0] == connection and end - start < PIPELINE_MAX:
                end += 1
            batch = [words for _, words in commands[start:end]]
            pair = self.pairs[connection]
            for c in pair:
                c.send(batch)
            for i, words in enumerate(batch):
                redis = pair[0].read()
                try:
                    other = pair[1].read()
                    families.check(words, redis, other)
                except Difference as difference:
                    difference.at = start + i
                    raise
                except (EOFError, OSError, ValueError) as error:
                    text = f"{shown(words)}\n  redis:  {shown_reply(redis)}\n  pollux: {error}"
                    raise Difference(text, start + i) from None
            start = end
        self.compare_state(families)

    def compare_state(self, families):
        pair = self.pairs[0]
        for db in range(DATABASES):
            checks.both(*pair, "SELECT", db)
            keys = [sorted(c.call("KEYS", "*")) for c in pair]
            if keys[0] != keys[1]:
                raise Difference(f"keys of database {db}\n  redis:  {keys[0]}\n  pollux: {keys[1]}")
            for key in keys[0]:
                kind = checks.both(*pair, "TYPE", key)
                checks.both(*pair, "OBJECT", "ENCODING", key)
                words = families.content[bytes(kind)](key)
                for connection in pair:
                    connection.send([words])
                families.check(words, *(connection.read() for connection in pair))
                self.exchange(families, key, words)
                times = [c.call("PEXPIRETIME", key) for c in pair]
                if min(times) < 0 and times[0] != times[1] or abs(times[0] - times[1]) > STATE_MILLISECONDS:
                    raise Difference(f"PEXPIRETIME {key!r}: redis {times[0]}, pollux {times[1]}")

    def exchange(self, families, key, words):
        """Each server's DUMP of a key means the same, and makes the same value on the other one."""
        dumps = [c.call("DUMP", key) for c in self.pairs[0]]
        if not payload.same(*dumps, payload.meaning):
            raise Difference(f"DUMP {key!r}\n  redis:  {shown_reply(dumps[0])}\n  pollux: {shown_reply(dumps[1])}")
        copies = []
        for connection, dump in zip(self.pairs[0], reversed(dumps)):
            reply = connection.call("RESTORE", COPY, 0, dump, "REPLACE")
            if reply != b"OK":
                raise Difference(f"RESTORE of {key!r}: {reply!r} for {shown_reply(dump)}")
            kind = [connection.call(*w, COPY) for w in (["TYPE"], ["OBJECT", "ENCODING"])]
            connection.send([[COPY if word == key else word for word in words], [b"DEL", COPY]])
            copies.append((kind, connection.read()))
            connection.read()
        if copies[0][0] != copies[1][0]:
            raise Difference(f"{key!r} after RESTORE: redis {copies[0][0]}, pollux {copies[1][0]}")
        families.check(words, copies[0][1], copies[1][1])
        self.pairs[0][1].send([words])
        families.check(words, self.pairs[0][1].read(), copies[1][1])

    def alive(self):
        return all(server.alive() for server in self.servers)

    def close(self):
        for connection in (c for pair in self.pairs for c in pair):
            connection.close()
        for server in self.servers:
            server.close()


def shrink(servers, families, commands, patience_s=60):
    """Leaves out commands as long as there still is a difference."""
    deadline = time.monotonic() + patience_s
    step = max(1, len(commands) // 2)
    while time.monotonic() < deadline:
        start, shorter = 0, False
        while start < len(commands) and time.monotonic() < deadline and servers.alive():
            fewer = commands[:start] + commands[start + step :]
            try:
                servers.play(families, fewer)
                start += step
            except (Difference, AssertionError) as difference:
                at = getattr(difference, "at", None)
                commands = fewer if at is None else fewer[: at + 1]
                shorter = True
        if step == 1 and not shorter:
            break
        step = max(1, step // 2)
    return commands


def shown_step(step):
    connection, words = step
    return f"{connection}: {shown(words)}"


def play_round(servers, families, seed, n, patience_s=60, line=shown_step):
    """The round of a seed; what it takes to show a difference, as few steps as are found in time, is part of it."""
    steps = families.draw(Draw(seed), n)
    try:
        servers.play(families, steps)
    except (Difference, AssertionError) as difference:
        at = getattr(difference, "at", None)
        text = str(difference)
        if patience_s and servers.alive():
            fewer = shrink(servers, families, steps if at is None else steps[: at + 1], patience_s)
            text += f"\n  {len(fewer)} steps are enough:" + "".join(f"\n    {line(step)}" for step in fewer[-30:])
        raise Difference(text) from None
