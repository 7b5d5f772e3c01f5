"""RESP that is none: answered as Redis words it, then closed; bounded in memory; nobody else notices."""

import random
import socket

import pytest

import pollux

# What a client sends, and what Redis 7.0 answers before it closes.
GARBAGE = {
    "multibulk-letters": (b"*abc\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "multibulk-huge": (b"*9223372036854775807\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "multibulk-overflow": (b"*99999999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "multibulk-endless": (b"*" + b"1" * 70000, b"-ERR Protocol error: too big mbulk count string\r\n"),
    "no-dollar": (b"*1\r\n+PING\r\n", b"-ERR Protocol error: expected '$', got '+'\r\n"),
    "no-dollar-binary": (b"*1\r\n\x01PING\r\n", b"-ERR Protocol error: expected '$', got '\x01'\r\n"),
    "bulk-letters": (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    "bulk-negative": (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    "bulk-huge": (b"*1\r\n$9223372036854775807\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    "bulk-above-limit": (b"*1\r\n$536870913\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    "bulk-endless": (b"*1\r\n$" + b"1" * 70000, b"-ERR Protocol error: too big bulk count string\r\n"),
    "inline-endless": (b"x" * 70000, b"-ERR Protocol error: too big inline request\r\n"),
    "inline-quotes": (b'set "a b\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    "inline-quotes-joined": (b'set "a"b\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    "after-a-good-one": (b"*1\r\n$4\r\nPING\r\n*1\r\n!\r\n", b"+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_protocol_error_then_close(wire, client, name):
    sent, answer = GARBAGE[name]
    with pollux.Client(wire.connect()) as bad:
        bad.sock.sendall(sent)
        assert bad.rest() == answer
    assert client.call("PING") == b"+PONG"


def test_empty_commands_are_ignored(wire, client):
    client.sock.sendall(b"\r\n*0\r\n*-1\r\n\r\n   \r\nPING\r\n")
    assert client.line() == b"+PONG"


def test_gigantic_lengths_take_no_memory(wire, client):
    """A length announced is not a length received."""
    before = wire.server.resident()
    held = []
    for _ in range(50):
        for start in (b"*1\r\n$536870912\r\nabc", b"*2147483647\r\n$1\r\na\r\n", b"*1000000\r\n"):
            c = pollux.Client(wire.connect())
            c.sock.sendall(start)
            held.append(c)
    for _ in range(100):
        assert client.call("PING") == b"+PONG"
    grown = wire.server.resident() - before
    for c in held:
        c.close()
    assert grown < 256 << 20, f"{grown >> 20} MiB for 150 announcements"


def test_commands_without_a_name_look_at_no_old_argument(client):
    """Hints for what a command will touch read its own arguments only: not one that stood there before and is freed."""
    client.call("SADD", "set", *(f"member-{i}" for i in range(600)))
    assert client.call("OBJECT", "ENCODING", "set") == b"hashtable"
    client.call("SET", "big", b"x" * (48 << 20))
    assert client.call("DEL", "big") == 1
    assert client.call("MEMORY", "PURGE") == b"+OK"
    for _ in range(3):
        assert client.call("SCARD", "set") == 600


def test_query_buffer_limit(wire, client):
    """An endless command is cut off at client-query-buffer-limit."""
    assert client.call("CONFIG", "SET", "client-query-buffer-limit", "1mb") == b"+OK"
    try:
        with pollux.Client(wire.connect()) as greedy:
            data = pollux.encode("SET", "endless", b"x" * (64 << 20))
            with pytest.raises(OSError):
                for at in range(0, len(data), 65536):
                    greedy.sock.sendall(data[at : at + 65536])
                if not greedy.sock.recv(1):
                    raise ConnectionResetError
        assert client.call("PING") == b"+PONG"
    finally:
        assert client.call("CONFIG", "SET", "client-query-buffer-limit", "1gb") == b"+OK"


def test_random_garbage(wire, client):
    """Random bytes that look a little like RESP: answered or refused, never a crash or a hang."""
    rng = random.Random(2026)
    alphabet = [b"*", b"$", b"\r\n", b"\r", b"\n", b"1", b"3", b"-1", b"GET", b"SET", b'"', b"'", b"\\x", b"\0", b" ",
                b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"PING\r\n", b"\xff" * 40, b"99999999999", b":", b"+", b"_"]
    for _ in range(300):
        with pollux.Client(wire.connect()) as bad:
            data = b"".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 60)))
            try:
                bad.sock.sendall(data + b"\r\n")
            except OSError:
                pass
        assert client.call("PING") == b"+PONG"


def test_http_is_refused(wire, client):
    """A browser that was made to post to us is cut off (cross-protocol scripting)."""
    with pollux.Client(wire.connect()) as bad:
        bad.sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nset owned yes\r\n")
        bad.rest()
    assert client.call("EXISTS", "owned") == 0
def words(n):
    return pollux.encode("MGET", *(f"k{i}" for i in range(n - 1)))


PASSWORD = pollux.encode("AUTH", "secret")
GUARDED = {
    "before": words(20),
    "behind-the-password": PASSWORD + words(20),
    "behind-a-wrong-one": pollux.encode("AUTH", "wrong") + words(20),
    "behind-a-reset": PASSWORD + words(20) + pollux.encode("RESET") + words(20),
    "short-ones-first": pollux.encode("PING") * 3 + words(5) + PASSWORD + pollux.encode("PING") + words(20),
}


@pytest.mark.parametrize("name", GUARDED)
def test_limits_of_strangers(name):
    """Who has not given the password may send little; what changes that counts from the next command on."""
    answers = []
    for kind in (pollux.Redis, pollux.Server):
        server = kind({"requirepass": "secret"}).wait_ready()
        with socket.create_connection((server.host, server.port), timeout=pollux.PATIENCE_S) as sock:
            client = pollux.Client(sock)
            client.sock.sendall(GUARDED[name])
            client.sock.shutdown(socket.SHUT_WR)
            answers.append(client.rest())
        server.close()
    assert answers[0] == answers[1]
