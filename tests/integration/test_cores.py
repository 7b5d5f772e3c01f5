"""What several cores must not show: one answer, as if there were one. Also run with one core."""

import random
import socket
import threading

import pytest

import pollux

pytestmark = pytest.mark.wires("socket")

ROUNDS = 2000 if pollux.FULL else 400


def together(*jobs):
    """Runs the jobs at once, each with a client of its own, and fails with the first failure."""
    failures = []

    def run(job, client):
        try:
            with client:
                job(client)
        except BaseException as failure:  # shown below
            failures.append(failure)

    clients = [pollux.Client(job.wire.connect()) for job in jobs]
    threads = [threading.Thread(target=run, args=pair) for pair in zip(jobs, clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Job:
    def __init__(self, wire, work, seed):
        self.wire, self.work, self.random = wire, work, random.Random(seed)

    def __call__(self, client):
        self.work(client, self.random)


def test_mset_and_mget_are_atomic(wire):
    keys = [f"atom:{i}" for i in range(8)]

    def write(client, rand):
        for _ in range(ROUNDS):
            value = rand.randrange(10**9)
            some = rand.sample(keys, len(keys))
            assert client.call("MSET", *(word for key in some for word in (key, value))) == b"+OK"

    def read(client, rand):
        for _ in range(ROUNDS):
            seen = set(client.call("MGET", *rand.sample(keys, len(keys))))
            assert len(seen) == 1, f"half of a write is seen: {seen}"

    with pollux.Client(wire.connect()) as client:
        client.call("MSET", *(word for key in keys for word in (key, 0)))
    together(*[Job(wire, write, i) for i in range(3)], *[Job(wire, read, 10 + i) for i in range(3)])


def test_renames_lose_nothing(wire):
    """Tokens move between names; their number never changes, whoever moves them."""
    tokens, names = 20, 60

    def move(client, rand):
        for _ in range(ROUNDS):
            a, b = rand.sample(range(names), 2)
            # Only to a name that is free, so that no token is overwritten.
            answer = client.call("RENAMENX", f"name:{a}", f"name:{b}")
            assert answer in (0, 1, b"-ERR no such key"), answer

    def count(client, rand):
        every = [f"name:{i}" for i in range(names)]
        for _ in range(ROUNDS // 4):
            rand.shuffle(every)
            assert client.call("EXISTS", *every) == tokens
            assert client.call("DBSIZE") == tokens
            found = client.call("KEYS", "name:*")
            assert len(found) == len(set(found)) == tokens

    with pollux.Client(wire.connect()) as client:
        for i in range(tokens):
            client.call("SET", f"name:{i}", f"token {i}")
    together(*[Job(wire, move, i) for i in range(4)], *[Job(wire, count, 10 + i) for i in range(2)])
    with pollux.Client(wire.connect()) as client:
        left = client.call("MGET", *(f"name:{i}" for i in range(names)))
        assert sorted(t for t in left if t is not None) == sorted(b"token %d" % i for i in range(tokens))


def test_pipelines_keep_their_order(wire):
    """In one pipeline each command sees what those before it did, wherever the keys live."""

    def work(client, rand):
        mine = rand.randrange(10**9)
        for step in range(ROUNDS // 20):
            sent, expected = [], []
            keys = [f"order:{mine}:{rand.randrange(5)}" for _ in range(4)]
            keys = list(dict.fromkeys(keys))
            for n in range(20):
                kind = rand.randrange(5)
                value = b"%d" % (step * 100 + n)
                if kind == 0:
                    sent.append(("MSET", *(word for key in keys for word in (key, value))))
                    expected.append(b"+OK")
                    sent.append(("GET", keys[0]))
                    expected.append(value)
                elif kind == 1:
                    sent.append(("SET", keys[-1], value))
                    expected.append(b"+OK")
                    sent.append(("MGET", keys[-1], keys[-1]))
                    expected.append([value, value])
                elif kind == 2:
                    sent.append(("DEL", *keys))
                    expected.append(None)  # any number
                    sent.append(("EXISTS", *keys))
                    expected.append(0)
                elif kind == 3:
                    sent.append(("SELECT", 1 + n % 3))
                    expected.append(b"+OK")
                else:
                    sent.append(("ECHO", value))
                    expected.append(value)
            for words in sent:
                client.send(*words)
            for words, want in zip(sent, expected):
                got = client.reply()
                assert want is None or got == want, (words, got, want)

    together(*[Job(wire, work, i) for i in range(6)])


def test_scan_while_slots_are_lent(wire):
    steady = {b"steady:%d" % i for i in range(500)}

    def disturb(client, rand):
        for _ in range(ROUNDS):
            some = [f"noise:{rand.randrange(300)}" for _ in range(5)]
            client.call("MSET", *(word for key in some for word in (key, 1)))
            client.call("DEL", *some)

    def scan(client, rand):
        for _ in range(max(3, ROUNDS // 100)):
            cursor, found = b"0", []
            while True:
                cursor, keys = client.call("SCAN", cursor, "MATCH", "steady:*", "COUNT", rand.randrange(1, 50))
                found += keys
                if cursor == b"0":
                    break
            assert len(found) == len(steady) and set(found) == steady
            assert set(client.call("KEYS", "steady:*")) == steady

    with pollux.Client(wire.connect()) as client:
        client.call("MSET", *(word for key in steady for word in (key, 1)))
    together(*[Job(wire, disturb, i) for i in range(3)], *[Job(wire, scan, 10 + i) for i in range(2)])


def test_flush_is_one_moment(wire):
    """After FLUSHALL nothing that was there before can be seen, on any core, by anyone who saw its reply."""

    def work(client, rand):
        for n in range(ROUNDS // 20):
            client.call("SET", f"flush:{rand.randrange(10**9)}", n)
            assert client.call("FLUSHALL") == b"+OK"
            # Others may have written since, but at most what they have under way: one key each.
            assert client.call("DBSIZE") <= 4

    together(*[Job(wire, work, i) for i in range(4)])


def test_clients_that_leave_in_the_middle(wire):
    """Replies under way to a client that has gone hurt nobody."""
    for n in range(100):
        client = pollux.Client(wire.connect())
        for i in range(50):
            client.send("MSET", f"gone:{i}", n, f"gone:{i + 1}", n)
            client.send("GET", f"gone:{i}")
            client.send("KEYS", "*")
        client.close(reset=n % 2 == 0)
    with pollux.Client(wire.connect()) as client:
        assert client.call("PING") == b"+PONG"


def test_clients_that_close_their_side(wire):
    """What they asked for is answered, on whatever core it is, before the connection ends."""
    with pollux.Client(wire.connect()) as client:
        client.call("MSET", "half:1", "x" * 1000, "half:2", "y" * 1000)
    for _ in range(30):
        with pollux.Client(wire.connect()) as client:
            client.sock.sendall((pollux.encode("GET", "half:1") + pollux.encode("GET", "half:2")) * 3)
            client.sock.shutdown(socket.SHUT_WR)
            assert len(client.rest()) == 6 * 1009
