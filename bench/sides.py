"""Systems that are measured beside each other: each on its wire and its core, all but one stopped.

A `System` says what can be started and what it needs; a `Side` is one that runs. Sides are started
stopped: they run only inside `with side.running():`.
"""

import contextlib
import csv
import dataclasses
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "tests", "lib"))

import pollux  # noqa: E402

HUGE_PAGES = "/proc/sys/vm/nr_hugepages"
HUGE_PAGES_WANTED = 512  # of 2 MiB: buffers of the servers' ports and of the client's
HUGE_PAGES_LEAST = 128  # free ones without which the ports are not tried
CONNECTIONS_MAX = 10000  # that servers with such a limit are told to take


class Failed(Exception):
    """A measurement could not be made; the text is one line."""


@dataclasses.dataclass(frozen=True)
class Settings:
    server_cpu: int = 0
    generator_cpu: int = 1
    socket_idle: str = "adaptive"  # idle-policy of Pollux over sockets
    memory_mib: int = 1024  # limit of servers that must be told one

    def pin(self):
        return ["taskset", "-c", str(self.server_cpu)]


class HugePages:
    """Reserves hugepages for the run; gives them back at the end."""

    def __init__(self):
        with open(HUGE_PAGES, encoding="ascii") as file:
            self.before = int(file.read())
        self.changed = self.before < HUGE_PAGES_WANTED
        pollux._register(self)
        if self.changed:
            self.set(HUGE_PAGES_WANTED)

    @staticmethod
    def free():
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("HugePages_Free"))

    @staticmethod
    def set(pages):
        with contextlib.suppress(OSError), open(HUGE_PAGES, "w", encoding="ascii") as file:
            file.write(str(pages))

    def close(self):
        if self.changed:
            self.set(self.before)
        pollux._unregister(self)


# --- servers of others -----------------------------------------------------------------------------


class Memcached(pollux.Server):
    greeting, ready_replies = b"version\r\n", b"VERSION"

    def command(self):
        words = self.prefix + ["memcached", "-p", str(self.port), "-U", "0", "-l", self.host, "-t", "1",
                               "-m", str(self.options["memory"]), "-c", str(CONNECTIONS_MAX)]
        return words + (["-u", "root"] if os.geteuid() == 0 else [])


class Named(pollux.Server):
    """Any server of the user's: --also NAME=COMMAND."""

    def command(self):
        return self.prefix + [word.replace("{port}", str(self.port)) for word in self.options["command"]]


class OtherWire(pollux.Wire):
    """A server of another kind over the loopback interface."""

    def __init__(self, make):
        self.make = make
        super().__init__()

    def open(self):
        self.server = self.make()


class RedisVethWire(pollux.XdpWire):
    """Redis where XdpWire has Pollux: at one end of a veth pair, but on the kernel's stack."""

    def __init__(self, settings):
        self.settings = settings
        super().__init__()

    def open(self):
        here = self.connect_namespaces()
        here.ip("addr", "add", "10.99.0.1/16", "dev", "plxs")
        self.server = pollux.Redis({"protected-mode": "no"}, prefix=here.prefix() + self.settings.pin(), host=self.host)


# --- systems ---------------------------------------------------------------------------------------


def _pollux(wire, idle=None):
    def make(settings):
        return wire(options={"cores": settings.server_cpu, "idle-policy": idle or settings.socket_idle})
    return make


def _needs_program(name):
    def needs():
        return None if shutil.which(name) else f"{name} is not installed (config/install-packages bench)"
    return needs


def _needs_root():
    return None if os.geteuid() == 0 else "it needs root"


def _needs_huge_pages():
    if os.geteuid() != 0:
        return "it needs root"
    if HugePages.free() < HUGE_PAGES_LEAST:
        return f"it needs {HUGE_PAGES_LEAST} free hugepages of 2 MiB and there are {HugePages.free()} ({HUGE_PAGES})"
    return None


@dataclasses.dataclass(frozen=True)
class System:
    name: str  # as options and ratios have it
    title: str  # as tables have it
    make: object  # a function from Settings to a wire
    needs: object  # a function that tells why it cannot run here, or None
    base: str = "redis"  # the system that it is compared with
    protocol: str = "resp"
    redis_benchmark: bool = False  # measured by it as well
    wire: str = "loopback"
    bypass: bool = False  # takes hugepages
    first: bool = False  # the first of its server's kind: memory and idling are those of the server, not the wire


SYSTEMS = {system.name: system for system in (
    System("redis", "redis-server", lambda s: OtherWire(lambda: pollux.Redis(prefix=s.pin())),
           _needs_program("redis-server"), redis_benchmark=True, first=True),
    System("memcached", "memcached",
           lambda s: OtherWire(lambda: Memcached({"memory": s.memory_mib}, prefix=s.pin())),
           _needs_program("memcached"), protocol="memcache", first=True),
    System("socket", "Pollux, kernel sockets", _pollux(pollux.Wire), lambda: None, first=True),
    System("memif", "Pollux, memif", _pollux(pollux.MemifWire, "spin"), _needs_huge_pages, wire="memif", bypass=True),
    System("redis-veth", "redis-server, veth", RedisVethWire,
           lambda: _needs_program("redis-server")() or _needs_root(), base="redis-veth", wire="veth"),
    System("xdp", "Pollux, AF_XDP on veth", _pollux(pollux.XdpWire, "spin"), _needs_huge_pages, base="redis-veth",
           wire="veth", bypass=True),
)}


def also(text):
    """The system of NAME=COMMAND. ValueError says what is wrong with it."""
    name, equals, line = text.partition("=")
    if not equals or not name.strip() or not line.strip():
        raise ValueError(f"{text}: give NAME=COMMAND, as in 'valkey=valkey-server --port {{port}}'")
    if name in SYSTEMS:
        raise ValueError(f"{name}: this name is taken")
    words = shlex.split(line)
    if not any("{port}" in word for word in words):
        raise ValueError(f"{text}: {{port}} must stand where the command takes its port")
    if "/" in words[0]:
        words[0] = os.path.abspath(words[0])
    return System(name, name, lambda s: OtherWire(lambda: Named({"command": words}, prefix=s.pin())),
                  lambda: None if shutil.which(words[0]) else f"{words[0]} is not a program", first=True)


def available(systems):
    """Those of `systems` that can run here, and {name: why not} of the others. Reserves hugepages if some need them."""
    if os.geteuid() == 0 and any(system.bypass for system in systems):
        HugePages()
    reasons = {system.name: system.needs() for system in systems}
    return ([system for system in systems if not reasons[system.name]],
            {name: reason for name, reason in reasons.items() if reason})


# --- running ones ----------------------------------------------------------------------------------


class Side:
    """A system that runs: its server is stopped but inside `running`."""

    def __init__(self, system, settings):
        self.system = system
        self.settings = settings
        try:
            self.wire = system.make(settings)
        except AssertionError as error:
            raise Failed(f"{system.name} did not start: {' '.join(str(error).split())[-400:]}") from None
        except pollux.Skip as reason:
            raise Failed(f"{system.name} did not start: {reason}") from None
        self.server = self.wire.server
        pollux._register(self)
        self.server.signal(signal.SIGSTOP)

    @contextlib.contextmanager
    def running(self):
        self.server.signal(signal.SIGCONT)
        try:
            yield self
        finally:
            self.server.signal(signal.SIGSTOP)

    def bench(self, *words, timeout=600):
        """What pollux-bench reports: {test: figures}. Only while it runs."""
        protocol = () if self.system.protocol == "resp" else ("--protocol", self.system.protocol)
        try:
            with self.wire.enter():
                tests, code, errors = self.wire.bench("--cpu", str(self.settings.generator_cpu), *protocol, *words,
                                                      timeout=timeout)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            # Its own line stands first; the last words of the server, which follow, are no help here.
            raise Failed(f"{self.system.name}: {str(error).removeprefix('pollux-bench: ').splitlines()[0]}") from None
        if code != 0:
            raise Failed(f"{self.system.name}: {errors.strip() or f'pollux-bench ended with {code}'}")
        return tests

    def redis_benchmark(self, test, connections, pipeline, size, keys, requests, timeout=600):
        """What redis-benchmark reports of one test, in the words of pollux-bench. Only while it runs."""
        try:
            out = pollux.run(
                "taskset", "-c", str(self.settings.generator_cpu), "redis-benchmark", "-p", str(self.server.port),
                "-c", str(connections), "-P", str(pipeline), "-d", str(size), "-r", str(keys), "-n", str(requests),
                "-t", test, "--csv", timeout=timeout,
            ).stdout
            return redis_benchmark_figures(out, test)
        except (AssertionError, OSError, subprocess.TimeoutExpired, StopIteration, KeyError, ValueError) as error:
            raise Failed(f"redis-benchmark: {' '.join(str(error).split())[:200]}") from None

    def cpu_seconds(self):
        """Of all its processes so far."""
        total = 0
        for pid in self.server.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
        return total / 1e9

    def close(self):
        self.wire.close()
        pollux._unregister(self)


def redis_benchmark_figures(text, test):
    row = next(row for row in csv.DictReader(io.StringIO(text)) if row["test"].lower() == test)
    return {
        "requests_per_second": float(row["rps"]),
        "latency_us": {"p50": float(row["p50_latency_ms"]) * 1000, "p99": float(row["p99_latency_ms"]) * 1000,
                       "max": float(row["max_latency_ms"]) * 1000},
    }
