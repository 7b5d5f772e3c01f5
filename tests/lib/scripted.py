"""A server that misbehaves in known ways, for tests of clients.

`Scripted` listens on 127.0.0.1 (or ::1, or a UNIX socket), keeps keys and answers rightly, in RESP2, RESP3 or
memcached's text protocol, unless its script says otherwise. The script is a function that is called for each
request of the load, in the connection's thread; it returns the bytes to send, None for the right answer, and
may do anything to the connection meanwhile:

    def script(request):
        if request.number == 10:
            return b"-ERR not today\\r\\n"
        if request.number == 20:
            request.connection.reset()

`number` counts from 1 over all connections; what clients send to make themselves known (HELLO, AUTH, SELECT,
INFO, CLUSTER, ...) is answered without the script and not counted.
"""

import binascii
import contextlib
import os
import shutil
import socket
import struct
import tempfile
import threading
import time

import pollux

SLOTS = 16384
UNCOUNTED = {b"HELLO", b"AUTH", b"SELECT", b"INFO", b"CLUSTER", b"CLIENT", b"CONFIG", b"COMMAND", b"ASKING",
             b"READONLY", b"VERSION", b"STATS"}


def slot_of(key):
    opened = key.find(b"{")
    if opened >= 0:
        closed = key.find(b"}", opened + 1)
        if closed > opened + 1:
            key = key[opened + 1 : closed]
    return binascii.crc_hqx(key, 0) % SLOTS


def bulk(data):
    return b"$%d\r\n%s\r\n" % (len(data), data)


class Gone(Exception):
    """The connection has ended, as the script wished."""


class Request:
    def __init__(self, connection, words):
        self.connection = connection
        self.server = connection.server
        self.words = words
        self.name = words[0].upper()
        self.number = 0
        self.asking = False

    @property
    def key(self):
        return self.words[1]

    def honest(self):
        """Does what is asked; the right answer."""
        with self.server.lock:
            return self.server.dialect.execute(self)


class Connection:
    def __init__(self, server, sock, index):
        self.server, self.sock, self.index = server, sock, index
        self.out = bytearray()
        self.unread = bytearray()
        self.resp = 2
        self.asking = False
        self.load = 0     # requests of the load
        self.held = None  # a script's: what it keeps back on this connection

    def flush(self):
        if self.out:
            data, self.out = bytes(self.out), bytearray()
            self.sock.sendall(data)

    def pause(self, seconds):
        """What was answered before leaves, all that follows is late. Returns the seconds that it took."""
        self.flush()
        begin = time.monotonic()
        self.server.stopping.wait(seconds)
        return time.monotonic() - begin

    def send(self, data):
        """At once, in a segment of its own."""
        self.flush()
        self.sock.sendall(data)

    def close(self):
        """An orderly end: what was answered before arrives."""
        self.flush()
        self.sock.shutdown(socket.SHUT_WR)
        raise Gone

    def reset(self):
        self.flush()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def run(self):
        while not self.server.stopping.is_set():
            while True:
                words = self.server.dialect.request(self.unread)
                if words is None:
                    break
                if words:
                    reply = self.server.answer(Request(self, words))  # may flush what there is
                    self.out += reply
            self.flush()
            data = self.sock.recv(1 << 18)
            if not data:
                return
            self.unread += data


class Resp:
    """Redis's protocol: enough of it for what a load generator sends."""

    @staticmethod
    def request(unread):
        """The words of the first request, which is taken off; None when it is not whole."""
        end = unread.find(b"\r\n")
        if end < 0:
            return None
        if unread[:1] != b"*":  # inline
            words = bytes(unread[:end]).split()
            del unread[: end + 2]
            return words
        at, words = end + 2, []
        for _ in range(int(unread[1:end])):
            end = unread.find(b"\r\n", at)
            if end < 0:
                return None
            size = int(unread[at + 1 : end])
            if len(unread) < end + 2 + size + 2:
                return None
            words.append(bytes(unread[end + 2 : end + 2 + size]))
            at = end + 2 + size + 2
        del unread[:at]
        return words

    @staticmethod
    def execute(request):
        server, connection, name, words = request.server, request.connection, request.name, request.words
        keys = server.keys
        if name == b"SET":
            keys[words[1]] = words[2]
        elif name == b"GET":
            value = keys.get(words[1])
            if value is None:
                return b"_\r\n" if connection.resp == 3 else b"$-1\r\n"
            return bulk(value)
        elif name == b"PING":
            return b"+PONG\r\n"
        elif name == b"INCR":
            keys[words[1]] = b"%d" % (int(keys.get(words[1], 0)) + 1)
            return b":%s\r\n" % keys[words[1]]
        elif name == b"MSET":
            keys.update(zip(words[1::2], words[2::2]))
        elif name == b"MGET":
            return b"*%d\r\n" % (len(words) - 1) + b"".join(bulk(keys.get(key, b"")) for key in words[1:])
        elif name == b"DEL":
            return b":%d\r\n" % sum(keys.pop(key, None) is not None for key in words[1:])
        elif name == b"HELLO":
            connection.resp = int(words[1]) if len(words) > 1 else connection.resp
            server.hellos.append(words)
            fields = [(b"server", bulk(b"scripted")), (b"proto", b":%d\r\n" % connection.resp)]
            head = b"%%%d\r\n" % len(fields) if connection.resp == 3 else b"*%d\r\n" % (2 * len(fields))
            return head + b"".join(bulk(field) + value for field, value in fields)
        elif name == b"CLUSTER":
            return server.cluster_reply(request)
        elif name == b"ASKING":
            connection.asking = True
        elif name in (b"AUTH", b"SELECT"):
            server.hellos.append(words)
        elif name == b"INFO":
            return bulk(b"# Server\r\nredis_version:7.0.15\r\n")
        else:
            return b"-ERR unknown command '%s'\r\n" % words[0]
        return b"+OK\r\n"


class Memcache:
    """Memcached's text protocol."""

    @staticmethod
    def request(unread):
        end = unread.find(b"\r\n")
        if end < 0:
            return None
        words = bytes(unread[:end]).split()
        at = end + 2
        if words and words[0] in (b"set", b"add", b"replace"):
            size = int(words[4])
            if len(unread) < at + size + 2:
                return None
            words.append(bytes(unread[at : at + size]))
            at += size + 2
        del unread[:at]
        return words

    @staticmethod
    def execute(request):
        words, keys = request.words, request.server.keys
        if request.name == b"SET":
            keys[words[1]] = words[-1]
            return b"STORED\r\n"
        if request.name == b"GET":
            found = b""
            for key in words[1:]:
                if key in keys:
                    found += b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(keys[key]), keys[key])
            return found + b"END\r\n"
        if request.name == b"VERSION":
            return b"VERSION 1.6.18\r\n"
        if request.name == b"STATS":
            return b"END\r\n"
        return b"ERROR\r\n"


class Scripted:
    """`accepting(index)` is called before each connection is accepted, in the thread that accepts."""

    def __init__(self, script=None, dialect=Resp, host="127.0.0.1", unix=False, accepting=None, uncounted=UNCOUNTED):
        self.script, self.dialect, self.accepting, self.uncounted = script, dialect, accepting, uncounted
        self.host = host
        self.folder = None
        self.lock = threading.RLock()  # of all that requests change
        self.stopping = threading.Event()
        self.keys = {}
        self.requests = 0  # of the load
        self.counts = {}   # by name
        self.hellos = []   # HELLO, AUTH, SELECT as they came
        self.connections = []
        self.threads = []
        self.failures = []  # exceptions of scripts, which are defects of a test
        self.cluster = None
        if unix:
            self.folder = tempfile.mkdtemp(prefix="pollux-test-")
            self.path = os.path.join(self.folder, "socket")
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
        else:
            self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            self.listener.bind((host, 0))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(1024)
        pollux._register(self)
        self._start(self._accept)

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                if self.accepting:
                    self.accepting(len(self.connections))
                sock, _ = self.listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                if self.stopping.is_set():
                    sock.close()
                    return
                connection = Connection(self, sock, len(self.connections))
                self.connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection):
        try:
            connection.run()
        except (Gone, OSError):
            pass
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(error)
        finally:
            connection.sock.close()

    def answer(self, request):
        """The bytes of the reply."""
        if request.name in self.uncounted:
            return request.honest()
        with self.lock:
            request.asking, request.connection.asking = request.connection.asking, False
            request.connection.load += 1
            self.requests += 1
            request.number = self.requests
            self.counts[request.name] = self.counts.get(request.name, 0) + 1
        reply = self.script(request) if self.script else None
        if reply is None and self.cluster:
            with self.lock:
                reply = self.cluster.redirect(request)
        return request.honest() if reply is None else reply

    def cluster_reply(self, request):
        if not self.cluster:
            return b"-ERR This instance has cluster support disabled\r\n"
        return self.cluster.slots(request)

    @property
    def where(self):
        """How pollux-bench gets here."""
        return ("--socket", self.path) if self.folder else ("-h", self.host, "-p", str(self.port))

    def close(self):
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # ends the accept that waits
        self.listener.close()
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(pollux.PATIENCE_S)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        pollux._unregister(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None and self.failures:
            raise self.failures[0]


class Cluster:
    """Several scripted servers, each with a part of the slots.

    `owner` says who serves a slot, `told` what CLUSTER SLOTS answers (the same list until a test changes it), so
    that a client can be given a stale map. `migrating` has the slots of which keys are asked for elsewhere:
    their owner answers ASK, and the target serves them after ASKING only.
    """

    def __init__(self, n, script=None, told=None):
        self.nodes = [Scripted(script) for _ in range(n)]
        self.owner = [slot * n // SLOTS for slot in range(SLOTS)]
        self.told = told or list(self.owner)
        self.migrating = {}
        self.moved = self.asked = 0  # how often that was answered
        self.served = [0] * n
        lock = threading.RLock()
        for node in self.nodes:
            node.cluster = self
            node.lock = lock  # a cluster's nodes change each other

    def text(self, node):
        return b"127.0.0.1:%d" % self.nodes[node].port

    def redirect(self, request):
        if len(request.words) < 2:
            return None
        slot, me = slot_of(request.key), self.nodes.index(request.server)
        target = self.migrating.get(slot)
        if me == self.owner[slot] and target is not None:
            self.asked += 1
            return b"-ASK %d %s\r\n" % (slot, self.text(target))
        if me != self.owner[slot] and not (request.asking and me == target):
            self.moved += 1
            return b"-MOVED %d %s\r\n" % (slot, self.text(self.owner[slot]))
        self.served[me] += 1
        return None

    def slots(self, request):
        ranges = []
        for slot, node in enumerate(self.told):
            if ranges and ranges[-1][2] == node:
                ranges[-1][1] = slot
            else:
                ranges.append([slot, slot, node])
        reply = b"*%d\r\n" % len(ranges)
        for first, last, node in ranges:
            more = b"%0\r\n" if request.connection.resp == 3 else b"*0\r\n"
            reply += b"*3\r\n:%d\r\n:%d\r\n*4\r\n%s:%d\r\n%s%s" % (
                first, last, bulk(b"127.0.0.1"), self.nodes[node].port, bulk(b"%040d" % node), more)
        return reply

    @property
    def requests(self):
        return sum(node.requests for node in self.nodes)

    @property
    def where(self):
        return (*self.nodes[0].where, "--cluster")

    def close(self):
        for node in self.nodes:
            node.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        failures = [failure for node in self.nodes for failure in node.failures]
        if kind is None and failures:
            raise failures[0]
