"""What connections must carry: big values, many at once, deep pipelines, bytes that come one by one."""

import hashlib
import random
import select
import socket
import threading

import pytest

import pollux

BIG = 100 * 1024 * 1024
MANY = 1000


def test_big_value_both_ways(wire, client):
    """A value of 100 MB comes back byte for byte, and leaves its memory when it is deleted."""
    value = random.Random(7).randbytes(BIG)
    assert client.call("SET", "big", value) == b"+OK"
    assert client.call("STRLEN", "big") == BIG
    back = client.call("GET", "big")
    assert hashlib.sha256(back).digest() == hashlib.sha256(value).digest()
    assert client.call("GETRANGE", "big", BIG - 10, -1) == value[-10:]
    assert client.call("DEL", "big") == 1


def test_many_connections(wire):
    """A thousand clients at once: all are served, several times, and all can leave."""
    connections = []
    try:
        for i in range(MANY):
            connections.append(pollux.Client(wire.connect()))
        for turn in range(3):
            for i, c in enumerate(connections):
                c.send("SET", f"many:{i}", f"{turn}.{i}")
            for c in connections:
                assert c.reply() == b"+OK"
            for i, c in enumerate(connections):
                c.send("GET", f"many:{(i + 1) % MANY}")
            for i, c in enumerate(connections):
                assert c.reply() == f"{turn}.{(i + 1) % MANY}".encode()
    finally:
        for i, c in enumerate(connections):
            c.close(reset=i % 2 == 0)
    with pollux.Client(wire.connect()) as c:
        pollux.wait_for(
            lambda: int(next(line for line in c.call("INFO", "clients").split(b"\r\n")
                             if line.startswith(b"connected_clients:")).split(b":")[1]) == 1,
            "all others to be gone",
        )


def test_pipeline_keeps_order(wire, client):
    """Requests of one client for keys of all cores are answered in order."""
    n = 20000
    data = b"".join(
        pollux.encode("SET", f"o:{i}", i) + pollux.encode("GET", f"o:{i}") + pollux.encode("STRLEN", f"o:{i // 2}")
        for i in range(n)
    )
    sender = threading.Thread(target=client.sock.sendall, args=(data,))
    sender.start()
    for i in range(n):
        assert client.reply() == b"+OK"
        assert client.reply() == b"%d" % i
        assert client.reply() == len(str(i // 2))
    sender.join()


def test_byte_by_byte(wire, client):
    """Every byte in a segment of its own, with a whole round trip of another client between two."""
    with pollux.Client(wire.connect()) as slow:
        for byte in pollux.encode("SET", "slow", "v\r\n") + b"GET slow\r\n" + pollux.encode("PING"):
            slow.sock.sendall(bytes([byte]))
            assert client.call("PING") == b"+PONG"
        assert slow.reply() == b"+OK"
        assert slow.reply() == b"v\r\n"
        assert slow.reply() == b"+PONG"


def test_random_cuts(wire, client):
    """A long stream of commands, cut at random places, is understood."""
    rng = random.Random(11)
    commands = []
    for i in range(3000):
        commands.append(pollux.encode("SET", f"cut:{i}", rng.randbytes(rng.choice([0, 1, 64, 1500, 20000]))))
    data = b"".join(commands)

    def send():
        at = 0
        while at < len(data):
            n = rng.choice([1, 7, 100, 1460, 9000, 100000])
            client.sock.sendall(data[at : at + n])
            at += n

    sender = threading.Thread(target=send)
    sender.start()
    for _ in commands:
        assert client.reply() == b"+OK"
    sender.join()
    assert client.call("DBSIZE") == 3000


def test_half_close(wire):
    """A client that shuts its side still gets the replies to what it had sent."""
    with pollux.Client(wire.connect()) as c:
        c.sock.sendall(pollux.encode("SET", "half", "x" * 100000) + pollux.encode("GET", "half"))
        c.sock.shutdown(socket.SHUT_WR)
        data = c.rest()
    assert data in (b"+OK\r\n$100000\r\n" + b"x" * 100000 + b"\r\n", b"", b"+OK\r\n")


def test_quit(wire, client):
    client.sock.sendall(pollux.encode("SET", "q", "1") + pollux.encode("QUIT") + pollux.encode("SET", "q", "2"))
    assert client.rest() == b"+OK\r\n+OK\r\n"
    with pollux.Client(wire.connect()) as other:
        assert other.call("GET", "q") == b"1"


def test_client_that_never_reads(wire, client):
    """Its output is bounded by client-output-buffer-limit: it is cut off, nobody else notices."""
    client.call("SET", "value", b"x" * (1 << 20))
    assert client.call("CONFIG", "SET", "client-output-buffer-limit", "normal 16mb 0 0") == b"+OK"
    try:
        deaf = pollux.Client(wire.connect())
        name = b"deaf"
        assert deaf.call("CLIENT", "SETNAME", name) == b"+OK"
        deaf.sock.sendall(pollux.encode("GET", "value") * 200)

        def gone():
            assert client.call("PING") == b"+PONG"
            return b"name=deaf" not in client.call("CLIENT", "LIST")

        pollux.wait_for(gone, "the client that never reads to be cut off")
        assert len(deaf.rest()) < 200 << 20
        deaf.close()
    finally:
        assert client.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") == b"+OK"


def test_reader_that_stops_and_resumes(wire, client):
    """Back-pressure both ways: 64 MB of replies wait for a slow reader and arrive whole."""
    value = random.Random(3).randbytes(1 << 20)
    client.call("SET", "value", value)
    with pollux.Client(wire.connect()) as slow:
        request = pollux.encode("GET", "value")
        slow.sock.sendall(request * 64)
        for _ in range(50):
            assert client.call("PING") == b"+PONG"
        for _ in range(64):
            assert slow.reply() == value


def test_disconnect_in_the_middle(wire, client):
    """Clients that vanish at any point leave nothing behind."""
    rng = random.Random(5)
    request = pollux.encode("SET", "vanish", "y" * 5000) + pollux.encode("GET", "vanish")
    for _ in range(200):
        c = pollux.Client(wire.connect())
        c.sock.sendall(request[: rng.randrange(len(request))])
        c.close(reset=rng.random() < 0.5)
    assert client.call("SET", "vanish", "no") == b"+OK"
    pollux.wait_for(lambda: client.call("CLIENT", "LIST").count(b"id=") == 1, "the vanished to be forgotten")


@pytest.mark.parametrize("order", ["request first", "reset first"])
def test_reset(wire, order):
    c = pollux.Client(wire.connect())
    if order == "request first":
        c.sock.sendall(pollux.encode("PING") * 1000)
        select.select([c.sock], [], [], pollux.PATIENCE_S)
    c.close(reset=True)
    with pollux.Client(wire.connect()) as other:
        assert other.call("PING") == b"+PONG"
