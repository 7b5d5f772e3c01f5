"""MIGRATE between this server and redis-server, both ways, and between two of ours."""

import contextlib
import select
import socket
import threading
import time

import pytest

import pollux

pytestmark = pytest.mark.wires("socket")


def connect(server):
    return pollux.Client(socket.create_connection((server.host, server.port), timeout=30))


@pytest.fixture(params=["from redis", "to redis", "among ours"])
def pair(request, wire):
    """Clients of a source and a target, and where the target is."""
    cores = ",".join(str(i) for i in range(wire.cores))
    with contextlib.ExitStack() as stack:
        # The wire's own server is only asked how many cores; these two are the test's.
        ours = stack.enter_context(contextlib.closing(pollux.Server({"cores": cores})))
        other = pollux.Server({"cores": cores}) if request.param == "among ours" else pollux.Redis({})
        stack.enter_context(contextlib.closing(other))
        source, target = (other, ours) if request.param == "from redis" else (ours, other)
        for server in (source, target):
            server.wait_ready()
        yield stack.enter_context(connect(source)), stack.enter_context(connect(target)), target


def migrate(source, target, key, *options, db=0, timeout=10000, host=None):
    return source.call("MIGRATE", host or target.host, target.port, key, db, timeout, *options)


def fill(client):
    """A key of each kind and encoding; their names."""
    client.call("SET", "s:int", 12)
    client.call("SET", "s:text", "text" * 1000)
    client.call("SET", "s:big", bytes(range(256)) * 1000)
    client.call("SADD", "set:int", *range(100))
    client.call("SADD", "set:big", *(f"m{i}" for i in range(2000)))
    client.call("HSET", "hash", "f", "v", "g", 2)
    client.call("HSET", "hash:big", *(w for i in range(1000) for w in (f"f{i}", i)))
    client.call("RPUSH", "list", *(f"element {i}" for i in range(3000)))
    client.call("ZADD", "zset", 1.5, "a", 2, "b")
    client.call("ZADD", "zset:big", *(w for i in range(1000) for w in (i / 7, f"m{i}")))
    client.call("XADD", "stream", "1-1", "f", "v")
    client.call("XGROUP", "CREATE", "stream", "g", "0")
    return sorted(client.call("KEYS", "*"))


def content(client, key):
    kind = client.call("TYPE", key)
    if kind == b"+string":
        return client.call("GET", key)
    if kind == b"+list":
        return client.call("LRANGE", key, 0, -1)
    if kind == b"+set":
        return sorted(client.call("SMEMBERS", key))
    if kind == b"+hash":
        flat = client.call("HGETALL", key)
        return sorted(zip(flat[::2], flat[1::2]))
    if kind == b"+zset":
        return client.call("ZRANGE", key, 0, -1, "WITHSCORES")
    return client.call("XRANGE", key, "-", "+"), client.call("XINFO", "GROUPS", key)


def test_every_type(pair):
    source, target, where = pair
    keys = fill(source)
    source.call("PEXPIRE", "s:text", 1000000)
    want = {key: (content(source, key), source.call("OBJECT", "ENCODING", key)) for key in keys}
    assert migrate(source, where, "", "KEYS", *keys) == b"+OK"
    assert source.call("DBSIZE") == 0
    assert sorted(target.call("KEYS", "*")) == keys
    for key in keys:
        assert (content(target, key), target.call("OBJECT", "ENCODING", key)) == want[key], key
        assert (target.call("PTTL", key) > 900000) == (key == b"s:text")
    assert target.call("PTTL", "s:text") <= 1000000


def test_copy_and_replace(pair):
    source, target, where = pair
    source.call("SET", "k", "new")
    assert migrate(source, where, "k", "COPY") == b"+OK"
    assert source.call("GET", "k") == target.call("GET", "k") == b"new"
    target.call("SET", "k", "old")
    busy = b"-ERR Target instance replied with error: BUSYKEY Target key name already exists."
    assert migrate(source, where, "k") == busy
    assert (source.call("GET", "k"), target.call("GET", "k")) == (b"new", b"old")
    assert migrate(source, where, "k", "REPLACE") == b"+OK"
    assert (source.call("GET", "k"), target.call("GET", "k")) == (None, b"new")


def test_some_keys(pair):
    """What the target takes is gone here, what it refuses stays, what is not there is left out."""
    source, target, where = pair
    for i in range(40):
        source.call("SET", f"k{i}", i)
    target.call("SET", "k7", "mine")
    answer = migrate(source, where, "", "KEYS", "none", *(f"k{i}" for i in range(40)), "k3")
    assert answer.startswith(b"-ERR Target instance replied with error: BUSYKEY")
    assert source.call("KEYS", "*") == [b"k7"]
    assert target.call("DBSIZE") == 40
    assert target.call("GET", "k7") == b"mine"


def test_no_key(pair):
    source, _, where = pair
    assert migrate(source, where, "none") == b"+NOKEY"
    assert migrate(source, where, "", "KEYS") == b"+NOKEY"
    assert migrate(source, where, "", "KEYS", "none", "nor this") == b"+NOKEY"


def test_wrong_words(pair):
    source, _, where = pair
    source.call("SET", "k", "v")
    keys = b"-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
    assert migrate(source, where, "k", "KEYS", "a") == keys
    assert migrate(source, where, "k", "BOGUS") == b"-ERR syntax error"
    assert migrate(source, where, "k", "AUTH") == b"-ERR syntax error"
    assert migrate(source, where, "k", "AUTH2", "a") == b"-ERR syntax error"
    assert migrate(source, where, "k", db="x") == b"-ERR value is not an integer or out of range"
    assert migrate(source, where, "k", timeout="x") == b"-ERR value is not an integer or out of range"
    assert migrate(source, where, "k", "BOGUS", timeout="x") == b"-ERR syntax error"
    assert source.call("GET", "k") == b"v"


def test_database(pair):
    source, target, where = pair
    source.call("SET", "k", "v")
    answer = migrate(source, where, "k", db=100)
    assert answer == b"-ERR Target instance replied with error: ERR DB index is out of range"
    assert source.call("GET", "k") == b"v"
    target.call("DEL", "k")  # the target stored it in database 0
    assert migrate(source, where, "k", db=3) == b"+OK"
    target.call("SELECT", 3)
    assert target.call("GET", "k") == b"v"


def test_password(pair):
    source, target, where = pair
    target.call("CONFIG", "SET", "requirepass", "secret")
    source.call("SET", "k", "v")
    no_auth = b"-ERR Target instance replied with error: NOAUTH Authentication required."
    wrong = b"-ERR Target instance replied with error: WRONGPASS invalid username-password pair or user is disabled."
    assert migrate(source, where, "k") == no_auth
    assert migrate(source, where, "k", "AUTH", "keys") == wrong
    assert migrate(source, where, "k", "AUTH2", "default", "wrong") == wrong
    assert source.call("GET", "k") == b"v"
    assert migrate(source, where, "", "AUTH2", "default", "secret", "KEYS", "k") == b"+OK"
    assert source.call("EXISTS", "k") == 0
    source.call("SET", "k", "w")
    assert migrate(source, where, "k", "REPLACE", "AUTH", "secret") == b"+OK"
    assert target.call("GET", "k") == b"w"


def test_nobody_there(pair):
    source, _, _ = pair
    source.call("SET", "k", "v")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        answer = source.call("MIGRATE", "127.0.0.1", port, "k", 0, 1000)
    assert answer == b"-IOERR error or timeout writing to target instance"
    for host, port, what in (("127.0.0.1", "x", b"writing"), ("no.such.host.invalid", 6379, b"connecting")):
        answer = source.call("MIGRATE", host, port, "k", 0, 1000)
        assert answer.startswith(b"-IOERR error or timeout " + what), answer
    assert source.call("GET", "k") == b"v"


def test_name_of_a_host(pair):
    source, target, where = pair
    source.call("SET", "k", "v")
    assert migrate(source, where, "k", host="localhost") == b"+OK"
    assert target.call("GET", "k") == b"v"


class Target:
    """A target that takes everything and says what it is told to."""

    def __init__(self, answer=b""):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answer = answer
        self.connections = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.connections.append(connection)
                if self.answer is None:
                    connection.close()
                    continue
                connection.recv(1 << 20)
                connection.sendall(self.answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for connection in self.connections:
            connection.close()


READING = b"-IOERR error or timeout reading to target instance"


def test_silence_is_bounded(pair):
    source, _, _ = pair
    source.call("SET", "k", "v")
    with Target() as target:
        begin = time.monotonic()
        assert source.call("MIGRATE", "127.0.0.1", target.port, "k", 0, 300) == READING
        assert 0.25 < time.monotonic() - begin < 5
    assert source.call("GET", "k") == b"v"


def test_half_an_answer(pair):
    """SELECT and the first key are answered: that key is gone, the other stays."""
    source, _, _ = pair
    source.call("MSET", "{k}1", "v", "{k}2", "w")
    with Target(b"+OK\r\n+OK\r\n+O") as target:
        answer = source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 300, "KEYS", "{k}1", "{k}2")
        assert answer == READING
    assert source.call("MGET", "{k}1", "{k}2") == [None, b"w"]


def test_target_hangs_up(pair):
    source, _, _ = pair
    source.call("SET", "k", "v")
    with Target(None) as target:
        answer = source.call("MIGRATE", "127.0.0.1", target.port, "k", 0, 5000)
        assert answer.startswith(b"-IOERR error or timeout"), answer
    assert source.call("GET", "k") == b"v"


def test_others_go_on(wire):
    """While a migration waits, other slots are served; commands on the key wait and see its end."""
    with pollux.Client(wire.connect()) as one, pollux.Client(wire.connect()) as two, Target() as target:
        one.call("MSET", "k", "v", "other", "w")
        one.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 1000 * pollux.PATIENCE_S)
        pollux.wait_for(lambda: target.connections, "the migration to begin")
        for i in range(200):
            assert two.call("SET", f"other{i}", i) == b"+OK"
        assert two.call("GET", "other") == b"w"
        assert two.call("MGET", "other", "other1") == [b"w", b"1"]
        with pollux.Client(wire.connect()) as three:
            two.send("APPEND", "k", "x")
            for _ in range(20):
                assert three.call("GET", "other") == b"w"
            assert not select.select([one.sock, two.sock], [], [], 0)[0], "the migration has ended, or does not hold its key"
        target.answer = None  # nor does another attempt go on
        for connection in target.connections:
            connection.shutdown(socket.SHUT_RDWR)
        assert two.reply() == 2
        assert one.reply() == READING
        assert one.call("GET", "k") == b"vx"


def test_the_asker_goes_away(wire):
    with pollux.Client(wire.connect()) as client, Target() as target:
        client.call("SET", "k", "v")
        for _ in range(5):
            asker = pollux.Client(wire.connect())
            asker.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 200)
            time.sleep(0.05)
            asker.close(reset=True)
        assert client.call("GET", "k") == b"v"


def test_to_itself(wire):
    """The target waits for the key that the source holds; the time-out ends it."""
    with pollux.Client(wire.connect()) as client:
        client.call("SET", "k", "v")
        assert client.call("MIGRATE", wire.host, wire.port, "k", 0, 300) == READING
        assert client.call("GET", "k") == b"v"


def test_many_at_once(wire):
    """Keys travel to and fro between two servers while others look; none is lost."""
    cores = ",".join(str(i) for i in range(wire.cores))
    with contextlib.closing(pollux.Server({"cores": cores})) as other:
        other.wait_ready()
        sides = [wire.server, other]
        keys = [f"key{i}" for i in range(30)]
        with connect(sides[0]) as first:
            first.call("MSET", *(w for key in keys for w in (key, key)))
        failures = []

        def move(start):
            try:
                with connect(sides[0]) as a, connect(sides[1]) as b:
                    for i in range(60):
                        key = keys[(start * 7 + i * 11) % len(keys)]
                        client, to = ((a, sides[1]), (b, sides[0]))[(start + i) % 2]
                        answer = migrate(client, to, key, timeout=2000)
                        assert answer in (b"+OK", b"+NOKEY") or answer.startswith((b"-IOERR", b"-ERR Target")), answer
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=move, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        with connect(sides[0]) as a, connect(sides[1]) as b:
            for key in keys:
                found = [c.call("GET", key) for c in (a, b)]
                assert key.encode() in found, f"{key} is lost"


@pytest.mark.wires("socket", "tap", "xdp")
def test_over_each_wire(wire):
    """Connections that the server makes itself, over kernel sockets and over its own TCP."""
    address = getattr(wire, "client_address", "127.0.0.1")
    redis = pollux.Redis({"bind": "0.0.0.0", "protected-mode": "no"})
    with contextlib.closing(redis), pollux.Client(wire.connect()) as ours:
        redis.wait_ready()
        big = bytes(range(256)) * 16384
        want = {f"key{i}".encode(): b"v%d" % i for i in range(300)} | {b"big": big}
        ours.call("MSET", *(word for pair in want.items() for word in pair))
        assert ours.call("MIGRATE", address, redis.port, "", 0, 20000, "KEYS", *want) == b"+OK"
        assert ours.call("DBSIZE") == 0
        with connect(redis) as theirs:
            assert theirs.call("MGET", *want) == list(want.values())
            assert theirs.call("MIGRATE", wire.host, wire.port, "", 0, 20000, "KEYS", *want) == b"+OK"
        assert ours.call("MGET", *want) == list(want.values())
        answer = ours.call("MIGRATE", address, redis.port + 1, "big", 0, 500)
        assert answer.startswith(b"-IOERR error or timeout"), answer


def test_figures_meanwhile(wire):
    """What looks at no key does not wait for one that is under way."""
    with pollux.Client(wire.connect()) as one, pollux.Client(wire.connect()) as two, Target() as target:
        one.call("SET", "k", "v")
        one.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 800)
        time.sleep(0.1)
        begin = time.monotonic()
        for words in (["INFO"], ["CLIENT", "LIST"], ["DBSIZE"], ["CONFIG", "SET", "timeout", "0"], ["MEMORY", "STATS"]):
            two.call(*words)
        assert time.monotonic() - begin < 0.5
        assert one.reply() == READING


def test_fields_that_expire(wire):
    """Their times travel with them, but not to a server that does not know such hashes."""
    cores = ",".join(str(i) for i in range(wire.cores))
    with contextlib.ExitStack() as stack:
        servers = [pollux.Server({"cores": cores}), pollux.Redis({})]
        for server in servers:
            stack.enter_context(contextlib.closing(server))
        for server in servers:
            server.wait_ready()
        ours = stack.enter_context(pollux.Client(wire.connect()))
        ours.call("HSET", "h", "a", 1, "b", 2)
        assert ours.call("HPEXPIRE", "h", 100000, "FIELDS", 1, "a") == [1]
        wrong = b"-ERR Target instance replied with error: ERR DUMP payload version or checksum are wrong"
        assert migrate(ours, servers[1], "h") == wrong
        assert migrate(ours, servers[0], "h") == b"+OK"
        other = stack.enter_context(connect(servers[0]))
        times = other.call("HPTTL", "h", "FIELDS", 2, "a", "b")
        assert 90000 < times[0] <= 100000 and times[1] == -1
        assert other.call("HMGET", "h", "a", "b") == [b"1", b"2"]
