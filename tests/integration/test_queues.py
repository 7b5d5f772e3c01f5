"""A port queue for each core: flows land where the peer's kernel puts them, and answers to one core's
questions come to the other's queue."""

import contextlib
import socket

import pytest

import pollux

pytestmark = pytest.mark.wires("xdp-queues", "xdp", "tap")


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


def test_flows_find_their_cores(wire):
    """Frames come to the queue that the peer's kernel chooses: no connection is reset or set up twice for it, what
    is registered ends with its connection, and the operator sees how flows come to cores."""
    first = wire.nic()
    queues = first[0]["queues"]
    clients = [pollux.Client(wire.connect()) for _ in range(300)]
    for n, client in enumerate(clients):
        assert client.call("PING", f"{n}") == b"%d" % n
    open_now = wire.nic()
    for client in clients:
        client.close()

    def grown(name, cores):
        return sum(now["counters"].get(name, 0) - was["counters"].get(name, 0) for now, was in zip(cores, first))

    assert grown("tcp_accepted", open_now) >= 300
    assert grown("home_lost", open_now) == grown("home_full", open_now) == 0
    if queues > 1:
        # Two devices: nobody tells how the kernel spreads flows over them.
        assert "registered" in open_now[0]["spread"]
        elsewhere = grown("home_elsewhere", open_now)
        assert elsewhere > 30 and grown("home_asked", open_now) >= elsewhere
        assert grown("home_registered", open_now) > 30
        assert sum(core["registered"] for core in open_now) > 30
    else:
        assert open_now[0]["spread"] == "all come to one core"
        assert grown("home_asked", open_now) == 0

    def all_ended():
        cores = wire.nic()
        # What is left is in TIME-WAIT on the side that closed first: the clients'.
        return sum(core["registered"] for core in cores) <= sum(core["registered"] for core in first)

    pollux.wait_for(all_ended, "the end of what was registered")


def test_commands_on_slots_of_other_cores(wire):
    """Every core serves its slots, whichever of them has a queue."""
    with pollux.Client(wire.connect()) as client:
        for n in range(1000):
            assert client.call("SET", f"slot:{n}", n) == b"+OK"
        for n in range(1000):
            assert client.call("GET", f"slot:{n}") == b"%d" % n


def test_connections_of_ours(wire):
    """MIGRATE connects out: answers come to the queue that the target's kernel chooses, and find the core that asked."""
    target = pollux.Redis({"protected-mode": "no"}, prefix=wire.namespace.prefix(), host=wire.client_address)
    with contextlib.closing(target):
        with wire.enter():
            target.wait_ready()
        resets = sum(core["counters"].get("tcp_reset_out", 0) for core in wire.nic())
        # Clients of different cores, so that each of those that have a queue connects.
        clients = [pollux.Client(wire.connect()) for _ in range(16)]
        for n in range(160):
            client = clients[n % len(clients)]
            assert client.call("SET", f"out:{n}", n) == b"+OK"
            assert client.call("MIGRATE", target.host, target.port, f"out:{n}", 0, 5000) == b"+OK"
        with wire.enter(), pollux.Client(socket.create_connection((target.host, target.port), timeout=30)) as there:
            for n in range(160):
                assert there.call("GET", f"out:{n}") == b"%d" % n
        # Where there is no way, the reply says so.
        assert clients[0].call("SET", "out", 1) == b"+OK"
        assert (clients[0].call("MIGRATE", "192.0.2.1", 6379, "out", 0, 5000)
                == b"-IOERR error or timeout connecting to the client: Network is unreachable")
        for client in clients:
            client.close()
        assert sum(core["counters"].get("tcp_reset_out", 0) for core in wire.nic()) == resets


@pytest.mark.wires("xdp-queues")
def test_flows_of_ipv6_find_their_cores(wire):
    host = wire.addresses[1].split("/")[0]

    def valid():  # once nobody has objected to the address
        with contextlib.suppress(OSError), socket.create_connection((host, wire.port), timeout=1):
            return True

    pollux.wait_for(valid, "the server's IPv6 address")
    first = wire.nic()
    clients = [pollux.Client(socket.create_connection((host, wire.port), timeout=30)) for _ in range(100)]
    for n, client in enumerate(clients):
        assert client.call("PING", f"{n}") == b"%d" % n
    now = wire.nic()
    for client in clients:
        client.close()
    sums = {name: sum(core["counters"].get(name, 0) for core in now) - sum(core["counters"].get(name, 0) for core in first)
            for name in ("home_registered", "tcp_reset_out", "tcp_accepted")}
    assert sums["tcp_accepted"] == 100 and sums["tcp_reset_out"] == 0
    assert sums["home_registered"] > 10 if now[0]["queues"] > 1 else sums["home_registered"] == 0
