"""Scripts that never end, that want all memory, and that meet on several cores. What scripts answer is compared with
Redis in tests/differential."""

import contextlib
import os
import socket

import pytest

import pollux

pytestmark = pytest.mark.wires("socket")

BUSY = b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
HOSTILE = os.path.join(pollux.ROOT, "tests", "scripts")
LIMITS = {"busy-reply-threshold": 50, "lua-memory-limit": "24mb"}


def scripts_of(name):
    """(name, text) of each script in a file of many."""
    with open(os.path.join(HOSTILE, name)) as file:
        for part in file.read().split("-- name: ")[1:]:
            title, text = part.split("\n", 1)
            yield title, text


@contextlib.contextmanager
def clients(wire, n):
    opened = [pollux.Client(wire.connect()) for _ in range(n)]
    try:
        yield opened
    finally:
        for client in opened:
            client.sock.close()


@pytest.fixture
def limited(wire):
    """The server with a short patience and little memory for scripts."""
    with clients(wire, 1) as (client,):
        before = {name: client.call("CONFIG", "GET", name)[1] for name in LIMITS}
        for name, value in LIMITS.items():
            assert client.call("CONFIG", "SET", name, value) == b"+OK"
        yield wire
        for name, value in before.items():
            assert client.call("CONFIG", "SET", name, value) == b"+OK"


def wait_busy(client):
    pollux.wait_for(lambda: client.call("PING") == BUSY, "BUSY")


def wait_calm(client):
    pollux.wait_for(lambda: client.call("PING") == b"+PONG", "an answer other than BUSY")


@pytest.mark.parametrize("title, text", scripts_of("endless.lua"), ids=lambda x: x[:30] if "\n" not in x else "")
def test_endless(limited, title, text):
    """All cores answer BUSY while it runs, what waits for its slots too; then it is killed."""
    with clients(limited, 6) as (runs, waits, kills, *others):
        runs.send("EVAL", text, 1, "k")
        waits.send("SET", "k", "v")
        for other in others:
            wait_busy(other)
            assert other.call("EXEC") == BUSY
            assert other.call("SHUTDOWN") == BUSY
        assert waits.reply() in (b"+OK", BUSY)  # it may have come first
        assert kills.call("SCRIPT", "KILL") == b"+OK"
        assert b"Script killed by user with SCRIPT KILL." in runs.reply()
        for other in others:
            wait_calm(other)
        assert kills.call("SCRIPT", "KILL").startswith(b"-NOTBUSY")
        assert runs.call("SET", "k", "w") == b"+OK" and runs.call("GET", "k") == b"w"


def test_endless_in_a_transaction(limited):
    with clients(limited, 3) as (runs, keeps, kills):
        assert keeps.call("MULTI") == b"+OK"
        for words in (["MULTI"], ["SET", "in", 1], ["EVAL", "while true do end", 0], ["SET", "in", 2], ["EXEC"]):
            runs.send(*words)
        wait_busy(kills)
        assert keeps.call("SET", "x", 1) == BUSY
        assert keeps.call("EXEC") == b"-EXECABORT Transaction discarded because of: " + BUSY[1:]
        assert kills.call("SCRIPT", "KILL") == b"+OK"
        assert [runs.reply() for _ in range(4)] == [b"+OK", b"+QUEUED", b"+QUEUED", b"+QUEUED"]
        replies = runs.reply()
        assert replies[0] == b"+OK" and b"killed" in replies[1] and replies[2] == b"+OK"
        wait_calm(kills)
        assert keeps.call("PING") == b"+PONG" and keeps.call("GET", "in") == b"2"


def test_client_that_leaves(limited):
    """The script of a client that is gone goes on, and can be killed."""
    with clients(limited, 1) as (kills,):
        client = pollux.Client(limited.connect())
        client.send("EVAL", "while true do end", 0)
        wait_busy(kills)
        client.sock.close()
        assert kills.call("PING") == BUSY
        assert kills.call("SCRIPT", "KILL") == b"+OK"
        wait_calm(kills)


def test_watchers_that_leave(limited):
    """Their watches wait for the slot that a script holds when it becomes busy."""
    with clients(limited, 2) as (runs, kills):
        watchers = [pollux.Client(limited.connect()) for _ in range(20)]
        for watcher in watchers:
            assert watcher.call("WATCH", "k") == b"+OK"
        runs.send("EVAL", "while true do end", 1, "k")
        for watcher in watchers:
            watcher.sock.close()
        wait_busy(kills)
        assert kills.call("SCRIPT", "KILL") == b"+OK"
        assert b"killed" in runs.reply()
        wait_calm(kills)


def test_others_wait_their_turn(limited):
    """Scripts that come while one runs are told BUSY, or run behind it."""
    with clients(limited, 6) as (runs, kills, *others):
        runs.send("EVAL", "local t = redis.call('time') repeat local n = redis.call('incr', KEYS[1]) until n > 200000", 1, "n")
        for other in others:
            other.send("EVAL", "return redis.call('incr', KEYS[1])", 1, "n")
        assert runs.reply() is None or True
        for other in others:
            reply = other.reply()
            assert reply == BUSY or int(reply[1:] if isinstance(reply, bytes) else reply) > 0
        wait_calm(kills)
        kills.call("DEL", "n")


def test_bombs(limited):
    """Each ends with an error or a value; the server lives, and the next script has its memory."""
    with clients(limited, 1) as (client,):
        for title, text in scripts_of("bombs.lua"):
            client.send("EVAL", text, 0)
            if "as the reply" in title or "itself" in title:  # nested too deep for a reader that recurses
                depth = 1
                while depth:
                    line = client.line()
                    depth += int(line[1:]) - 1 if line[:1] == b"*" else -1
            else:
                reply = client.reply()
                assert reply is None or reply.startswith(b"-"), f"{title}: {reply[:100]}"
            wait_calm(client)
            assert client.call("EVAL", "return #string.rep('x', 1000000)", 0) in (1000000, b":1000000"), title


def test_written_and_endless():
    """Cannot be killed but with the server."""
    server = pollux.Server({"cores": "0,1", "busy-reply-threshold": 50})
    try:
        server.wait_ready()

        def connect():
            return pollux.Client(socket.create_connection((server.host, server.port)))

        runs, kills = connect(), connect()
        runs.send("EVAL", "redis.call('set', KEYS[1], 1) while true do end", 1, "k")
        wait_busy(kills)
        assert kills.call("SCRIPT", "KILL").startswith(b"-UNKILLABLE Sorry the script already executed write commands")
        assert kills.call("SHUTDOWN") == BUSY
        kills.send("SHUTDOWN", "NOSAVE")
        pollux.wait_for(lambda: not server.alive(), "the end of the server")
    finally:
        server.close()


def test_moves_between_cores(wire):
    """Scripts on all cores move money between accounts, some that they declare and some that they do not."""
    move = "redis.call('decrby', KEYS[1], ARGV[1]) redis.call('incrby', KEYS[2], ARGV[1]) return 1"
    stray = "redis.call('decrby', ARGV[2], ARGV[1]) redis.call('incrby', ARGV[3], ARGV[1]) return 1"
    accounts = [f"account:{i}" for i in range(10)]
    with clients(wire, 5) as (looks, *movers):
        looks.call("DEL", *accounts)
        for turn in range(60):
            for i, client in enumerate(movers):
                a, b = accounts[(turn + i) % 10], accounts[(turn * 3 + i + 1) % 10]
                client.send("EVAL", move, 2, a, b, turn)
                client.send("EVAL", stray, 0, turn, a, b)
            total = looks.call("EVAL", "local n = 0 for _, v in ipairs(redis.call('mget', unpack(KEYS))) do "
                               "n = n + (v or 0) end return tostring(n)", 10, *accounts)
            assert total == b"0"
            for client in movers:
                assert [client.reply(), client.reply()] in ([1, 1], [b":1", b":1"])
