"""What connections may hold, who is closed when it is too much, and that a peak's memory comes back."""

import contextlib
import socket
import time

import pytest

import pollux

CORES = ["0", "0,1"]
MIB = 1 << 20


@pytest.fixture(scope="module", params=CORES)
def server(request):
    with contextlib.closing(pollux.Server({"cores": request.param})) as one:
        yield one.wait_ready()


@contextlib.contextmanager
def setting(admin, **values):
    """CONFIG SET for as long as the block runs."""
    names = [name.replace("_", "-") for name in values]
    before = {name: admin.call("CONFIG", "GET", name)[1] for name in names}
    assert admin.call("CONFIG", "SET", *(w for n, v in zip(names, values.values()) for w in (n, v))) == b"+OK"
    try:
        yield
    finally:
        assert admin.call("CONFIG", "SET", *(w for n, v in before.items() for w in (n, v))) == b"+OK"


def connect(server, name=None):
    s = socket.create_connection(("127.0.0.1", server.port), timeout=pollux.PATIENCE_S)
    client = pollux.Client(s)
    if name:
        assert client.call("CLIENT", "SETNAME", name) == b"+OK"
    return client


@pytest.fixture
def admin(server):
    with connect(server) as client:
        client.call("CLIENT", "NO-EVICT", "on")
        client.call("CLIENT", "NO-TOUCH", "on")
        yield client


def info(admin, field):
    return next(int(line.split(b":")[1]) for line in admin.call("INFO").splitlines() if line.startswith(field.encode() + b":"))


def listed(admin):
    lines = admin.call("CLIENT", "LIST").decode().splitlines()
    return {f["name"]: f for f in (dict(x.split("=", 1) for x in line.split(" ")) for line in lines)}


def begin_value(client, n, sent):
    """A command whose value of n bytes is there but for what is behind `sent`."""
    client.sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % n + b"x" * sent)


def closed(client):
    try:
        return client.sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_those_that_hold_most_are_closed(server, admin):
    with contextlib.ExitStack() as stack:
        small = [stack.enter_context(connect(server, f"small{i}")) for i in range(10)]
        big = [stack.enter_context(connect(server, f"big{i}")) for i in range(6)]
        spared = stack.enter_context(connect(server, "spared"))
        spared.call("CLIENT", "NO-EVICT", "on")
        evicted = info(admin, "evicted_clients")
        with setting(admin, maxmemory_clients="6mb"):
            begin_value(spared, 3 * MIB, 2 * MIB)
            for client in big:
                begin_value(client, 2 * MIB, MIB)
            pollux.wait_for(lambda: info(admin, "evicted_clients") - evicted >= 2, "clients to be closed")
            pollux.wait_for(lambda: sum(int(f["tot-mem"]) for f in listed(admin).values()) < 6 * MIB, "memory to be freed")
            left = listed(admin)
            assert "spared" in left and all(f"small{i}" in left for i in range(10))
            assert 1 <= sum(f"big{i}" in left for i in range(6)) <= 4
            assert all(c.call("PING") == b"+PONG" for c in small)
            assert sum(closed(c) for i, c in enumerate(big) if f"big{i}" not in left) >= 2


def test_a_share_of_maxmemory(server, admin):
    with setting(admin, maxmemory="200mb", maxmemory_clients="1%"), connect(server) as client:
        with contextlib.suppress(OSError):  # it may be closed before all is sent
            begin_value(client, 8 * MIB, 3 * MIB)
        assert closed(client)
    with setting(admin, maxmemory_clients="1%"), connect(server) as client:  # of nothing: no limit
        begin_value(client, 8 * MIB, 3 * MIB)
        client.sock.sendall(b"x" * (5 * MIB) + b"\r\n")
        assert client.reply() == b"+OK"


@pytest.mark.parametrize("what", ["output", "transaction"])
def test_other_memory_counts_too(server, admin, what):
    admin.call("SET", "large", "x" * 100000)
    with setting(admin, maxmemory_clients="4mb"), connect(server) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = info(admin, "evicted_clients")
        if what == "transaction":
            client.call("MULTI")
        with contextlib.suppress(OSError):
            for _ in range(200):
                client.send(*(["SET", "kept", "x" * 100000] if what == "transaction" else ["GET", "large"]))
        pollux.wait_for(lambda: info(admin, "evicted_clients") > before, "the client to be closed")


def test_output_limits_by_class(server, admin):
    admin.call("SET", "large", "x" * 100000)
    for limits, class_words in (("normal 2mb 0 0", None), ("normal 0 0 0 pubsub 2mb 0 0", ["SUBSCRIBE", "news"]),
                                ("normal 0 1mb 1", None)):
        with setting(admin, client_output_buffer_limit=limits), connect(server) as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            before = info(admin, "client_output_buffer_limit_disconnections")
            if class_words:
                client.call(*class_words)
            else:
                client.sock.sendall(pollux.encode("GET", "large") * 300)

            def passed():
                if class_words:
                    for _ in range(20):
                        admin.call("PUBLISH", "news", "x" * 100000)
                return info(admin, "client_output_buffer_limit_disconnections") > before

            pollux.wait_for(passed, f"{limits}: the client to be closed")
    with setting(admin, client_output_buffer_limit="normal 0 0 0"):
        pass


def test_query_limit(server, admin):
    with setting(admin, client_query_buffer_limit="1mb"), connect(server) as client:
        before = info(admin, "client_query_buffer_limit_disconnections")
        with contextlib.suppress(OSError):
            begin_value(client, 4 * MIB, 3 * MIB)
        assert closed(client)
        assert info(admin, "client_query_buffer_limit_disconnections") == before + 1


def test_maxclients_while_it_runs(server, admin):
    open_now = info(admin, "connected_clients")
    with setting(admin, maxclients=open_now + 2), connect(server) as a, connect(server) as b:
        assert a.call("PING") == b.call("PING") == b"+PONG"
        with connect(server) as c:
            assert c.line() == b"-ERR max number of clients reached"
        with setting(admin, maxclients=open_now + 3), connect(server) as c:
            assert c.call("PING") == b"+PONG"


def test_idle_connections(server, admin):
    with connect(server, "idle") as idle, connect(server, "blocked") as blocked:
        blocked.send("BLPOP", "nothing", "0")
        with setting(admin, timeout=1):
            pollux.wait_for(lambda: "idle" not in listed(admin), "the idle connection to be closed")
            assert idle.sock.recv(1) == b"" and "blocked" in listed(admin)


# Those that wait for seconds to pass run once.
SEVERAL = pytest.mark.parametrize("server", CORES[1:], indirect=True)


@SEVERAL
def test_memory_comes_back(server, admin):
    """A thousand connections that each sent and got a megabyte hold next to nothing afterwards."""
    n, value = 1000, b"x" * MIB
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(n)]
        assert all(c.call("PING") == b"+PONG" for c in clients)
        idle = info(admin, "mem_clients_normal")
        pipeline = pollux.encode("SET", "small", "y" * 1000) * 400
        for c in clients:
            c.sock.sendall(pollux.encode("SET", "large", value) + pipeline + pollux.encode("GET", "large"))
            assert c.reply() == b"+OK"
            for _ in range(400):
                assert c.reply() == b"+OK"
            assert c.reply() == value
        # Half of a command in memory of its own, and the rest of it.
        for c in clients:
            begin_value(c, 20000, 15000)
        pollux.wait_for(lambda: info(admin, "mem_clients_normal") > idle + n * 15000, "what is unfinished to be counted")
        for c in clients:
            c.sock.sendall(b"x" * 5000 + b"\r\n")
            assert c.reply() == b"+OK"
        pollux.wait_for(lambda: info(admin, "mem_clients_normal") < idle * 1.1 + MIB, "buffers to be given back")
        assert all(c.call("PING") == b"+PONG" for c in clients[::100])


@SEVERAL
def test_the_greatest_buffers_of_late(server, admin):
    with connect(server) as client:
        begin_value(client, 4 * MIB, 3 * MIB)
        pollux.wait_for(lambda: info(admin, "client_recent_max_input_buffer") >= 3 * MIB, "the query to be seen")
        client.sock.sendall(b"x" * MIB + b"\r\n")
        assert client.reply() == b"+OK"
    pollux.wait_for(lambda: info(admin, "client_recent_max_input_buffer") < MIB, "it to be forgotten")


def test_a_pause_holds_little(server, admin):
    """Who writes on and on while writing is paused is not read from further; reading goes on; all of it is done then."""
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(connect(server)) for _ in range(20)]
        before = server.resident()
        assert admin.call("CLIENT", "PAUSE", 60000, "WRITE") == b"+OK"
        sent = []
        for i, writer in enumerate(writers):
            command = pollux.encode("INCR", f"paused:{i}")
            writer.sock.setblocking(False)
            left, whole = 0, command * 4096
            with contextlib.suppress(BlockingIOError):
                for _ in range(1000):
                    left += writer.sock.send(whole[left % len(command):])
            assert left < 1000 * len(whole), "it was never stopped"
            sent.append((left, command))
        begin = time.monotonic()
        assert admin.call("GET", "paused:0") is None and time.monotonic() - begin < 5
        assert server.resident() - before < 20 * 8 * MIB
        assert admin.call("CLIENT", "UNPAUSE") == b"+OK"
        for i, (writer, (left, command)) in enumerate(zip(writers, sent)):
            writer.sock.settimeout(pollux.PATIENCE_S)
            for n in range(1, left // len(command) + 1):
                assert writer.reply() == n
