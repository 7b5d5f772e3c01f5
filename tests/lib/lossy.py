"""Wires that lose frames: the relay of tests/relay between a server's port and clients of the kernel's stack."""

import json
import random
import subprocess
import threading

import pollux


class Relay:
    """Carries frames between two ports; runs in `space`. What it makes there can be moved elsewhere."""

    def __init__(self, space, ends, options):
        self.process = subprocess.Popen(
            [*space.prefix(), pollux.program("tests/relay/relay"), *options, *ends],
            stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        pollux._register(self)
        if self.process.stdout.readline() != "ready\n":
            self.close()
            raise AssertionError("the relay did not start")

    def close(self):
        """Ends it; returns what it did."""
        self.process.terminate()
        text = self.process.communicate(timeout=10)[0]
        pollux._unregister(self)
        return json.loads(text) if text else None


def quiet(space):
    """A namespace in which the kernel says nothing by itself."""
    for name in ("all", "default"):
        with space.enter(), open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w", encoding="ascii") as f:
            f.write("1")


class Lossy:
    """Beside a Wire: clients reach the server's interface through a relay and a TAP interface of their own."""

    relay = None

    def insert(self, space, interface, options):
        """Puts the relay behind `interface`, which lies in `space` and has no address."""
        quiet(space)
        client = pollux.Namespace("lossy")
        self.things.append(client)
        self.relay = Relay(space, [f"packet:{interface}", "tap:plxpeer"], options)
        space.ip("link", "set", "plxpeer", "netns", client.name)
        quiet(client)
        client.ip("addr", "add", self.client_address + "/16", "dev", "plxpeer")
        client.ip("link", "set", "plxpeer", "up")
        self.namespace = client

    def close(self):
        if self.relay:
            self.relay.close()
            self.relay = None
        super().close()


class LossyTapWire(Lossy, pollux.TapWire):
    name = "tap"

    def __init__(self, relay=(), **keywords):
        self.relay_options = list(relay)
        super().__init__(**keywords)

    def open(self):
        super().open()
        self.namespace.ip("addr", "flush", "dev", "plxtap")
        self.insert(self.namespace, "plxtap", self.relay_options)


class LossyXdpWire(Lossy, pollux.XdpWire):
    name = "xdp"

    def __init__(self, relay=(), **keywords):
        self.relay_options = list(relay)
        super().__init__(**keywords)

    def open(self):
        super().open()
        self.namespace.ip("addr", "flush", "dev", "plxc")
        self.insert(self.namespace, "plxc", self.relay_options)


WIRES = {"tap": LossyTapWire, "xdp": LossyXdpWire}

BLOCK = 1 << 20
KEYS = 16  # values that are there at once


def exchange(connection, total, seed=1):
    """Writes `total` bytes of values and reads them back, both ways at once; every byte is compared.

    Returns how many went each way.
    """
    store = random.Random(seed).randbytes(2 * BLOCK)
    blocks = max(1, total // BLOCK)
    failed = []

    def value(i):
        at = i * 7919 % BLOCK
        return b"%016d" % i + store[at : at + BLOCK - 16]

    def write():
        try:
            for i in range(blocks):
                connection.send("SET", f"block-{i % KEYS}", value(i))
                connection.send("GET", f"block-{i % KEYS}")
        except Exception as error:  # handed to the reader's side
            failed.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for i in range(blocks):
        assert connection.reply() == b"+OK", f"block {i}"
        got = connection.reply()
        assert got == value(i), f"block {i}: {len(got)} bytes that are not those that were written"
    writer.join()
    assert not failed, repr(failed[0])
    return blocks * BLOCK
