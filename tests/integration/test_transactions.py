"""Transactions between clients that run at once, on one core and on several. What EXEC answers is compared with
Redis in tests/differential."""

import contextlib
import random
import socket

import pytest

import pollux
from test_cores import ROUNDS, Job, together

pytestmark = pytest.mark.wires("socket")


def exec_of(client, *commands):
    """What EXEC answers, all sent at once."""
    client.sock.sendall(b"".join(pollux.encode(*words) for words in [["MULTI"], *commands, ["EXEC"]]))
    replies = [client.reply() for _ in range(len(commands) + 2)]
    assert replies[:-1] == [b"+OK"] + [b"+QUEUED"] * len(commands)
    return replies[-1]


def test_sums_stay(wire):
    """Money moves between accounts on all cores; no reader sees some that is under way."""
    accounts = [f"account:{i}" for i in range(10)]

    def move(client, rand):
        for _ in range(ROUNDS // 2):
            a, b = rand.sample(accounts, 2)
            n = rand.randrange(100)
            replies = exec_of(client, ["DECRBY", a, n], ["ECHO", "x"], ["INCRBY", b, n])
            assert len(replies) == 3 and replies[1] == b"x"

    def look(client, rand):
        for _ in range(ROUNDS // 2):
            some = rand.sample(accounts, len(accounts))
            seen = exec_of(client, *(["GET", a] for a in some))
            assert sum(map(int, seen)) == 0, f"money is lost, or there twice: {seen}"

    with pollux.Client(wire.connect()) as client:
        client.call("MSET", *(word for a in accounts for word in (a, 0)))
    together(*[Job(wire, move, i) for i in range(4)], *[Job(wire, look, 10 + i) for i in range(2)])


def test_watching_makes_a_lock(wire):
    """Counters that are read, and written when nobody else has meanwhile."""
    counters = [f"counter:{i}" for i in range(6)]
    done = []

    def count(client, rand):
        for _ in range(ROUNDS // 2):
            some = rand.sample(counters, rand.randrange(1, 4))
            assert client.call("WATCH", *some) == b"+OK"
            values = [int(client.call("GET", c)) for c in some]
            if exec_of(client, *(["SET", c, v + 1] for c, v in zip(some, values))) is not None:
                done.append(len(some))

    def disturb(client, rand):
        for _ in range(ROUNDS // 4):
            other = f"other:{rand.randrange(50)}"
            client.call("SET", other, "x") if rand.random() < 0.5 else client.call("DEL", other)

    with pollux.Client(wire.connect()) as client:
        client.call("MSET", *(word for c in counters for word in (c, 0)))
        together(*[Job(wire, count, i) for i in range(4)], Job(wire, disturb, 9))
        assert sum(map(int, client.call("MGET", *counters))) == sum(done) > 0


def test_watched_keys_that_come_and_go(wire):
    """Watches end with UNWATCH, EXEC, DISCARD and the connection, whatever happens to the keys meanwhile."""
    keys = [f"w{i}" for i in range(40)]

    def watch(client, rand):
        for _ in range(ROUNDS // 2):
            client.call("WATCH", *rand.sample(keys, rand.randrange(1, 8)))
            end = rand.randrange(4)
            if end == 0:
                assert client.call("UNWATCH") == b"+OK"
            elif end == 1:
                exec_of(client, ["MSET", *(w for k in rand.sample(keys, 3) for w in (k, 1))])
            elif end == 2:
                assert [client.call("MULTI"), client.call("DISCARD")] == [b"+OK"] * 2
            else:
                with pollux.Client(wire.connect()) as other:
                    other.call("WATCH", *rand.sample(keys, 5))

    def change(client, rand):
        for _ in range(ROUNDS // 2):
            client.call(*rand.choice((["DEL", *rand.sample(keys, 3)], ["SET", rand.choice(keys), 1, "PX", 5],
                                      ["RENAME", *rand.sample(keys, 2)], ["FLUSHALL"])))

    together(*[Job(wire, watch, i) for i in range(4)], *[Job(wire, change, 10 + i) for i in range(2)])
    with pollux.Client(wire.connect()) as client:
        client.call("WATCH", *keys)
        assert exec_of(client, ["PING"]) == [b"+PONG"]


def test_commands_of_all_cores_inside(wire, client):
    """What runs on every core, on another thread or elsewhere comes back to its place."""
    client.call("FLUSHALL")
    words = [f"k{i}" for i in range(100)]
    replies = exec_of(
        client, ["MSET", *(w for k in words for w in (k, "v"))], ["DBSIZE"], ["KEYS", "*"], ["RANDOMKEY"], ["INFO", "server"],
        ["CONFIG", "SET", "hz", "20"], ["CONFIG", "REWRITE"], ["FLUSHALL"], ["DBSIZE"], ["SET", "a", "1"], ["KEYS", "*"])
    assert replies[:2] == [b"+OK", 100] and sorted(replies[2]) == sorted(w.encode() for w in words)
    assert replies[3] in replies[2] and b"redis_version" in replies[4]
    assert replies[5] == b"+OK" and replies[6].startswith(b"-ERR The server is running without a config file")
    assert replies[7:] == [b"+OK", 0, b"+OK", [b"a"]]


def test_scan_inside(wire, client):
    client.call("FLUSHALL")
    want = {f"k{i}".encode() for i in range(300)}
    client.call("MSET", *(w for k in want for w in (k, "v")))
    cursor, seen = b"0", set()
    while True:
        cursor, some = exec_of(client, ["INCR", "counter"], ["SCAN", cursor, "COUNT", 50])[1]
        seen |= set(some)
        if cursor == b"0":
            break
    assert seen - {b"counter"} == want


def test_migrate_inside(wire, client):
    redis = pollux.Redis({}).wait_ready()
    with contextlib.closing(redis):
        client.call("MSET", "m1", "1", "m2", "2")
        replies = exec_of(client, ["SET", "m3", "3"], ["MIGRATE", "127.0.0.1", redis.port, "", 0, 5000, "KEYS", "m1", "m2", "m3"],
                          ["EXISTS", "m1", "m2", "m3"], ["MIGRATE", "127.0.0.1", redis.port, "m1", 0, 5000], ["PING"])
        assert replies == [b"+OK", b"+OK", 0, b"+NOKEY", b"+PONG"]
        with pollux.Client(socket.create_connection((redis.host, redis.port))) as other:
            assert other.call("MGET", "m1", "m2", "m3") == [b"1", b"2", b"3"]


def test_what_fails_at_once_goes_on_at_once(wire, client):
    """What would have gone elsewhere and never left takes no room of the stack, and ends nothing twice."""
    client.call("SET", "stays", "1")
    for n, what, answer in ((50000, ["CONFIG", "SET", "hz", "no"], b"-ERR CONFIG SET failed"),
                            (500, ["MIGRATE", "127.0.0.1", 0, "stays", 0, 1000], b"-IOERR")):
        replies = exec_of(client, *[what] * n, ["GET", "stays"])
        assert len(replies) == n + 1 and replies[-1] == b"1"
        assert all(reply.startswith(answer) for reply in replies[:-1])


def test_databases_of_one_that_is_gone(wire, client):
    """A transaction that has begun goes on without its client, in the databases that it selects."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pollux.Client(wire.connect()) as other:
            other.call("CLIENT", "SETNAME", "leaver")
            other.sock.sendall(b"".join(pollux.encode(*words) for words in [
                ["MULTI"], ["SELECT", 1], ["SET", "gone:1", "x"],
                ["MIGRATE", "127.0.0.1", silent.getsockname()[1], "gone:1", 0, 500],
                ["SET", "gone:2", "x"], ["SELECT", 2], ["SET", "gone:3", "x"], ["EXEC"]]))
            silent.settimeout(pollux.PATIENCE_S)
            with silent.accept()[0]:  # it has begun
                other.close(reset=True)
                pollux.wait_for(lambda: b"leaver" not in client.call("CLIENT", "LIST"), "the client to be gone")
    try:
        client.call("SELECT", 2)
        pollux.wait_for(lambda: client.call("EXISTS", "gone:3") == 1, "the end of the transaction")
        client.call("SELECT", 1)
        assert client.call("EXISTS", "gone:1", "gone:2") == 2
        client.call("SELECT", 0)
        assert client.call("EXISTS", "gone:1", "gone:2", "gone:3") == 0
    finally:
        client.call("SELECT", 0)


def test_one_that_is_cut_off(wire, client):
    """Whoever leaves before EXEC has changed nothing; whoever leaves behind it, everything or nothing."""
    rand = random.Random(1)
    keys = [f"cut:{i}" for i in range(20)]
    client.call("DEL", *keys)
    for i in range(200):
        with pollux.Client(wire.connect()) as other:
            sent = b"".join(pollux.encode(*w) for w in
                            [["WATCH", *rand.sample(keys, 3)], ["MULTI"], *(["SET", k, i] for k in keys), ["EXEC"]])
            other.sock.sendall(sent[: rand.randrange(len(sent) + 1)])
            if rand.random() < 0.5:
                other.close(reset=True)
        assert len(set(client.call("MGET", *keys))) == 1


def test_what_is_kept_has_a_limit(wire):
    """client-query-buffer-limit counts it; the connection ends, and nothing was done."""
    with pollux.Client(wire.connect()) as client, pollux.Client(wire.connect()) as other:
        client.call("CONFIG", "SET", "client-query-buffer-limit", "1mb")
        try:
            other.call("MULTI")
            with contextlib.suppress(OSError, EOFError, AssertionError):
                for _ in range(200):
                    other.call("SET", "kept", "x" * 10000)
            assert client.call("GET", "kept") is None
            listed = client.call("CLIENT", "LIST")
            assert b"multi=" in listed and b"flags=x" not in listed
        finally:
            client.call("CONFIG", "SET", "client-query-buffer-limit", "1gb")


def test_client_list_shows_it(wire, client):
    with pollux.Client(wire.connect()) as other:
        other.call("CLIENT", "SETNAME", "keeper")
        other.call("WATCH", "shown")
        client.call("SET", "shown", "1")
        other.call("MULTI")
        other.call("SET", "a", "1")
        line = next(x for x in client.call("CLIENT", "LIST").split(b"\n") if b"name=keeper" in x)
        assert b" flags=xd " in line and b" multi=1 " in line and b" multi-mem=0 " not in line
        assert other.call("EXEC") is None


def test_many_that_left_hold_up_nobody(wire, client):
    """Each would wait for a server that never answers; who comes behind them does not wait for that: of those that
    were reset while the key was held, none begins. (Who has only closed its side may still read: it is known to be
    gone when a reply came back.)"""
    timeout_ms = 1000 * pollux.PATIENCE_S

    def leavers(more=b""):
        return [line for line in client.call("CLIENT", "LIST").split(b"\n") if b" name=leaver " in line and more in line]

    def migrations():
        text = client.call("INFO", "commandstats")
        return int(text.split(b"cmdstat_migrate:calls=")[1].split(b",")[0])

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent, pollux.Client(wire.connect()) as holder:
        port = silent.getsockname()[1]
        silent.settimeout(pollux.PATIENCE_S)
        client.call("CONFIG", "RESETSTAT")
        client.call("SET", "wanted", "x")
        migrate = ["MIGRATE", "127.0.0.1", port, "wanted", 0, timeout_ms, "COPY"]
        holder.sock.sendall(pollux.encode(*migrate))
        held = silent.accept()[0]
        left = [pollux.Client(wire.connect()) for _ in range(300)]
        for i, other in enumerate(left):
            other.call("CLIENT", "SETNAME", "leaver")
            other.sock.sendall(b"".join(pollux.encode(*words) for words in [
                ["WATCH", "wanted"], ["MULTI"], migrate, ["SET", "wanted", i], ["EXEC"]]))
        pollux.wait_for(lambda: len(leavers(b" cmd=watch ")) == len(left), "all to wait for the key")
        for other in left:
            other.close(reset=True)
        pollux.wait_for(lambda: not leavers(), "all to be gone")
        silent.close()  # nor does another attempt go on
        held.close()
        assert holder.reply().startswith(b"-IOERR")
        assert client.call("WATCH", "wanted") == b"+OK"
        assert migrations() == 1 and client.call("GET", "wanted") == b"x"
        assert client.call("UNWATCH") == b"+OK"
