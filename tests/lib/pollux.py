"""Servers, wires and clients for tests.

A `Server` is one pollux-server on a free port with a folder of its own; it is ready when it answered a
PING, and it is killed by its process group. A `Wire` is a server together with the way its clients
reach it: the loopback interface, a TAP interface, or a veth pair whose far end lies in another network
namespace. `Wire.enter()` moves the calling thread, and so every client that it starts, to the clients'
side.

Everything made here is removed by `close`, at exit, and after signals.
"""

import atexit
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.environ.get("POLLUX_BUILD", os.path.join(ROOT, "build"))
FULL = os.environ.get("POLLUX_FULL") == "1"

# How long a condition may take before the test gives up. Generous: a loaded machine is no defect.
PATIENCE_S = 30

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


class Skip(Exception):
    """This machine cannot run the test; the text says why."""


def wait_for(condition, what, patience_s=PATIENCE_S):
    """Looks at `condition` until it is true (its value is returned) or patience ends."""
    deadline = time.monotonic() + patience_s
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain: {what}")
        time.sleep(pause)  # between two looks, not for the condition
        pause = min(pause * 2, 0.05)


# --- what must be undone ---------------------------------------------------------------------------

_to_close = []


def _register(thing):
    _to_close.append(thing)


def _unregister(thing):
    with contextlib.suppress(ValueError):
        _to_close.remove(thing)


@atexit.register
def close_all():
    while _to_close:
        thing = _to_close[-1]
        with contextlib.suppress(Exception):
            thing.close()
        _unregister(thing)


def leave_program(code):
    raise SystemExit(code)


def close_on_signals(leave=leave_program):
    """SIGTERM and SIGHUP end the program in an orderly way, so that `close_all` runs."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: leave(128 + number))


# --- processes -------------------------------------------------------------------------------------


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def run(*command, timeout=60, check=True, **keywords):
    """Runs a command to its end and returns it, with its output as text."""
    done = subprocess.run(
        command, timeout=timeout, capture_output=True, text=True, stdin=keywords.pop("stdin", subprocess.DEVNULL),
        **keywords,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def free_port(address="127.0.0.1"):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def program(name):
    path = os.path.join(BUILD, name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is missing: build first (ninja -C {BUILD})")
    return path


class Server:
    """One server process group. `options` are directives; a list gives a directive with several words."""

    greeting, ready_replies = b"PING\r\n", (b"+PONG", b"-NOAUTH")

    def __init__(self, options=None, prefix=(), host="127.0.0.1", port=None, start=True):
        self.host = host
        self.port = port or free_port()
        self.folder = tempfile.mkdtemp(prefix="pollux-test-")
        self.log = os.path.join(self.folder, "log")
        self.prefix = list(prefix)
        self.options = dict(options or {})
        self.process = None
        _register(self)
        if start:
            self.start()

    def command(self):
        words = self.prefix + [
            program("pollux-server"),
            "--port", str(self.port),
            "--runtime-dir", self.folder,
            "--dir", self.folder,
        ]
        for name, value in self.options.items():
            words += ["--" + name] + ([str(v) for v in value] if isinstance(value, list) else [str(value)])
        return words

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, preexec_fn=_die_with_parent, cwd=self.folder,
            )

    def wait_ready(self):
        """Ready means: answers its greeting to a client that stands where the caller stands."""

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
            with contextlib.suppress(OSError):
                with socket.create_connection((self.host, self.port), timeout=1) as s:
                    s.sendall(self.greeting)
                    return s.recv(64).startswith(self.ready_replies)

        try:
            wait_for(answers, f"a server on {self.host}:{self.port}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None
        return self

    def tail(self, lines=40):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def pids(self):
        """The processes of this server: those of its session."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if os.getsid(int(entry)) == self.process.pid:
                        found.append(int(entry))
        return found

    def signal(self, number):
        """Sends a signal to all of its processes."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def resident(self):
        """Bytes of memory that its processes take."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
                    total += int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def stop(self):
        """Ends it as an operator would; returns the exit code, None when it had to be killed."""
        code = None
        if self.process is None:
            return code
        if self.process.poll() is None:
            self.process.terminate()
            self.signal(signal.SIGCONT)  # one that is stopped would not see that it shall end
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(timeout=15)
        # Whatever is left of its session by now will not go on its own.
        self.signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self.process = None
        return code

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        _unregister(self)


class Redis(Server):
    """Debian's redis-server, where a test compares with it."""

    def command(self):
        if not shutil.which("redis-server"):
            raise Skip("redis-server is not installed")
        words = self.prefix + ["redis-server", "--port", str(self.port), "--dir", self.folder, "--save", "",
                               "--appendonly", "no", "--bind", self.host, "--enable-debug-command", "yes"]
        for name, value in self.options.items():
            words += ["--" + name] + ([str(v) for v in value] if isinstance(value, list) else [str(value)])
        return words


class Memcached(Server):
    """Debian's memcached. For what speaks its text protocol, as `scripted.Scripted` is used."""

    def command(self):
        return ["memcached", "-l", self.host, "-p", str(self.port), "-U", "0", "-m", "64"] + (
            ["-u", "nobody"] if os.geteuid() == 0 else [])

    @property
    def where(self):
        return "-h", self.host, "-p", str(self.port)

    def __enter__(self):
        def answers():
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1) as s:
                s.sendall(b"version\r\n")
                return s.recv(64).startswith(b"VERSION")

        wait_for(answers, f"memcached on {self.host}:{self.port}")
        return self

    def __exit__(self, *_):
        self.close()


class RedisCluster:
    """Nodes of Debian's redis-server that are one cluster, without replicas."""

    def __init__(self, n=3):
        if not shutil.which("redis-cli"):
            raise Skip("redis-cli is not installed")
        self.nodes = []
        _register(self)
        try:
            for _ in range(n):
                self.nodes.append(Redis({"cluster-enabled": "yes", "cluster-port": free_port(),
                                         "cluster-node-timeout": 30000}))
            for node in self.nodes:
                node.wait_ready()
            run("redis-cli", "--cluster", "create", *(f"127.0.0.1:{node.port}" for node in self.nodes), "--cluster-yes")
            wait_for(lambda: all(b"cluster_state:ok" in self.call(i, "CLUSTER", "INFO") for i in range(n)),
                     "the cluster's nodes to know each other")
            self.ids = [self.call(i, "CLUSTER", "MYID").decode() for i in range(n)]
        except BaseException:
            self.close()
            raise

    def call(self, node, *words):
        with socket.create_connection(("127.0.0.1", self.nodes[node].port), timeout=PATIENCE_S) as s:
            return Client(s).call(*words)

    def owners(self):
        """Of each slot the index of the node that serves it, as the first node knows it."""
        ports = [node.port for node in self.nodes]
        owners = [None] * 16384
        for first, last, primary, *_ in self.call(0, "CLUSTER", "SLOTS"):
            owners[first : last + 1] = [ports.index(primary[1])] * (last + 1 - first)
        return owners

    def set_slot(self, slot, owner):
        for i in range(len(self.nodes)):
            assert self.call(i, "CLUSTER", "SETSLOT", slot, "NODE", self.ids[owner]) == b"+OK"

    def healthy(self):
        return all(node.alive() for node in self.nodes)

    def close(self):
        for node in self.nodes:
            node.close()
        _unregister(self)


# --- network namespaces ----------------------------------------------------------------------------


class Namespace:
    """A network namespace of our own, with its loopback up."""

    _count = 0

    def __init__(self, purpose):
        if os.geteuid() != 0:
            raise Skip("needs root to make network namespaces")
        Namespace._count += 1
        self.name = f"plx-{purpose}-{os.getpid()}-{Namespace._count}"
        made = run("ip", "netns", "add", self.name, check=False)
        if made.returncode != 0:
            raise Skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
        _register(self)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words, check=True):
        return run("ip", "-n", self.name, *words, check=check)

    def add_address(self, address, interface):
        """An IPv6 address is used at once: nobody else has it."""
        self.ip("addr", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))

    def prefix(self):
        return ["ip", "netns", "exec", self.name]

    @contextlib.contextmanager
    def enter(self):
        """The calling thread, and the processes and sockets that it makes, live there meanwhile."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.name}", "rb") as there:
            _setns(there.fileno())
            try:
                yield self
            finally:
                _setns(home.fileno())

    def close(self):
        run("ip", "netns", "del", self.name, check=False)
        _unregister(self)


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


# --- wires -----------------------------------------------------------------------------------------


class Wire:
    """A server and the way to it. `cores` is a number: cores 0 … cores-1."""

    name = "socket"
    bench_options = ()  # how pollux-bench gets there, besides -h and -p
    kernel_clients = True
    client_interface = None  # where frames for the server can be sent, None if there is no such thing

    def __init__(self, cores=1, options=None):
        if cores > len(os.sched_getaffinity(0)):
            raise Skip(f"needs {cores} CPUs")
        self.cores = cores
        self.options = {"cores": ",".join(map(str, range(cores)))}
        self.options.update(options or {})
        self.host = "127.0.0.1"
        self.things = []
        self.server = None
        try:
            self.open()
            if self.kernel_clients:
                with self.enter():
                    self.server.wait_ready()
        except BaseException:
            self.close()
            raise

    def open(self):
        self.server = Server(self.options)

    @property
    def port(self):
        return self.server.port

    @contextlib.contextmanager
    def enter(self):
        yield self

    def connect(self, timeout=PATIENCE_S):
        """A TCP connection of the calling thread, which must have entered."""
        s = socket.create_connection((self.host, self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def bench(self, *words, timeout=120, prefix=()):
        """Runs pollux-bench against the server; returns its report and exit code."""
        done = run(*prefix, program("pollux-bench"), "-h", self.host, "-p", str(self.port), "--json", "--quiet",
                   *self.bench_options, *words, timeout=timeout, check=False)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"pollux-bench: {done.stdout}{done.stderr}\n{self.server.tail()}") from None
        return {test["test"]: test for test in report["tests"]}, done.returncode, done.stderr

    def nic(self):
        """What `polluxctl nic` knows, core by core."""
        done = run(program("polluxctl"), "-p", str(self.port), "--runtime-dir", self.server.folder, "--json", "nic")
        return json.loads(done.stdout)

    def healthy(self):
        return self.server is not None and self.server.alive()

    def close(self):
        if self.server:
            self.server.close()
        while self.things:
            self.things.pop().close()


class RedisWire(Wire):
    """Debian's Redis on the loopback interface: shows that a test asks for what Redis does."""

    name = "redis"

    def open(self):
        self.options.pop("cores")
        self.server = Redis(self.options)


class TapWire(Wire):
    """The server's port is a TAP interface; its clients use the kernel's end of it."""

    name = "tap"
    addresses = ["10.98.0.1/16"]
    client_addresses = ["10.98.0.2/16"]

    def open(self):
        if not os.path.exists("/dev/net/tun"):
            raise Skip("no TAP: /dev/net/tun is missing")
        self.namespace = Namespace("tap")
        self.things.append(self.namespace)
        self.host = self.addresses[0].split("/")[0]
        self.client_interface = "plxtap"
        self.client_address = self.client_addresses[0].split("/")[0] if self.client_addresses else None
        self.options.update({
            "transport": "dpdk",
            "nic-device": "net_tap0,iface=plxtap",
            "nic-address": self.addresses,
            "protected-mode": "no",
        })
        self.server = Server(self.options, prefix=self.namespace.prefix(), host=self.host)
        wait_for(
            lambda: not self.server.alive() or self.namespace.ip("link", "show", "plxtap", check=False).returncode == 0,
            "the TAP interface",
        )
        if not self.server.alive():
            raise AssertionError(f"the server did not start:\n{self.server.tail()}")
        for address in self.client_addresses:
            self.namespace.add_address(address, "plxtap")
        self.namespace.ip("link", "set", "plxtap", "up")

    def enter(self):
        return self.namespace.enter()


class XdpWire(Wire):
    """The server's port is AF_XDP on one end of a veth pair; its clients live behind the other end."""

    name = "xdp"
    queues = 1
    addresses = ["10.99.0.1/16"]
    client_addresses = ["10.99.0.2/16"]

    def connect_namespaces(self):
        """Makes the veth pair; returns the namespace of the server's end, `plxs`, which has no address yet."""
        if not shutil.which("ethtool"):
            raise Skip("ethtool is not installed")
        here, self.namespace = Namespace("xdp"), Namespace("client")
        self.things += [here, self.namespace]
        self.host = self.addresses[0].split("/")[0]
        self.client_interface = "plxc"
        self.client_address = self.client_addresses[0].split("/")[0] if self.client_addresses else None
        queues = ["numrxqueues", str(self.queues), "numtxqueues", str(self.queues)]
        made = here.ip("link", "add", "plxs", *queues, "type", "veth", "peer", "name", "plxc", *queues, "netns",
                       self.namespace.name, check=False)
        if made.returncode != 0:
            raise Skip(f"veth pairs cannot be made here: {made.stderr.strip()}")
        here.ip("link", "set", "plxs", "up")
        for address in self.client_addresses:
            self.namespace.add_address(address, "plxc")
        self.namespace.ip("link", "set", "plxc", "up")
        # Kernel senders leave checksums half done on veth, and a port cannot see that they are.
        run(*self.namespace.prefix(), "ethtool", "-K", "plxc", "tx", "off")
        return here

    def open(self):
        here = self.connect_namespaces()
        # One port with several queues is refused on veth; several ports with one queue each are not.
        devices = [f"net_af_xdp{i},iface=plxs,start_queue={i}" for i in range(self.queues)]
        self.options.update({
            "transport": "dpdk",
            "nic-device": devices,
            "protected-mode": "no",
        })
        self.give_addresses(here)
        self.server = Server(self.options, prefix=here.prefix(), host=self.host)

    def give_addresses(self, here):
        del here
        self.options.setdefault("nic-address", self.addresses)

    def enter(self):
        return self.namespace.enter()


class XdpQueuesWire(XdpWire):
    """A queue for each core: the kernel's choice of queue is not the one that software would make."""

    name = "xdp-queues"
    addresses = ["10.99.0.1/16", "fd99::1/64"]
    client_addresses = ["10.99.0.2/16", "fd99::2/64"]

    def open(self):
        self.queues = self.cores
        super().open()


class Tap6Wire(TapWire):
    """The same over IPv6, with IPv4 beside it."""

    name = "tap6"
    addresses = ["fd98::1/64", "10.98.0.1/16"]
    client_addresses = ["fd98::2/64", "10.98.0.2/16"]


class Xdp6Wire(XdpWire):
    """The same over IPv6; the server takes the addresses of the kernel's interface."""

    name = "xdp6"
    addresses = ["fd99::1/64", "10.99.0.1/16"]
    client_addresses = ["fd99::2/64", "10.99.0.2/16"]

    def give_addresses(self, here):
        for address in self.addresses:
            here.add_address(address, "plxs")


class MemifWire(Wire):
    """Shared-memory rings between two processes, an ideal NIC: for clients with a stack of their own."""

    name = "memif"
    kernel_clients = False
    addresses = ["10.97.0.1/24"]
    bench_address = "10.97.0.2/24"

    def open(self):
        if os.geteuid() != 0:
            raise Skip("needs root for memif")
        self.host = self.addresses[0].split("/")[0]
        self.options.update({
            "transport": "dpdk",
            "nic-address": self.addresses,
            "protected-mode": "no",
        })
        self.server = Server(self.options, host=self.host, start=False)
        path = os.path.join(self.server.folder, "memif.sock")
        self.server.options["nic-device"] = f"net_memif0,role=server,id=0,socket={path},socket-abstract=no"
        self.bench_options = (
            "--transport", "dpdk", "--nic-address", self.bench_address, "--nic-device",
            f"net_memif0,role=client,id=0,socket={path},socket-abstract=no,mac=02:70:6c:78:00:02",
        )
        self.server.start()

        def listens():
            if not self.server.alive():
                raise AssertionError(f"the server did not start:\n{self.server.tail()}")
            return os.path.exists(path)

        wait_for(listens, "the memif socket")


class Memif6Wire(MemifWire):
    """The same over IPv6."""

    name = "memif6"
    addresses = ["fd97::1/64"]
    bench_address = "fd97::2/64"


WIRES = {wire.name: wire for wire in (Wire, TapWire, Tap6Wire, XdpWire, Xdp6Wire, XdpQueuesWire, MemifWire, Memif6Wire,
                                      RedisWire)}


# --- clients ---------------------------------------------------------------------------------------


def encode(*words):
    """A command as RESP."""
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(out)


class Client:
    """A plain RESP2 client over a socket: for tests that care about bytes."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def send(self, *words):
        self.sock.sendall(encode(*words))

    def fill(self):
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError
        self.buffer += data

    def line(self):
        while True:
            end = self.buffer.find(b"\r\n")
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[: end + 2]
                return line
            self.fill()

    def exactly(self, n):
        while len(self.buffer) < n:
            self.fill()
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            if int(rest) < 0:
                return None
            return self.exactly(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        assert kind in (b"+", b"-"), line
        return line

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def rest(self):
        """Everything until the server closes (or resets)."""
        data = bytes(self.buffer)
        self.buffer.clear()
        while True:
            try:
                more = self.sock.recv(1 << 20)
            except ConnectionResetError:
                return data
            if not more:
                return data
            data += more

    def close(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def interface_mac(name):
    """The MAC address of an interface in the thread's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        data = fcntl.ioctl(s, 0x8927, struct.pack("256s", name.encode()))
    return data[18:24]
