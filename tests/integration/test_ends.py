"""How a server ends, and what it says of it: who asked for it, or what it crashed of."""

import os
import signal

import pytest

import pollux
from pollux import wait_for


def data_plane(server):
    """The process of the data plane."""
    for pid in server.pids():
        with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
            if comm.read().startswith("pollux-dataplan"):
                return pid
    raise AssertionError(server.tail())


def client_of(server, *auth):
    client = pollux.Client(pollux.socket.create_connection((server.host, server.port), timeout=pollux.PATIENCE_S))
    if auth:
        assert client.call("AUTH", *auth) == b"+OK"
    return client


@pytest.mark.parametrize("cores", ["0", "0,1"])
def test_who_shut_it_down(cores):
    """A client by its address, name and user; a signal by its sender; the control plane."""
    server = pollux.Server({"cores": cores})
    try:
        server.wait_ready()
        with client_of(server) as root:
            root.call("ACL", "SETUSER", "alice", "on", ">secret", "+@all", "~*")
        with client_of(server, "alice", "secret") as alice:
            assert alice.call("CLIENT", "SETNAME", "closing") == b"+OK"
            number, port = alice.call("CLIENT", "ID"), alice.sock.getsockname()[1]
            alice.send("SHUTDOWN", "NOSAVE")
            assert server.process.wait(timeout=30) == 0
        assert (f"SHUTDOWN from client id={number} addr=127.0.0.1:{port} name=closing user=alice, shutting down"
                in server.tail()), server.tail()
        server.start()
        server.wait_ready()
        os.kill(data_plane(server), signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        assert f"Received SIGTERM from pid {os.getpid()} (" in server.tail(), server.tail()
        server.start()
        server.wait_ready()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == 0
        for words in (f"Received SIGINT from pid {os.getpid()} (", "Received SIGTERM from pid", "(pollux-server), user"):
            assert words in server.tail(), server.tail()
    finally:
        server.close()
