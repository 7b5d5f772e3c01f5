"""IPv6 with the kernel as peer: neighbours, routers, ICMPv6, and the server behind it."""

import contextlib
import os
import socket
import struct

import pytest

import pollux

pytestmark = pytest.mark.wires("tap6", "xdp6")

BYTES = 4 << 20 if not pollux.FULL else 256 << 20
ALL_NODES = "ff02::1"
FAR = "2001:db8:6::2"


def icmpv6_sum(src, dst, message):
    data = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    data += struct.pack("!I3xB", len(message), 58) + message + b"\0" * (len(message) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send_icmpv6(interface, src, dst, message, hop_limit=255):
    """A frame to a group, made by hand: the kernel would not send an advertisement for us."""
    message = message[:2] + struct.pack("!H", icmpv6_sum(src, dst, message)) + message[4:]
    group = socket.inet_pton(socket.AF_INET6, dst)
    frame = b"\x33\x33" + group[12:] + pollux.interface_mac(interface) + b"\x86\xdd"
    frame += struct.pack("!IHBB", 6 << 28, len(message), 58, hop_limit)
    frame += socket.inet_pton(socket.AF_INET6, src) + group + message
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        raw.send(frame)


def link_local(interface):
    for line in pollux.run("ip", "-6", "-o", "addr", "show", "dev", interface, "scope", "link").stdout.splitlines():
        return line.split()[3].split("/")[0]
    raise AssertionError(f"{interface} has no address of the link")


def neighbour_state(host):
    return pollux.run("ip", "-6", "neigh", "show", host).stdout.split()


def test_large_values_both_ways(wire):
    value = os.urandom(BYTES)
    with pollux.Client(wire.connect()) as client:
        assert client.call("SET", "large", value) == b"+OK"
        assert client.call("GET", "large") == value
        assert client.call("CLIENT", "INFO").find(b"addr=[%s]:" % wire.client_address.encode()) > 0


def test_both_families_at_once(wire):
    four = next(a for a in wire.addresses if ":" not in a).split("/")[0]
    with contextlib.ExitStack() as stack:
        clients = []
        for i in range(40):
            to = four if i % 2 else wire.host
            clients.append(stack.enter_context(pollux.Client(socket.create_connection((to, wire.port), timeout=10))))
        for i, client in enumerate(clients):
            assert client.call("SET", f"family{i}", i) == b"+OK"
        for i, client in enumerate(clients):
            assert client.call("GET", f"family{39 - i}") == b"%d" % (39 - i)


@pytest.mark.parametrize("size", [56, 1400])
def test_ping(wire, size):
    done = pollux.run("ping", "-6", "-c", "3", "-i", "0.2", "-W", "5", "-s", str(size), wire.host, check=False)
    assert " 0% packet loss" in done.stdout, done.stdout + done.stderr


def test_the_kernel_finds_us_again(wire):
    """The server answers questions for its address, to everyone and to itself."""
    for _ in range(3):
        pollux.run("ip", "-6", "neigh", "flush", "dev", wire.client_interface, check=False)
        with pollux.Client(wire.connect()) as client:
            assert client.call("PING") == b"+PONG"
        state = neighbour_state(wire.host)
        assert "lladdr" in state and "FAILED" not in state


def test_udp_is_refused(wire):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((wire.host, 9))
        s.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):  # ICMPv6 says so
            s.recv(1)


def test_a_closed_port_refuses(wire):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((wire.host, 1), timeout=5)


def test_fragments_are_dropped(wire):
    """A ping that does not fit a frame comes in fragments: nobody answers, and nobody is hurt."""
    done = pollux.run("ping", "-6", "-c", "2", "-i", "0.2", "-W", "1", "-s", "4000", wire.host, check=False)
    assert " 100% packet loss" in done.stdout, done.stdout
    with pollux.Client(wire.connect()) as client:
        assert client.call("PING") == b"+PONG"


def test_a_router_that_advertises_itself(wire):
    """A client beyond the link is answered by way of a router, once one has said that it is one."""
    pollux.run("ip", "-6", "addr", "add", FAR + "/128", "dev", "lo", "nodad")
    try:
        def connect():
            return socket.create_connection((wire.host, wire.port), timeout=1, source_address=(FAR, 0))

        with pytest.raises((TimeoutError, OSError)):
            connect().close()
        router = link_local(wire.client_interface)
        mac = pollux.interface_mac(wire.client_interface)
        advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\x01\x01" + mac
        send_icmpv6(wire.client_interface, router, ALL_NODES, advertisement, hop_limit=254)  # forged: not of this link
        with pytest.raises((TimeoutError, OSError)):
            connect().close()
        send_icmpv6(wire.client_interface, router, ALL_NODES, advertisement)
        with pollux.Client(connect()) as client:
            assert client.call("PING") == b"+PONG"
            assert (b"addr=[%s]:" % FAR.encode()) in client.call("CLIENT", "INFO")
        gone = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0)
        send_icmpv6(wire.client_interface, router, ALL_NODES, gone)
        with pytest.raises((TimeoutError, OSError)):
            connect().close()
    finally:
        pollux.run("ip", "-6", "addr", "del", FAR + "/128", "dev", "lo")


def test_bench_over_memif():
    """Both ends are our stack."""
    try:
        wire = pollux.Memif6Wire()
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    with contextlib.closing(wire):
        tests, code, errors = wire.bench("--no-huge", "--test", "set,get", "--requests", "20000", "-c", "20",
                                         "--verify")
        assert code == 0, errors
        assert tests["set"]["errors"] == 0 and tests["get"]["errors"] == 0


class TakenWire(pollux.XdpWire):
    """The client's end has the address that the server is told to use."""

    addresses = ["10.99.0.1/16", "fd99::2/64"]
    client_addresses = ["10.99.0.2/16", "fd99::2/64"]

    def __init__(self):
        super().__init__(options={"nic-duplicate-probes": 4})  # the first may leave before the wire carries frames


def test_an_address_that_another_has():
    try:
        wire = TakenWire()
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    with contextlib.closing(wire):
        pollux.wait_for(lambda: "fd99::2 belongs to another host" in wire.server.tail(), "the complaint")
        with wire.enter(), pollux.Client(wire.connect()) as client:
            assert client.call("PING") == b"+PONG"


class VlanWire(pollux.Tap6Wire):
    """Every frame carries a tag."""

    def __init__(self):
        super().__init__(options={"nic-vlan": 7})

    def open(self):
        addresses, self.client_addresses = self.client_addresses, []
        super().open()
        made = self.namespace.ip("link", "add", "link", "plxtap", "name", "plxtap.7", "type", "vlan", "id", "7",
                                 check=False)
        if made.returncode != 0:
            raise pollux.Skip(f"VLAN interfaces cannot be made here: {made.stderr.strip()}")
        for address in addresses:
            self.namespace.add_address(address, "plxtap.7")
        self.namespace.ip("link", "set", "plxtap.7", "up")


def test_vlan():
    try:
        wire = VlanWire()
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    with contextlib.closing(wire), wire.enter():
        for host in [address.split("/")[0] for address in wire.addresses]:
            with pollux.Client(socket.create_connection((host, wire.port), timeout=10)) as client:
                value = os.urandom(1 << 20)
                assert client.call("SET", "large", value) == b"+OK"
                assert client.call("GET", "large") == value
