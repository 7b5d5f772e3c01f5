"""Servers that are measured beside each other: each on its wire and core, all but one stopped.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "tests", "lib"))

import pollux  # noqa: E402

HUGE_PAGES = "/proc/sys/vm/nr_hugepages"
HUGE_PAGES_WANTED = 512  # of 2 MiB: buffers of the server's port and of the client's


class HugePages:
    """Reserves hugepages for the run; gives them back at the end."""

    def __init__(self):
        with open(HUGE_PAGES, encoding="ascii") as file:
            self.before = int(file.read())
        if self.before < HUGE_PAGES_WANTED:
            self.set(HUGE_PAGES_WANTED)
        pollux._register(self)

    @staticmethod
    def set(pages):
        try:
            with open(HUGE_PAGES, "w", encoding="ascii") as file:
                file.write(str(pages))
        except OSError as error:
            print(f"no hugepages: {error}", file=sys.stderr)

    def close(self):
        self.set(self.before)
        pollux._unregister(self)


class Target:
    """A server to be measured, on a wire."""

    def __init__(self, name, wire, arguments):
        self.name = name
        self.wire = wire
        self.server = wire.server
        self.arguments = arguments

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def signal(self, number):
        for pid in self.server.pids():
            os.kill(pid, number)

    def bench(self, *words, timeout=600):
        a = self.arguments
        tests, code, errors = self.wire.bench(
            "--cpu", str(a.client_cpu), "--connections", str(a.connections), "--data-size", str(a.data_size),
            "--keys", str(a.keys), *words, timeout=timeout,
        )
        if code != 0:
            raise SystemExit(f"{self.name}: {errors}{tests}\n{self.server.tail()}")
        return tests

    def fill(self):
        return self.bench("--fill", "--requests", "1", "--test", "ping", timeout=1800)["fill"]

    def close(self):
        self.thaw()
        self.wire.close()


class PinnedRedis(pollux.RedisWire):
    cpu = 0

    def open(self):
        super().open()
        pollux.run("taskset", "-a", "-p", "-c", str(self.cpu), str(self.server.process.pid))


def start(name, arguments):
    """Starts the server of a target, on its core."""
    if name == "redis":
        PinnedRedis.cpu = arguments.server_cpu
        return Target("redis-server", PinnedRedis(), arguments)
    options = {"cores": arguments.server_cpu, "idle-policy": "spin" if name == "dpdk" else arguments.socket_idle}
    if arguments.idle:
        options["idle-policy"] = "adaptive"
    wire = pollux.MemifWire if name == "dpdk" else pollux.Wire
    return Target(f"pollux, {name}", wire(options=options), arguments)


TARGETS = ("redis", "socket", "dpdk")
