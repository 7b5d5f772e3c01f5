"""A port queue for each core: flows land where the peer's kernel puts them, and answers to one core's
questions come to the other's queue."""

import pytest

import pollux

pytestmark = pytest.mark.wires("xdp-queues")


def test_connections_on_every_queue(wire):
    """None waits for a retransmission: every one of many is set up at once, and works."""
    clients = [pollux.Client(wire.connect()) for _ in range(200)]
    for n, client in enumerate(clients):
        assert client.call("SET", f"queue:{n}", n) == b"+OK"
    for n, client in enumerate(clients):
        assert client.call("GET", f"queue:{199 - n}") == b"%d" % (199 - n)
        client.close()
    with pollux.Client(wire.connect()) as client:
        assert client.call("DBSIZE") == 200


def test_big_values(wire):
    value = bytes(range(256)) * 4096
    with pollux.Client(wire.connect()) as client:
        for _ in range(5):
            assert client.call("SET", "big", value) == b"+OK"
            assert client.call("GET", "big") == value
