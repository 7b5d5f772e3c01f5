"""Replies that the server writes over several turns: whole, in order, and nobody else waits for them."""

import contextlib
import select
import socket
import threading

import pytest

import pollux

pytestmark = pytest.mark.wires("socket", "tap")

MANY = 100000
# By type: what adds the elements i … i + n, and the commands that give them all.
KINDS = {
    "list": (lambda i, n: ["RPUSH", "big", *(f"e{j:07d}" for j in range(i, i + n))], [["LRANGE", "big", 0, -1]]),
    "set": (lambda i, n: ["SADD", "big", *(f"e{j:07d}" for j in range(i, i + n))], [["SMEMBERS", "big"]]),
    "hash": (
        lambda i, n: ["HSET", "big", *(w for j in range(i, i + n) for w in (f"e{j:07d}", f"v{j:07d}"))],
        [["HKEYS", "big"], ["HVALS", "big"], ["HGETALL", "big"]],
    ),
    "zset": (
        lambda i, n: ["ZADD", "big", *(w for j in range(i, i + n) for w in (j, f"e{j:07d}"))],
        [["ZRANGE", "big", 0, -1], ["ZRANGE", "big", "-inf", "+inf", "BYSCORE"], ["ZRANGE", "big", 0, -1, "REV"]],
    ),
}


def fill(client, kind):
    add, _ = KINDS[kind]
    for i in range(0, MANY, 1000):
        client.send(*add(i, 1000))
    for _ in range(0, MANY, 1000):
        client.reply()


def expected(command):
    names = [b"e%07d" % i for i in range(MANY)]
    values = [b"v%07d" % i for i in range(MANY)]
    if command[0] == "HVALS":
        return values
    if command[0] == "HGETALL":
        return sorted(names + values)
    return names


@pytest.mark.parametrize("kind", KINDS)
def test_whole_and_in_order(client, kind):
    fill(client, kind)
    for command in KINDS[kind][1]:
        reply = client.call(*command)
        wanted = expected(command)
        if "REV" in command:
            wanted = wanted[::-1]
        assert reply == wanted if kind in ("list", "zset") else sorted(reply) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_pipelines_keep_their_order(client, kind):
    """What stands behind the long reply is answered behind it, on its key and on others."""
    fill(client, kind)
    command = KINDS[kind][1][0]
    client.send("SET", "other", "1")
    client.send(*command)
    client.send("GET", "other")
    client.send("DEL", "big")
    client.send(*command)
    client.send("INCR", "other")
    assert client.reply() == b"+OK"
    assert len(client.reply()) == MANY
    assert client.reply() == b"1"
    assert client.reply() == 1
    assert client.reply() == []
    assert client.reply() == 2


def test_a_reply_is_of_one_moment(wire, client):
    """Others change the value all the time; each reply shows it as it was at one moment."""
    fill(client, "list")
    stop = threading.Event()
    failures = []

    def churn():
        # Takes an element away in front and adds it behind: the length and the set of elements never change.
        with pollux.Client(wire.connect()) as other:
            while not stop.is_set():
                if other.call("LMOVE", "big", "big", "LEFT", "RIGHT") is None:
                    failures.append("nothing to move")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            reply = client.call("LRANGE", "big", 0, -1)
            assert len(reply) == MANY
            first = reply.index(b"e0000000")
            assert reply[first:] + reply[:first] == [b"e%07d" % i for i in range(MANY)]
    finally:
        stop.set()
        thread.join()
    assert not failures


def test_what_needs_all_slots_waits(wire, client):
    fill(client, "set")
    with pollux.Client(wire.connect()) as other:
        for _ in range(5):
            client.send("SMEMBERS", "big")
            other.call("DBSIZE")
            other.call("SWAPDB", 0, 1)
            assert len(client.reply()) in (0, MANY)
            other.call("SWAPDB", 0, 1)
        client.send("SMEMBERS", "big")
        other.call("FLUSHALL")
        assert len(client.reply()) in (0, MANY)


def test_a_reader_that_goes_away(wire, client):
    fill(client, "hash")
    for _ in range(20):
        leaver = wire.connect()
        leaver.sendall(pollux.encode("HGETALL", "big") * 3)
        leaver.recv(100)
        with contextlib.suppress(OSError):
            leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        leaver.close()
    assert client.call("HLEN", "big") == MANY
    assert client.call("HDEL", "big", "e0000000") == 1


def test_the_next_in_line_may_be_long_too(wire, client):
    """Behind a command that borrowed the slot and is over at once, while others wait for it."""
    fill(client, "list")
    with pollux.Client(wire.connect()) as other:
        for _ in range(20):
            client.send("LRANGE", "big", 0, -1)
            migrate = pollux.encode("MIGRATE", "127.0.0.1", "none", "big", 0, 10)
            other.sock.sendall((migrate + pollux.encode("LRANGE", "big", 0, -1)) * 2)
            for _ in range(2):
                assert other.reply().startswith(b"-IOERR")
                assert len(other.reply()) == MANY
            assert len(client.reply()) == MANY


@pytest.mark.parametrize("command", ["HRANDFIELD", "ZRANDMEMBER", "SRANDMEMBER"])
def test_a_reply_without_end_ends_with_its_reader(wire, client, command):
    """Wherever the key is: whoever reads it next need not wait for ever."""
    add = {"H": ("HSET", "field"), "Z": ("ZADD", 1), "S": ("SADD",)}[command[0]]
    for i in range(8):
        key = f"draw:{i}"
        client.call(add[0], key, *add[1:], "x" * 100)
        leaver = wire.connect()
        leaver.sendall(pollux.encode(command, key, -(1 << 40)))
        leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        leaver.close()
        assert client.call("EXISTS", key) == 1


def test_replies_that_nobody_wants(client):
    fill(client, "set")
    client.send("CLIENT", "REPLY", "SKIP")
    client.send("SMEMBERS", "big")
    assert client.call("PING") == b"+PONG"


ENDLESS = [["SRANDMEMBER", "s", -(2**62)], ["HRANDFIELD", "h", -(2**61)], ["ZRANDMEMBER", "z", -(2**61)]]


@pytest.mark.parametrize("command", ENDLESS, ids=lambda command: command[0])
def test_replies_without_end(wire, client, command):
    """They end at a limit, when the reader goes away, and do not begin where nobody wants them."""
    client.call("SADD", "s", "a", "b", "c")
    client.call("HSET", "h", "a", "1", "b", "2")
    client.call("ZADD", "z", 1, "a", 2, "b")
    client.call("CONFIG", "SET", "client-output-buffer-limit", "normal 4mb 0 0")
    with wire.connect() as reader:
        reader.sendall(pollux.encode(*command))
        with contextlib.suppress(ConnectionError):
            while reader.recv(1 << 16):
                pass
    assert client.call("EXISTS", command[1]) == 1
    client.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
    for linger in (b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"):
        leaver = wire.connect()
        leaver.sendall(pollux.encode(*command) + pollux.encode("PING"))
        assert client.call("PING") == b"+PONG"
        with contextlib.suppress(OSError):
            leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        leaver.close()
        assert client.call("EXISTS", command[1]) == 1
    with pollux.Client(wire.connect()) as silent:
        silent.send("CLIENT", "REPLY", "OFF")
        silent.send(*command)
        silent.send("CLIENT", "REPLY", "ON")
        assert silent.reply() == b"+OK"
    assert client.call("DEL", command[1]) == 1


def fill_stream(client):
    for i in range(0, MANY, 1000):
        for j in range(i, i + 1000):
            client.send("XADD", "big", f"{j + 1}-1", "field", f"v{j:07d}")
        for _ in range(1000):
            client.reply()
    client.call("XGROUP", "CREATE", "big", "g", 0)
    for consumer in ("a", "b"):
        client.call("XREADGROUP", "GROUP", "g", consumer, "COUNT", 3000, "STREAMS", "big", ">")


def dump(client, key):
    kind = client.call("TYPE", key)[1:]
    command = {
        b"list": ("LRANGE", key, 0, -1),
        b"set": ("SMEMBERS", key),
        b"hash": ("HGETALL", key),
        b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
        b"stream": ("XINFO", "STREAM", key, "FULL", "COUNT", 0),
    }[kind]
    reply = client.call(*command)
    return sorted(reply) if kind in (b"set", b"hash") else reply


@pytest.mark.parametrize("kind", [*KINDS, "stream"])
def test_copies_of_big_values(wire, client, kind):
    """The copy is of one moment, whatever core its key is on, and what is sent behind it sees it."""
    if kind == "stream":
        fill_stream(client)
    else:
        fill(client, kind)
    whole = dump(client, "big")
    with pollux.Client(wire.connect()) as other:
        for i in range(4):
            to = "{big}copy" if i == 0 else f"copy:{i}"
            client.send("COPY", "big", to)
            client.send("EXISTS", to)
            other.send("DEL", to) if i == 3 else other.send("PING")
            assert client.reply() == 1
            exists = client.reply()
            assert exists == 1 or i == 3
            other.reply()
            if exists and i < 3:
                assert dump(client, to) == whole
            client.send("COPY", "big", to, "REPLACE")
            client.send("COPY", "big", to)
            client.send("DEL", to)
            assert [client.reply() for _ in range(3)] == [1, 0, 1]
    client.call("COPY", "big", "big", "DB", 1)
    client.call("DEL", "big")
    client.call("SELECT", 1)
    assert dump(client, "big") == whole


def test_a_copy_that_nobody_waits_for(wire, client):
    fill(client, "hash")
    for to in ("{big}a", "b", "c", "d"):
        leaver = wire.connect()
        leaver.sendall(pollux.encode("PING") + pollux.encode("COPY", "big", to))
        leaver.recv(100)
        leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        leaver.close()
        pollux.wait_for(lambda to=to: client.call("EXISTS", to), f"the copy {to}")
        assert client.call("HLEN", to) == MANY
    with pollux.Client(wire.connect()) as silent:
        silent.send("CLIENT", "REPLY", "OFF")
        silent.send("COPY", "big", "e")
        silent.send("CLIENT", "REPLY", "ON")
        assert silent.reply() == b"+OK"
        assert silent.call("HLEN", "e") == MANY


SORTS = [
    (["ALPHA"], lambda names: sorted(names)),
    (["ALPHA", "DESC"], lambda names: sorted(names, reverse=True)),
    (["ALPHA", "LIMIT", 5000, 4000], lambda names: sorted(names)[5000:9000]),
    (["ALPHA", "GET", "#", "GET", "#", "LIMIT", 0, 3000], lambda names: [n for n in sorted(names)[:3000] for _ in "12"]),
    (["LIMIT", MANY, 10, "ALPHA"], lambda names: []),
]


@pytest.mark.parametrize("kind", ["list", "set", "zset"])
def test_sorting_many(client, kind):
    names = [b"%x%05d" % (i * 2654435761 % (1 << 32), i) for i in range(MANY)]
    words = {"list": ["RPUSH"], "set": ["SADD"], "zset": ["ZADD"]}[kind]
    for i in range(0, MANY, 1000):
        some = [w for n in names[i : i + 1000] for w in ([i, n] if kind == "zset" else [n])]
        client.call(*words, "big", *some)
    for options, wanted in SORTS:
        assert client.call("SORT", "big", *options) == wanted(names)
        expected = wanted(names)
        for to in ("{big}to", "to:1", "to:2"):
            client.send("SORT", "big", *options, "STORE", to)
            client.send("LRANGE", to, 0, -1)
            assert client.reply() == len(expected)
            assert client.reply() == expected
    if kind == "list":
        assert client.call("SORT", "big", "BY", "nosort", "LIMIT", 10, 5000) == names[10:5010]
        assert client.call("SORT", "big", "BY", "nosort") == names
    # Names of other keys: in one turn, so in another way.
    assert client.call("SORT", "big", "ALPHA", "GET", "#", "GET", "none:*", "LIMIT", 7, 3000) == [
        w for n in sorted(names)[7:3007] for w in (n, None)
    ]
    assert client.call("SORT", "big").startswith(b"-ERR One or more scores")
    assert client.call("SORT", "big", "STORE", "big", "ALPHA") == MANY
    assert client.call("LRANGE", "big", 0, -1) == sorted(names)


def test_sorting_many_numbers(client):
    numbers = [i * 2654435761 % 1000003 - 500000 for i in range(MANY)]
    for i in range(0, MANY, 1000):
        client.call("RPUSH", "big", *numbers[i : i + 1000])
    wanted = [b"%d" % n for n in sorted(numbers)]
    assert client.call("SORT", "big") == wanted
    assert client.call("SORT_RO", "big", "DESC") == wanted[::-1]
    assert client.call("SORT", "big", "LIMIT", 3, 4) == wanted[3:7]


def test_what_waits_is_served_by_a_sort(wire, client):
    fill(client, "set")
    for to in ("{big}waits", "waits:1", "waits:2"):
        with pollux.Client(wire.connect()) as other:
            other.send("BLPOP", to, 0)
            pollux.wait_for(lambda: b"blocked_clients:1" in client.call("INFO", "clients"), "the one that waits")
            client.send("SORT", "big", "ALPHA", "STORE", to)
            client.send("LLEN", to)
            assert client.reply() == MANY
            assert other.reply() == [to.encode(), b"e0000000"]
            assert client.reply() == MANY - 1


WORKS = [
    ["COPY", "big", "{big}copy"],
    ["COPY", "big", "copy"],
    ["SORT", "big", "ALPHA", "LIMIT", 0, 1],
    ["SORT", "big", "ALPHA", "STORE", "sorted"],
]


def test_long_work_holds_up_nobody_else(wire, client):
    """While a big value is copied or sorted, commands on other keys are answered."""
    for i in range(0, 3 * MANY, 1000):
        client.send("ZADD", "big", *(w for j in range(i, i + 1000) for w in (j, f"e{j:07d}")))
    for _ in range(0, 3 * MANY, 1000):
        client.reply()
    with pollux.Client(wire.connect()) as other:
        for work in WORKS:
            for _ in range(20):  # a slow client may miss all of it
                during = 0
                client.send(*work)
                while other.call("INCR", "counter") and not select.select([client.sock], [], [], 0)[0]:
                    during += 1
                assert client.reply() in (1, [b"e0000000"], 3 * MANY)
                client.call("DEL", "{big}copy", "copy")
                if during > 4:
                    break
            else:
                raise AssertionError(f"{work[0]} ran in one turn")


def test_length_of_a_hash_whose_fields_are_over(client):
    """As soon as one of many fields is over, all of them that are over at that time count no more."""
    many, stay = 20000, 5
    client.call("HSET", "h", *(w for j in range(stay) for w in (f"stays{j}", "v")))
    seconds, micros = client.call("TIME")
    over = int(seconds) * 1000 + int(micros) // 1000 + 2000
    for i in range(0, many, 1000):
        names = [f"f{j}" for j in range(i, i + 1000)]
        client.send("HSET", "h", *(w for name in names for w in (name, "v")))
        client.send("HPEXPIREAT", "h", over, "FIELDS", len(names), *names)
    for _ in range(0, many, 1000):
        client.reply()
        assert set(client.reply()) == {1}
    assert client.call("HLEN", "h") == many + stay
    while True:
        client.send("HGET", "h", "f1")
        client.send("HLEN", "h")
        there, length = client.reply(), client.reply()
        if there is None:
            assert length == stay
            break
