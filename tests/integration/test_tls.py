"""TLS and the UNIX socket, over kernel sockets and over our own stack: the clients that people use, and OpenSSL's
own tool for what those do not show."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import tempfile

import pytest
import redis

import pollux


# --- certificates ----------------------------------------------------------------------------------


class Certificates:
    """A certificate authority in a folder of its own, and what it signed."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pollux-tls-")
        for ca in ("ca", "other-ca"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                         "-subj", f"/CN={ca}", "-keyout", self(f"{ca}.key"), "-out", self(f"{ca}.crt"))
        for name, ca in (("server", "ca"), ("new", "ca"), ("client", "ca"), ("stranger", "other-ca")):
            self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                         "-keyout", self(f"{name}.key"), "-out", self(f"{name}.csr"))
            self.openssl("x509", "-req", "-in", self(f"{name}.csr"), "-CA", self(f"{ca}.crt"), "-CAkey",
                         self(f"{ca}.key"), "-CAcreateserial", "-days", "2", "-out", self(f"{name}.crt"))
        self.openssl("ec", "-in", self("server.key"), "-aes256", "-passout", "pass:secret", "-out", self("locked.key"))
        # The server's pair under names whose content changes.
        self.use("server")

    def __call__(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *words):
        pollux.run("openssl", *words)

    def use(self, name):
        shutil.copy(self(f"{name}.crt"), self("cert.pem"))
        shutil.copy(self(f"{name}.key"), self("key.pem"))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def certificates():
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    made = Certificates()
    yield made
    made.close()


class Secure:
    """A wire whose server speaks TLS too, and listens at a UNIX socket."""

    def __init__(self, kind, cores, certificates):
        self.certificates = certificates
        self.folder = tempfile.mkdtemp(prefix="pollux-unix-")
        self.path = os.path.join(self.folder, "pollux.sock")
        self.tls_port = pollux.free_port()
        self.wire = pollux.WIRES[kind](cores=cores, options={
            "tls-port": self.tls_port, "tls-cert-file": certificates("cert.pem"),
            "tls-key-file": certificates("key.pem"), "tls-ca-cert-file": certificates("ca.crt"),
            "tls-auth-clients": "no", "unixsocket": self.path, "unixsocketperm": "700"})
        nic = [pollux.program("polluxctl"), "-p", str(self.wire.port), "--runtime-dir", self.wire.server.folder, "nic"]
        pollux.wait_for(lambda: pollux.run(*nic, check=False).returncode == 0, "the control plane")

    @property
    def host(self):
        return self.wire.host

    def context(self, version=None, client=None, verify=True):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.load_verify_locations(self.certificates("ca.crt"))
        if not verify:
            made.verify_mode = ssl.CERT_NONE
        if version:
            made.minimum_version = made.maximum_version = version
        if client:
            made.load_cert_chain(self.certificates(f"{client}.crt"), self.certificates(f"{client}.key"))
        return made

    def connect(self, context=None, session=None, port=None):
        raw = socket.create_connection((self.host, port or self.tls_port), timeout=pollux.PATIENCE_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return (context or self.context()).wrap_socket(raw, session=session, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise

    def client(self, *arguments, **keywords):
        return pollux.Client(self.connect(*arguments, **keywords))

    def plain(self):
        return pollux.Client(self.wire.connect())

    def unix(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(pollux.PATIENCE_S)
        s.connect(self.path)
        return pollux.Client(s)

    def set(self, *words):
        with self.unix() as client:
            return client.call("CONFIG", "SET", *words)

    @contextlib.contextmanager
    def options(self, **options):
        """Options that hold for a while. Underscores stand for dashes."""
        names = [name.replace("_", "-") for name in options]
        with self.unix() as client:
            before = {name: client.call("CONFIG", "GET", name)[1] for name in names}
        new = [word for name, value in zip(names, options.values()) for word in (name, value)]
        assert self.set(*new) == b"+OK"
        try:
            yield
        finally:
            assert self.set(*[word for name in names for word in (name, before[name])]) == b"+OK"

    def counters(self):
        sums = {}
        for core in self.wire.nic():
            for name, value in core["counters"].items():
                sums[name] = sums.get(name, 0) + value
        return sums

    def cli(self, *words, **keywords):
        return pollux.run("redis-cli", "-h", self.host, "-p", str(self.tls_port), "--tls", "--cacert",
                          self.certificates("ca.crt"), *words, **keywords)

    def logged(self, pattern):
        pollux.wait_for(lambda: re.search(pattern, self.wire.server.tail(200)), f"'{pattern}' in the log")

    def close(self):
        self.wire.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def secured(kind, cores, certificates):
    try:
        made = Secure(kind, cores, certificates)
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    try:
        with made.wire.enter() if made.wire.kernel_clients else contextlib.nullcontext():
            yield made
        assert made.wire.healthy(), made.wire.server.tail()
    finally:
        made.close()


@pytest.fixture(scope="module", params=["socket-2", "tap-1"])
def secure(request, certificates):
    """Each way to the server."""
    kind, cores = request.param.split("-")
    yield from secured(kind, int(cores), certificates)


# --- what clients do -------------------------------------------------------------------------------


def test_redis_cli(secure):
    assert secure.cli("set", "greeting", "hello").stdout == "OK\n"
    assert secure.cli("get", "greeting").stdout == "hello\n"
    assert "certificate" in secure.cli("ping", check=False, env={**os.environ, "SSL_CERT_FILE": "/dev/null"},
                                       ).stderr + secure.cli("--cacert", secure.certificates("other-ca.crt"), "ping",
                                                             check=False).stderr
    assert f"tcp_port:{secure.wire.port}" in secure.cli("info", "server").stdout


def test_redis_py(secure):
    with redis.Redis(secure.host, secure.tls_port, ssl=True, ssl_ca_certs=secure.certificates("ca.crt"),
                     ssl_check_hostname=False, socket_timeout=pollux.PATIENCE_S) as r:
        big = os.urandom(5 << 20)
        assert r.set("big", big) and r.get("big") == big
        pipe = r.pipeline(transaction=False)
        for i in range(2000):
            pipe.set(f"p{i}", i).get(f"p{i}")
        answers = pipe.execute()
        assert answers[0::2] == [True] * 2000
        assert answers[1::2] == [b"%d" % i for i in range(2000)]
        # Sizes around those of records and of our buffers.
        for size in (0, 1, 511, 512, 1700, 16383, 16384, 16385, 65535, 81920, 1 << 20):
            assert r.set("v", b"x" * size) and r.get("v") == b"x" * size
        assert r.mget(["v", "big", "p7", "none"]) == [b"x" * (1 << 20), big, b"7", None]


def test_many_connections(secure):
    """All are set up, whatever core they come to; what they wrote is there on each."""
    context = secure.context()
    clients = [secure.client(context) for _ in range(100)]
    for n, client in enumerate(clients):
        client.send("SET", f"many:{n}", n)
    for client in clients:
        assert client.reply() == b"+OK"
    for n, client in enumerate(clients):
        assert client.call("GET", f"many:{99 - n}") == b"%d" % (99 - n)
    with secure.plain() as plain:
        assert plain.call("GET", "many:42") == b"42"
    for client in clients:
        client.close()


def test_redis_benchmark(secure):
    done = pollux.run("redis-benchmark", "-h", secure.host, "-p", str(secure.tls_port), "--tls", "--cacert",
                      secure.certificates("ca.crt"), "-n", "5000", "-c", "20", "-P", "16", "-d", "3000", "-t", "set,get",
                      "--csv", "-e")
    assert len(done.stdout.splitlines()) == 3, done.stdout + done.stderr
    assert "Error" not in done.stdout + done.stderr


# --- the protocol ----------------------------------------------------------------------------------


def test_versions_and_ciphers(secure):
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        with secure.client(secure.context(version)) as client:
            assert client.sock.version() == name
            assert client.call("PING") == b"+PONG"
    with secure.options(tls_protocols="TLSv1.2", tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"):
        with secure.client() as client:
            assert client.sock.cipher()[:2] == ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2")
        with pytest.raises(ssl.SSLError):
            secure.connect(secure.context(ssl.TLSVersion.TLSv1_3))
        secure.logged("no version of TLS in common")
        other = secure.context()
        other.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        with pytest.raises(ssl.SSLError):
            secure.connect(other)
        secure.logged("no cipher, curve or signature in common")
    with secure.options(tls_ciphersuites="TLS_CHACHA20_POLY1305_SHA256"), secure.client() as client:
        assert client.sock.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256"
    for option, value in (("tls-protocols", "SSLv3"), ("tls-ciphers", "none-such"), ("tls-ciphersuites", "none-such")):
        assert option.encode() in secure.set(option, value)
    with secure.client() as client:
        assert client.call("PING") == b"+PONG"


def test_openssl_client(secure):
    """Renegotiation, ALPN and what s_client thinks of the certificate."""
    done = pollux.run("openssl", "s_client", "-connect", f"{secure.host}:{secure.tls_port}", "-CAfile",
                      secure.certificates("ca.crt"), "-tls1_2", "-alpn", "h2", check=False)
    assert "Verify return code: 0" in done.stdout
    assert "No ALPN negotiated" in done.stdout
    with tempfile.TemporaryFile() as words:
        words.write(b"R\n")
        words.seek(0)
        done = pollux.run("openssl", "s_client", "-connect", f"{secure.host}:{secure.tls_port}", "-tls1_2", check=False,
                          stdin=words)
    assert "no renegotiation" in done.stdout + done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption(secure, version):
    """On whatever core the client comes back."""
    context = secure.context(version)

    def come_back(session):
        with secure.client(context, session=session) as client:
            assert client.call("PING") == b"+PONG"
            return client.sock.session, client.sock.session_reused

    session, reused = come_back(None)
    assert not reused
    before = secure.counters()["tls_resumed"]
    for _ in range(12):
        session, reused = come_back(session)
        assert reused
    assert secure.counters()["tls_resumed"] == before + 12
    with secure.options(tls_session_caching="no"):
        session, reused = come_back(None)
        assert not reused and (session is None or not come_back(session)[1])


# --- certificates of clients -----------------------------------------------------------------------


def refused(secure, **keywords):
    """With TLS 1.3 a client hears of its refusal when it reads."""
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        with secure.client(secure.context(**keywords)) as client:
            client.call("PING")
    return True


def test_client_certificates(secure):
    with secure.options(tls_auth_clients="yes"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert refused(secure, version=version)
            assert refused(secure, version=version, client="stranger")
            with secure.client(secure.context(version, client="client")) as client:
                assert client.call("PING") == b"+PONG"
        secure.logged("showed no certificate")
    with secure.options(tls_auth_clients="optional"):
        assert refused(secure, client="stranger")
        for known in (None, "client"):
            with secure.client(secure.context(client=known)) as client:
                assert client.call("PING") == b"+PONG"
        assert b"tls-ca-cert-file" in secure.set("tls-ca-cert-file", "")


# --- reload ----------------------------------------------------------------------------------------


def subject(client):
    return client.sock.getpeercert()["subject"][0][0][1]


def test_reload(secure):
    """New connections see the new certificate, those that are there keep theirs; a wrong one changes nothing."""
    certificates = secure.certificates
    with secure.client() as old:
        assert subject(old) == "server"
        certificates.use("new")
        assert secure.set("tls-cert-file", certificates("cert.pem")) == b"+OK"
        with secure.client() as new:
            assert subject(new) == "new"
        for name, words in (
            ("tls-key-file", b"does not belong to the certificate"),
            ("tls-cert-file", b"does not belong to the certificate"),
        ):
            file = certificates("server.key" if name == "tls-key-file" else "server.crt")
            answer = secure.set(name, file)
            assert answer.startswith(b"-ERR CONFIG SET failed") and words in answer, answer
        missing = secure.set("tls-key-file", certificates("none-such"))
        assert b"No such file or directory" in missing and b"tls-key-file" in missing
        assert b"tls-cert-file" in secure.set("tls-cert-file", certificates("server.key"))
        with secure.client() as new:
            assert subject(new) == "new"
        # Both at once.
        assert secure.set("tls-cert-file", certificates("server.crt"), "tls-key-file", certificates("server.key")) == b"+OK"
        with secure.client() as new:
            assert subject(new) == "server"
        assert b"passphrase" in secure.set("tls-key-file", certificates("locked.key"))
        assert b"tls-key-file" in secure.set("tls-key-file", certificates("locked.key"), "tls-key-file-pass", "wrong")
        assert secure.set("tls-key-file", certificates("locked.key"), "tls-key-file-pass", "secret") == b"+OK"
        certificates.use("server")
        with secure.unix() as operator:
            assert operator.call("MULTI") == b"+OK"
            operator.call("CONFIG", "SET", "tls-cert-file", certificates("cert.pem"), "tls-key-file",
                          certificates("key.pem"), "tls-key-file-pass", "")
            assert operator.call("EXEC") == [b"+OK"]
        assert old.call("PING") == b"+PONG"


# --- peers that do otherwise -----------------------------------------------------------------------


def test_plaintext_on_the_tls_port(secure):
    before = secure.counters()["tls_failed_plaintext"]
    for words in (b"PING\r\n", b"GET / HTTP/1.1\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"\0" * 40000):
        with socket.create_connection((secure.host, secure.tls_port), timeout=pollux.PATIENCE_S) as s:
            s.sendall(words)
            said = pollux.Client(s).rest()
            assert len(said) < 16 and b"PONG" not in said
    assert secure.counters()["tls_failed_plaintext"] == before + 4
    secure.logged("what came was no TLS")


def test_tls_on_the_plain_port(secure):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure.connect(port=secure.wire.port)
    secure.logged(f"speaks TLS to port {secure.wire.port}")


def test_ends(secure):
    """close_notify both ways; a side that is closed while the other still speaks; a bare end."""
    with secure.client() as client:
        assert client.call("SET", "end", "x" * 100000) == b"+OK"
        assert client.call("QUIT") == b"+OK"
        with pytest.raises(EOFError):  # SSLEOFError if close_notify were missing
            client.fill()
    # Our side is closed, and the answers still come.
    raw = socket.create_connection((secure.host, secure.tls_port), timeout=pollux.PATIENCE_S)
    into, outof = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = secure.context().wrap_bio(into, outof)

    def step(act):
        while True:
            try:
                result = act()
            except ssl.SSLWantReadError:
                result = None
            raw.sendall(outof.read()) if outof.pending else None
            if result is not None:
                return result
            data = raw.recv(1 << 16)
            into.write(data) if data else into.write_eof()

    step(lambda: tls.do_handshake() or True)
    tls.write(pollux.encode("GET", "end") * 3)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.unwrap()
    raw.sendall(outof.read())
    raw.shutdown(socket.SHUT_WR)
    data = b""
    while more := raw.recv(1 << 16):
        data += more
    raw.close()
    assert len(data) > 300000, (len(data), secure.counters(), secure.wire.server.tail())
    before = secure.counters()["tls_truncated"]
    client = secure.client()
    assert client.call("PING") == b"+PONG"
    client.sock.shutdown(socket.SHUT_RDWR)  # without close_notify
    client.close()
    pollux.wait_for(lambda: secure.counters()["tls_truncated"] == before + 1, "the truncated connection")


def test_records_cut_and_damaged(secure):
    """Bytes that come one by one are put together; a byte that is changed ends the connection, and no other."""
    raw = socket.create_connection((secure.host, secure.tls_port), timeout=pollux.PATIENCE_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    into, outof = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = secure.context().wrap_bio(into, outof)

    def send_slowly():
        data = outof.read()
        for i in range(len(data)):
            raw.sendall(data[i : i + 1])

    def until(act):
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                send_slowly()
                into.write(raw.recv(1 << 16))

    until(tls.do_handshake)
    tls.write(b"PING\r\n" * 3)
    send_slowly()
    said = b""
    while len(said) < 21:
        said += until(lambda: tls.read(100))
    assert said == b"+PONG\r\n" * 3
    before = secure.counters()["tls_failed_record"]
    tls.write(b"PING\r\n")
    data = bytearray(outof.read())
    data[-1] ^= 1
    raw.sendall(data)
    while more := raw.recv(1 << 16):
        into.write(more)
    raw.close()
    assert secure.counters()["tls_failed_record"] == before + 1
    with secure.client() as client:
        assert client.call("PING") == b"+PONG"


def test_slow_reader(secure):
    """What a client does not read stays where it is: the value is not there once more for each answer, and the
    connection goes on when it is read."""
    value = os.urandom(4 << 20)
    with secure.client() as client:
        assert client.call("SET", "slow", value) == b"+OK"
        resident = secure.wire.server.resident()
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(secure.client()) for _ in range(16)]
            for one in slow:
                one.send("GET", "slow")
                one.send("PING")
            with secure.unix() as operator:
                pollux.wait_for(lambda: operator.call("CLIENT", "LIST").count(b"cmd=") >= 17, "the slow clients")
            assert client.call("PING") == b"+PONG"
            assert secure.wire.server.resident() - resident < 48 << 20
            for one in slow:
                assert one.reply() == value
                assert one.reply() == b"+PONG"


def test_maxclients(secure):
    with secure.unix() as operator, contextlib.ExitStack() as stack:
        def others():
            return operator.call("CLIENT", "LIST").count(b"cmd=") == 1

        pollux.wait_for(others, "the clients of before to be gone")
        assert operator.call("CONFIG", "SET", "maxclients", "4") == b"+OK"
        clients = [stack.enter_context(secure.client()) for _ in range(3)]
        assert [client.call("PING") for client in clients] == [b"+PONG"] * 3
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            stack.enter_context(secure.client()).call("PING")
        assert operator.call("CONFIG", "SET", "maxclients", "10000") == b"+OK"
        assert stack.enter_context(secure.client()).call("PING") == b"+PONG"


# --- eyes ------------------------------------------------------------------------------------------


def test_connections_are_shown(secure):
    with secure.client(secure.context(ssl.TLSVersion.TLSv1_3)) as client, secure.plain() as plain:
        client.call("CLIENT", "SETNAME", "encrypted")
        assert plain.call("PING") == b"+PONG"
        listed = client.call("CLIENT", "LIST").decode()
        mine = next(line for line in listed.splitlines() if "name=encrypted" in line)
        assert f"laddr={secure.host}:{secure.tls_port}" in mine
        shown = pollux.run(pollux.program("polluxctl"), "-p", str(secure.wire.port), "--runtime-dir",
                           secure.wire.server.folder, "connections", "--info").stdout
        line = next(line for line in shown.splitlines() if "name:encrypted" in line)
        assert "tls:(TLSv1.3 TLS_" in line
        assert shown.count("tls:(") == 1


# --- UNIX socket -----------------------------------------------------------------------------------


def test_unix_socket(secure):
    """On either transport, beside TCP, with its permissions."""
    assert os.stat(secure.path).st_mode & 0o777 == 0o700
    assert pollux.run("redis-cli", "-s", secure.path, "set", "by-unix", "1").stdout == "OK\n"
    value = os.urandom(3 << 20)
    with secure.unix() as client, secure.plain() as plain:
        assert client.call("SET", "unix-big", value) == b"+OK"
        assert plain.call("GET", "unix-big") == value and client.call("GET", "unix-big") == value
        listed = client.call("CLIENT", "LIST").decode()
        assert f"addr={secure.path}:0 laddr={secure.path}:0 " in listed, listed
        with secure.unix():
            assert int(client.call("CLIENT", "KILL", "ADDR", f"{secure.path}:0")) >= 1


def test_unix_socket_wakes_a_sleeper(secure):
    """A server that sleeps because nothing comes over the network answers at once."""
    with secure.unix() as client:
        for _ in range(20):
            assert client.call("PING") == b"+PONG"


# --- listening elsewhere ---------------------------------------------------------------------------


def connects(host, port):
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def test_ports_move(secure):
    """Connections stay; new ones go to the new port alone; where it cannot be had the old one stays."""
    port, tls_port, host = secure.wire.port, secure.tls_port, secure.host
    other, other_tls = pollux.free_port(), pollux.free_port()
    with secure.plain() as plain, secure.client() as client:
        with secure.options(port=str(other), tls_port=str(other_tls)):
            assert not connects(host, port) and not connects(host, tls_port)
            for _ in range(8):
                with pollux.Client(socket.create_connection((host, other), timeout=pollux.PATIENCE_S)) as new:
                    assert new.call("PING") == b"+PONG"
                with secure.client(port=other_tls) as new:
                    assert new.call("PING") == b"+PONG"
                    assert f"tcp_port:{other}\r\n".encode() in new.call("INFO", "server")
            assert plain.call("PING") == b"+PONG" and client.call("PING") == b"+PONG"
        with secure.plain() as again, secure.client() as again_tls:
            assert again.call("PING") == again_tls.call("PING") == b"+PONG"
        answer = secure.set("tls-port", str(port))
        assert answer.startswith(b"-ERR CONFIG SET failed (possibly related to argument 'tls-port')"), answer
        with secure.options(tls_port="0"):
            assert not connects(host, tls_port)
        with secure.options(port="0"):
            assert not connects(host, port)
            with secure.client() as new:
                assert f"tcp_port:{tls_port}\r\n".encode() in new.call("INFO", "server")
        assert plain.call("PING") == b"+PONG" and client.call("PING") == b"+PONG"


def test_port_in_use(secure):
    if secure.wire.name != "socket":
        pytest.skip("the kernel's ports are none of the stack's")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = secure.set("port", str(taken.getsockname()[1]))
        assert b"Unable to listen on this port" in answer and b"Address already in use" in answer
    with secure.plain() as plain:
        assert plain.call("PING") == b"+PONG"
    with secure.options(bind="127.0.0.2"):
        assert not connects("127.0.0.1", secure.wire.port)
        assert connects("127.0.0.2", secure.wire.port) and connects("127.0.0.2", secure.tls_port)
    assert secure.set("bind", "192.0.2.77").startswith(b"-ERR CONFIG SET failed (possibly related to argument 'bind')")
    with secure.plain() as plain:
        assert plain.call("PING") == b"+PONG"


# --- the start -------------------------------------------------------------------------------------


def test_refusals_at_the_start(certificates):
    def refuses(words, **options):
        given = {"tls-port": pollux.free_port(), "tls-cert-file": certificates("server.crt"),
                 "tls-key-file": certificates("server.key"), "tls-auth-clients": "no"}
        given.update({name.replace("_", "-"): value for name, value in options.items()})
        server = pollux.Server(given)
        try:
            pollux.wait_for(lambda: not server.alive(), "the refusal")
            assert re.search(words, server.tail()), server.tail()
            assert server.process.returncode == 1, server.tail()
        finally:
            server.close()

    refuses("tls-key-file .* does not belong to the certificate", tls_key_file=certificates("new.key"))
    refuses("tls-cert-file .*No such file", tls_cert_file="/none/such.pem")
    refuses("tls-ca-cert-file or tls-ca-cert-dir must be specified", tls_auth_clients="yes")


def test_tls_alone(certificates):
    """`port 0`: the TLS port is the only one, and names the files of the server."""
    port = pollux.free_port()
    server = pollux.Server({"port": 0, "tls-port": port, "tls-cert-file": certificates("server.crt"), "tls-key-file":
                            certificates("server.key"), "tls-ca-cert-file": certificates("ca.crt")}, start=False)
    try:
        server.start()
        words = ["redis-cli", "-p", str(port), "--tls", "--cacert", certificates("ca.crt"), "--cert",
                 certificates("client.crt"), "--key", certificates("client.key"), "ping"]
        pollux.wait_for(lambda: pollux.run(*words, check=False).stdout == "PONG\n", "an answer over TLS")
        assert os.path.exists(os.path.join(server.folder, f"{port}.segment"))
        status = [pollux.program("polluxctl"), "-p", str(port), "--runtime-dir", server.folder, "status"]
        pollux.wait_for(lambda: pollux.run(*status, check=False).returncode == 0, "both planes")
        # The server's end is told as one: an end without close_notify would be an error here.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(certificates("ca.crt"))
        context.load_cert_chain(certificates("client.crt"), certificates("client.key"))
        raw = socket.create_connection(("127.0.0.1", port), timeout=pollux.PATIENCE_S)
        with pollux.Client(context.wrap_socket(raw, suppress_ragged_eofs=False)) as client:
            assert client.call("PING") == b"+PONG"
            server.process.terminate()
            with pytest.raises(EOFError):
                client.fill()
    finally:
        server.close()


# --- the load generator ----------------------------------------------------------------------------


def test_bench_over_memif(certificates):
    """Our own stack on both sides, TLS above it: every reply is checked."""
    for secure in secured("memif", 1, certificates):
        tests, code, said = secure.wire.bench("-p", str(secure.tls_port), "--tls", "--cacert", certificates("ca.crt"),
                                              "-t", "set,get", "-n", "3000", "-r", "50", "-c", "10", "-P", "4",
                                              "-d", "1-100000", "--verify")
        assert code == 0, said
        assert all(test["errors"] == 0 and test["wrong"] == 0 for test in tests.values()), tests
        with secure.unix() as client:
            assert client.call("DBSIZE") == 50


def test_bench_refuses(secure):
    if secure.wire.name != "socket":
        pytest.skip("once is enough")
    bench = [pollux.program("pollux-bench"), "-p", str(secure.tls_port), "-t", "get", "-n", "100", "--quiet"]
    done = pollux.run(*bench, "--tls", check=False)
    assert done.returncode != 0 and "certificate of the peer was refused" in done.stderr
    done = pollux.run(*bench, "--insecure", check=False)
    assert done.returncode != 0 and "give --tls too" in done.stderr
    assert pollux.run(*bench, "--tls", "--insecure").returncode == 0
    with secure.options(tls_auth_clients="yes"):
        done = pollux.run(*bench, "--tls", "--insecure", check=False)
        assert done.returncode != 0 and "'certificate required': it asks for a certificate" in done.stderr, done.stderr
