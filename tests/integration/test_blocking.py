"""Clients that wait for keys, many at once, with the keys on several cores: no wake-up is lost, and every
element is given once."""

import random
import threading
import time

import pytest

import pollux

pytestmark = pytest.mark.wires("socket")

ELEMENTS = 20000 if pollux.FULL else 3000
QUEUES = [f"queue:{i}" for i in range(6)]
RELAYS = [f"relay:{i}" for i in range(4)]
NONE = (None, [None], b"")


class Crowd:
    """Threads with a client each, and what they were given."""

    def __init__(self, wire):
        self.wire = wire
        self.lock = threading.Lock()
        self.given = []
        self.failures = []
        self.over = False
        self.threads = []
        self.ids = []

    def start(self, work, seed):
        client = pollux.Client(self.wire.connect())
        self.ids.append(client.call("CLIENT", "ID"))

        def run():
            try:
                with client:
                    work(client, random.Random(seed))
            except BaseException as failure:  # shown by `finish`
                if not self.over:
                    self.failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)

    def take(self, element):
        with self.lock:
            self.given.append(element)

    def wait_for(self, n, what):
        deadline = time.monotonic() + pollux.PATIENCE_S
        while len(self.given) < n and not self.failures:
            before = len(self.given)
            time.sleep(0.01)  # between two looks
            if len(self.given) != before:
                deadline = time.monotonic() + pollux.PATIENCE_S
            assert time.monotonic() < deadline, f"{what}: {len(self.given)} of {n}"

    def finish(self):
        """Whoever still waits is closed."""
        self.over = True
        with pollux.Client(self.wire.connect()) as client:
            for number in self.ids:
                client.call("CLIENT", "KILL", "ID", number)
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]


def needs_lists(client):
    if client.call("COMMAND", "INFO", "blmove")[0] in NONE:
        pytest.skip("the server has no lists")


def pushed(client):
    """Pushes all elements, some at a time, and returns them."""
    rand, elements, at = random.Random(1), [b"%d" % i for i in range(ELEMENTS)], 0
    while at < ELEMENTS:
        some = elements[at : at + rand.randint(1, 4)]
        client.call(rand.choice(("LPUSH", "RPUSH")), rand.choice(QUEUES), *some)
        at += len(some)
    return elements


def check(crowd, client, elements):
    crowd.wait_for(len(elements), "elements were given")
    crowd.finish()
    assert sorted(crowd.given) == sorted(elements)
    for key in QUEUES + RELAYS:
        assert client.call("EXISTS", key) == 0
    pollux.wait_for(lambda: b"blocked_clients:0\r\n" in client.call("INFO", "clients"), "nobody waits any more")


def test_everything_arrives_once(wire, client):
    """All wait for ever: what is lost on the way stays lost."""
    needs_lists(client)
    crowd = Crowd(wire)

    def many(connection, rand):
        while True:
            keys = QUEUES + RELAYS
            rand.shuffle(keys)
            crowd.take(connection.call(rand.choice(("BLPOP", "BRPOP")), *keys, 0)[1])

    def one(connection, rand):
        while True:
            crowd.take(connection.call("BLPOP", rand.choice(QUEUES), 0)[1])

    def relay(connection, rand):
        while True:
            sides = rand.choices(("LEFT", "RIGHT"), k=2)
            connection.call("BLMOVE", rand.choice(QUEUES), rand.choice(RELAYS), *sides, 0)

    for i in range(3):
        crowd.start(many, i)
        crowd.start(one, 10 + i)
        crowd.start(relay, 20 + i)
    check(crowd, client, pushed(client))


def test_moves_wake_each_other(wire, client):
    """Elements go through a chain of keys that only those who wait look at."""
    needs_lists(client)
    crowd = Crowd(wire)
    stages = QUEUES[:1] + RELAYS

    def move(connection, rand):
        while True:
            at = rand.randrange(len(stages) - 1)
            connection.call("BLMOVE", stages[at], stages[at + 1], "LEFT", "RIGHT", 0)

    def move_at(at):
        def work(connection, rand):
            while True:
                connection.call("BLMOVE", stages[at], stages[at + 1], "LEFT", "RIGHT", 0)

        return work

    def last(connection, rand):
        while True:
            crowd.take(connection.call("BLPOP", stages[-1], 0)[1])

    for at in range(len(stages) - 1):
        crowd.start(move_at(at), at)
    crowd.start(move, 10)
    for i in range(2):
        crowd.start(last, 20 + i)
    elements = [b"%d" % i for i in range(ELEMENTS // 4)]
    for element in elements:
        client.call("RPUSH", stages[0], element)
    check(crowd, client, elements)


def test_time_and_others_end_waiting(wire, client):
    """Time-outs and CLIENT UNBLOCK race with elements: each is given once all the same."""
    needs_lists(client)
    crowd = Crowd(wire)

    def impatient(connection, rand):
        while True:
            keys = rand.sample(QUEUES, rand.randint(1, len(QUEUES)))
            answer = connection.call("BLPOP", *keys, rand.choice(("0.001", "0.002", "0.01")))
            if answer not in NONE:
                crowd.take(answer[1])

    def disturb(connection, rand):
        while True:
            connection.call("CLIENT", "UNBLOCK", rand.choice(crowd.ids))

    def mixed(connection, rand):
        while True:
            keys = rand.sample(QUEUES, rand.randint(1, 3))
            answer = connection.call("BRPOP", *keys, 0)
            if answer not in NONE:
                crowd.take(answer[1])
            key = rand.choice(QUEUES)
            connection.call("RENAMENX", key, rand.choice(QUEUES))
            if rand.random() < 0.1:
                connection.call("MGET", *QUEUES)

    for i in range(3):
        crowd.start(impatient, i)
        crowd.start(mixed, 10 + i)
    crowd.start(disturb, 20)
    check(crowd, client, pushed(client))


def test_those_who_leave_take_nothing(wire, client):
    """Connections that are closed while they wait: the next one is served."""
    needs_lists(client)
    for turn in range(50):
        leaving = [wire.connect() for _ in range(4)]
        for s in leaving:
            s.sendall(b"BLPOP %s %s 0\r\n" % (QUEUES[0].encode(), QUEUES[1].encode()))
        pollux.wait_for(lambda: b"blocked_clients:4\r\n" in client.call("INFO", "clients"), "all wait")
        with pollux.Client(wire.connect()) as stays:
            for s in leaving[:2]:
                s.close()
            pollux.wait_for(lambda: b"blocked_clients:2\r\n" in client.call("INFO", "clients"), "two have left")
            assert client.call("RPUSH", QUEUES[turn % 2], "a", "b", "c") == 3
            for s in leaving[2:]:
                assert s.recv(100).startswith(b"*2\r\n")
                s.close()
            assert stays.call("BLPOP", *QUEUES, 0)[1] == b"c"


def test_each_command_counts_once(wire, client):
    """However often one that waits runs again, and whether it is served or not."""
    needs_lists(client)

    def figures():
        lines = client.call("INFO", "stats", "commandstats").decode().split()
        calls = [line for line in lines if line.startswith("cmdstat_blpop:")]
        return [int(line.split(":")[1]) for line in lines if line.startswith("total_commands_processed:")] + [
            int(line.split("=")[1].split(",")[0]) for line in calls
        ]

    client.call("CONFIG", "RESETSTAT")
    assert client.call("BLPOP", *QUEUES, "0.001") in NONE
    waiting = [pollux.Client(wire.connect()) for _ in range(3)]
    for each in waiting:
        each.send("BLPOP", *QUEUES, 0)
    pollux.wait_for(lambda: b"blocked_clients:3\r\n" in client.call("INFO", "clients"), "all wait")
    before = figures()
    assert before[1] == 4
    for queue in QUEUES:  # wakes all of them in vain, for a while
        client.call("SET", queue, "text")
        client.call("DEL", queue)
    for each in waiting:
        client.call("RPUSH", QUEUES[0], "element")
    for each in waiting:
        assert each.reply()[1] == b"element"
        each.close()
    assert figures() == [before[0] + 2 * len(QUEUES) + len(waiting) + 1, 4]
