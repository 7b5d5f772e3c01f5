"""Subscribers that never read, beside those that do; output limits; real clients and the load generator."""

import json
import socket
import threading

import pytest
import redis

import pollux

HARD = 1 << 20
SILENT = 40


@pytest.fixture(scope="module", params=["0", "0,1"])
def server(request):
    limits = ["pubsub", HARD, 0, 0]
    s = pollux.Server({"cores": request.param, "client-output-buffer-limit": limits, "enable-debug-command": "yes"})
    yield s.wait_ready()
    s.close()


def connect(server):
    return pollux.Client(socket.create_connection((server.host, server.port), timeout=pollux.PATIENCE_S))


def info(client, section, field):
    for line in client.call("INFO", section).split(b"\r\n"):
        if line.startswith(field + b":"):
            return int(line.split(b":")[1])
    raise AssertionError(f"no {field}")


def test_subscribers_that_never_read(server):
    """They are closed at their limit, memory stays within it, and who reads gets everything."""
    silent = [connect(server) for _ in range(SILENT)]
    for client in silent:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send("SUBSCRIBE", "flood")
    publisher, reader = connect(server), connect(server)
    reader.call("SUBSCRIBE", "flood")
    pollux.wait_for(lambda: publisher.call("PUBSUB", "NUMSUB", "flood") == [b"flood", SILENT + 1], "all subscriptions")
    before = info(publisher, "stats", b"client_output_buffer_limit_disconnections")
    heard = 0

    def read():
        nonlocal heard
        while True:
            message = reader.reply()
            if message[2] == b"end":
                return
            heard += 1

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    payload, sent, most = b"x" * 12000, 0, 0
    while info(publisher, "stats", b"client_output_buffer_limit_disconnections") - before < SILENT:
        for _ in range(32):
            publisher.send("PUBLISH", "flood", payload)
        for _ in range(32):
            publisher.reply()
        sent += 32
        most = max(most, info(publisher, "memory", b"used_memory"))
        assert sent < 20000, "they are never closed"
    # A look at the output comes with 256 KiB of messages at the latest.
    assert most < (SILENT + 1) * (HARD + (1 << 20)) + (64 << 20)
    pollux.wait_for(lambda: publisher.call("PUBSUB", "NUMSUB", "flood") == [b"flood", 1], "the end of those who never read")
    assert publisher.call("PUBLISH", "flood", "end") == 1
    thread.join(pollux.PATIENCE_S)
    assert not thread.is_alive() and heard == sent
    for client in silent + [publisher, reader]:
        client.sock.close()


def test_soft_limit(server):
    """A subscriber that stays above it for too long is closed, though nothing more is published."""
    client, silent = connect(server), connect(server)
    client.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64mb 100000 1")
    try:
        silent.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.send("SUBSCRIBE", "soft")
        pollux.wait_for(lambda: client.call("PUBSUB", "NUMSUB", "soft") == [b"soft", 1], "the subscription")
        for _ in range(600):
            client.call("PUBLISH", "soft", b"x" * 15000)
        pollux.wait_for(lambda: client.call("PUBSUB", "NUMSUB", "soft") == [b"soft", 0], "its end")
    finally:
        client.call("CONFIG", "SET", "client-output-buffer-limit", f"pubsub {HARD} 0 0")


def events_until(listener, wanted):
    """What is heard up to an event, that one included: (event, key) each."""
    heard = []
    while not heard or heard[-1] != wanted:
        message = listener.reply()
        heard.append((message[2].split(b":", 1)[1], message[3]))
    return heard


def test_keys_that_go_on_their_own(server):
    """Expired keys and fields, found by a look or by the clock, and evicted ones, on whichever core they are."""
    client, listener = connect(server), connect(server)
    client.call("CONFIG", "SET", "notify-keyspace-events", "Exeh")
    try:
        listener.call("PSUBSCRIBE", "__keyevent@0__:*")
        keys = [b"dies:%d" % i for i in range(20)]
        for key in keys:
            client.call("SET", key, "v", "PX", 20)
        heard = {listener.reply()[3] for _ in keys}
        assert heard == set(keys)
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        client.call("SET", "looked", "v", "PX", 1)
        pollux.wait_for(lambda: client.call("GET", "looked") is None, "the end of a key")
        assert events_until(listener, (b"expired", b"looked")) == [(b"expired", b"looked")]
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        client.call("HSET", "h", "a", 1, "b", 2, "c", 3)
        client.call("HPEXPIRE", "h", 20, "FIELDS", 2, "a", "b")
        assert (b"hexpire", b"h") in events_until(listener, (b"hexpired", b"h"))
        client.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "4mb")
        for i in range(3000):
            client.call("SET", b"big:%d" % i, b"x" * 4000)
        assert listener.reply()[2] == b"__keyevent@0__:evicted"
    finally:
        client.call("CONFIG", "SET", "maxmemory", "0", "notify-keyspace-events", "")
        client.call("FLUSHALL")
        client.sock.close()
        listener.sock.close()


def test_prefixes_of_clients_that_leave(server):
    """All cores count prefixes; those of a client that goes before they have answered are taken back."""
    client = connect(server)
    for i in range(50):
        leaver = connect(server)
        leaver.send("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", f"prefix:{i}")
        leaver.close(reset=True)
    pollux.wait_for(lambda: info(client, "clients", b"connected_clients") == 1, "the end of all others")
    pollux.wait_for(lambda: info(client, "stats", b"tracking_total_prefixes") == 0, "no prefix")
    client.close()


def test_redis_py(server):
    r = redis.Redis(server.host, server.port, socket_timeout=pollux.PATIENCE_S)
    p = r.pubsub()
    p.subscribe("news")
    p.psubscribe("n*")
    types = [p.get_message(timeout=pollux.PATIENCE_S)["type"] for _ in range(2)]
    assert types == ["subscribe", "psubscribe"]
    assert r.publish("news", "hello") == 2
    heard = [p.get_message(timeout=pollux.PATIENCE_S) for _ in range(2)]
    assert [m["type"] for m in heard] == ["message", "pmessage"] and {m["data"] for m in heard} == {b"hello"}
    assert r.pubsub_channels() == [b"news"] and r.pubsub_numpat() == 1 and r.pubsub_numsub("news") == [(b"news", 1)]
    p.unsubscribe()
    p.punsubscribe()
    p.close()
    r.close()


def test_load_generator(server):
    out = pollux.run(
        pollux.program("pollux-bench"), "-h", server.host, "-p", str(server.port), "--pubsub", "3", "--publishers", "2", "-c", "20", "-P", "4",
        "--duration", "0.3", "--json",
    ).stdout  # fmt: skip
    result = json.loads(out)
    assert result["delivered"] > 0 and result["lost"] == 0 and result["closed"] == 0
    assert result["subscribers"] == 20 and result["published"] > 0
