"""Scripts that never end, that want all memory, and that meet on several cores. What scripts answer is compared with
Redis in tests/differential."""

import contextlib
import os
import select
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
        assert kills.call("SLOWLOG", "RESET") == b"+OK"
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
        assert [entry[3][0] for entry in kills.call("SLOWLOG", "GET")] == [b"EVAL"]


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


# --- where scripts run ------------------------------------------------------------------------------
# A script that is known to keep to its keys goes to the core of their slots. Keys enough to be of all cores.

KEYS = [f"key:{i}" for i in range(8)]


def figures(client, *names):
    lines = client.call("INFO", "everything").decode().split("\r\n")
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return [int(values[name]) for name in names]


def calls_of(client, command):
    for line in client.call("INFO", "commandstats").decode().split("\r\n"):
        if line.startswith(f"cmdstat_{command}:"):
            return int(line.split("calls=")[1].split(",")[0])
    return 0


def learn(wire, text, *words):
    """Runs the script on every core, so that each knows that it keeps to its keys."""
    for _ in range(8):  # the kernel spreads connections over the cores
        with clients(wire, 1) as (client,):
            for key in KEYS:
                client.call("EVAL", text, 1, key, *words)


def test_goes_where_its_keys_are(wire):
    """Nothing is borrowed for a script whose keys are one core's, and it is counted once."""
    text = "return redis.call('incr', KEYS[1]) -- goes"
    learn(wire, text)
    with clients(wire, 1) as (client,):
        client.call("DEL", *KEYS)
        borrowed, forwarded, before = *figures(client, "borrows", "forwarded_commands"), calls_of(client, "eval")
        for n in range(1, 4):
            assert [client.call("EVAL", text, 1, key) for key in KEYS] == [n] * len(KEYS)
        for key in KEYS:
            assert client.call("EVAL", text, 2, key, "{" + key + "}") == 4
        after = figures(client, "borrows", "forwarded_commands")
        assert after[0] == borrowed
        assert bool(after[1] - forwarded) == (wire.cores > 1)
        assert calls_of(client, "eval") == before + 4 * len(KEYS)


def test_strays_elsewhere(wire):
    """A script that went to its key, and then needs another one, begins again with all; with an error if it has written."""
    kept = "if ARGV[1] then return redis.call('incr', ARGV[1]) end return redis.call('get', KEYS[1]) -- strays"
    wrote = "redis.call('incr', KEYS[1]) if ARGV[1] then redis.call('incr', ARGV[1]) end return 1 -- strays"
    slow = "local n = 0 while ARGV[1] and n < 300000 do n = n + 1 end " + kept
    texts = [f"{text} {key}" for text in (kept, slow) for key in KEYS[:4]]  # each strays for the first time
    for text in texts:
        learn(wire, text)
    with clients(wire, 5) as (monitors, *callers):
        before = calls_of(callers[0], "eval")
        callers[0].call("DEL", "elsewhere")
        assert monitors.call("MONITOR") == b"+OK"
        n = 0
        for client in callers:
            for text in texts:
                client.send("EVAL", text, 1, text.split()[-1], "elsewhere")
                client.send("DECR", "elsewhere")  # does not overtake it
                client.send("EVAL", text, 1, text.split()[-1], "elsewhere")
                assert [client.reply() for _ in range(3)] == [n + 1, n, n + 1]
                n += 1
        assert calls_of(callers[0], "eval") == before + 2 * n
        seen = []
        while sum(b'"DECR"' in line for line in seen) < n or b'"EVAL"' not in seen[-1]:
            seen.append(monitors.line())
        assert sum(b'"EVAL"' in line for line in seen) == 2 * n
    learn(wire, wrote)
    with clients(wire, 1) as (client,):
        replies = [client.call("EVAL", wrote, 1, key, other) for other in ("elsewhere", "another") for key in KEYS]
        errors = [reply for reply in replies if reply != 1]
        assert all(b"a key that it did not declare" in error for error in errors)
        assert len(errors) < wire.cores  # the cores learn
        assert [client.call("EVAL", wrote, 1, key, "elsewhere") for key in KEYS] == [1] * len(KEYS)


def test_names_that_are_joined(wire):
    """What joins strings may make names of keys of them, and need not do so at first: it has all at hand at any time."""
    text = "redis.call('incr', KEYS[1]) if ARGV[1] then redis.call('incr', 'joined:' .. ARGV[1]) end return 1 -- joins"
    learn(wire, text)
    with clients(wire, 2) as callers:
        for client in callers:
            assert [client.call("EVAL", text, 1, key, n) for n in range(4) for key in KEYS] == [1] * 4 * len(KEYS)


def test_followed_by_the_next(wire):
    """The script that begins where another one of many turns gives its slot back is a whole one."""
    text = "for i = 1, (ARGV[1] or 0) * 50000 do end return redis.call('incr', KEYS[1]) -- next"
    learn(wire, text)
    with clients(wire, 2) as callers:
        callers[0].call("DEL", *KEYS)
        for key in KEYS:
            for client in callers:
                for _ in range(3):
                    client.send("EVAL", text, 1, key, 40)
        for key in KEYS:
            replies = [client.reply() for _ in range(3) for client in callers]
            assert sorted(replies) == [1, 2, 3, 4, 5, 6]


def test_endless_elsewhere(limited):
    """Scripts that went to their keys run on all cores at once; they are BUSY for all, and are killed."""
    text = "if ARGV[1] then while true do end end return 1 -- endless"
    learn(limited, text)
    with clients(limited, 2) as (kills, other), clients(limited, len(KEYS)) as runs:
        for client, key in zip(runs, KEYS):
            client.send("EVAL", text, 1, key, "on")
        wait_busy(kills)
        assert other.call("GET", KEYS[0]) == BUSY
        assert other.call("EVAL", text, 1, KEYS[1]) == BUSY

        def answered(client):
            kills.call("SCRIPT", "KILL")  # the next one may just have begun
            return select.select([client.sock], [], [], 0)[0]

        for client in runs:
            pollux.wait_for(lambda: answered(client), "the end of all scripts")
        replies = [client.reply() for client in runs]
        assert all(b"killed by user" in reply or reply == BUSY for reply in replies), replies
        assert any(b"killed by user" in reply for reply in replies)
        assert [other.call("EVAL", text, 1, key) for key in KEYS] == [1] * len(KEYS)


def test_turns_elsewhere(wire):
    """Long ones wait for each other, in the order in which each client asked; what follows them waits with them."""
    text = ("local n = redis.call('get', KEYS[1]) or 0 for i = 1, (ARGV[1] or 0) * 100000 do n = n + 1 end "
            "redis.call('append', KEYS[2], ARGV[2] or '') return redis.call('incr', KEYS[1]) -- turns")
    lists = ["{" + key + "}:order" for key in KEYS]
    for _ in range(8):
        with clients(wire, 1) as (client,):
            for key, order in zip(KEYS, lists):
                client.call("EVAL", text, 2, key, order)
    with clients(wire, 6) as callers:
        callers[0].call("DEL", *KEYS, *lists)
        for turn in range(5):
            for i, client in enumerate(callers):
                key = KEYS[(turn + i) % len(KEYS)]
                client.send("EVAL", text, 2, key, "{" + key + "}:order", 1 + turn % 2, f"{i}{turn} ")
                client.send("APPEND", "{" + key + "}:order", f"{i}{turn}a ")
        for client in callers:
            replies = [client.reply() for _ in range(10)]
            assert not [reply for reply in replies if not isinstance(reply, int)], replies
        assert sum(int(n or 0) for n in callers[0].call("MGET", *KEYS)) == 30
        words = [word.decode() for order in callers[0].call("MGET", *lists) for word in (order or b"").split()]
        assert len(words) == 60
        for i in range(6):
            for turn in range(5):
                assert words.index(f"{i}{turn}") < words.index(f"{i}{turn}a")


def test_leaves_what_runs_elsewhere(limited):
    """Clients that are gone hold up nobody: their scripts that wait are not run."""
    text = "redis.call('incr', KEYS[1]) for i = 1, (ARGV[1] or 0) * 1000000 do end return 1 -- leaves"
    learn(limited, text)
    with clients(limited, 1) as (looks,):
        assert looks.call("CONFIG", "SET", "busy-reply-threshold", 0) == b"+OK"
        looks.call("DEL", *KEYS)
        gone = [pollux.Client(limited.connect()) for _ in range(200)]
        for i, client in enumerate(gone):
            client.send("EVAL", text, 1, KEYS[i % len(KEYS)], 10)
        for client in gone:
            client.close(reset=True)
        assert looks.call("EVAL", text, 1, KEYS[0]) == 1
        assert sum(int(n or 0) for n in looks.call("MGET", *KEYS)) < 200


def test_seen_elsewhere(wire):
    """What others see of a script is the same wherever it runs: watched and blocked keys, tracking, MONITOR, users."""
    text = "redis.call('get', KEYS[1]) return redis.call('rpush', KEYS[2], ARGV[1] or 'x') -- seen"
    pairs = [(key, "{" + key + "}:list") for key in KEYS]
    for _ in range(8):
        with clients(wire, 1) as (client,):
            for pair in pairs:
                client.call("EVAL", text, 2, *pair)
    with clients(wire, 6) as (runs, waits, watches, monitors, hears, limited):
        runs.call("DEL", *(key for pair in pairs for key in pair))
        assert runs.call("ACL", "SETUSER", "few", "on", "nopass", "~key:*", "~{key:*", "+@all", "-rpush") == b"+OK"
        assert limited.call("AUTH", "few", "x") == b"+OK"
        assert monitors.call("MONITOR") == b"+OK"
        assert hears.call("SUBSCRIBE", "__redis__:invalidate")[0] == b"subscribe"
        to = runs.call("CLIENT", "LIST", "TYPE", "pubsub").split(b"id=")[1].split()[0]
        assert runs.call("CLIENT", "TRACKING", "ON", "REDIRECT", to) == b"+OK"
        for key, many in pairs:
            assert watches.call("WATCH", many) == b"+OK" and watches.call("MULTI") == b"+OK"
            waits.send("BLPOP", many, 0)
            pollux.wait_for(lambda: runs.call("CLIENT", "LIST").count(b"cmd=blpop") and
                            b"blocked_clients:1" in runs.call("INFO", "clients"), "a blocked client")
            denied = limited.call("EVAL", text, 2, key, many, "value")
            assert b"NOPERM" in denied or b"can't run this command" in denied, denied
            assert runs.call("EVAL", text, 2, key, many, "value") == 1
            assert waits.reply() == [many.encode(), b"value"]
            assert watches.call("PING") == b"+QUEUED" and watches.call("EXEC") is None
            assert limited.call("SET", key, "w") == b"+OK"
            for changed in (many, key):
                assert hears.reply() == [b"message", b"__redis__:invalidate", [changed.encode()]]
            seen = []
            while not (seen and b'"SET"' in seen[-1]):
                seen.append(monitors.line())
            seen = [line.split(b"] ", 1)[1] for line in seen if b"value" in line]
            assert [line.split()[0] for line in seen] == [b'"EVAL"', b'"EVAL"', b'"rpush"'], seen
        assert runs.call("ACL", "DELUSER", "few") == 1
