"""Frames that no honest sender makes, on the wire beside a client that works: it must not notice."""

import contextlib
import os
import random
import socket
import struct
import threading

import pytest

import pollux

pytestmark = pytest.mark.wires("tap", "xdp")

FRAMES = 4000 if not pollux.FULL else 100000


@pytest.fixture(scope="module")
def scapy():
    return pytest.importorskip("scapy.all", reason="scapy is not installed")


class PacketSocket(socket.socket):
    """Knows the hardware addresses of both ends."""

    server_mac = own_mac = "ff:ff:ff:ff:ff:ff"


@pytest.fixture
def attacker(wire):
    """A raw socket on the clients' interface, and the addresses to use."""
    with PacketSocket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((wire.client_interface, 0))
        # The server's MAC address is in the neighbour table since the first connection.
        shown = pollux.run("ip", "neigh", "show", wire.host).stdout.split()
        raw.server_mac = shown[shown.index("lladdr") + 1] if "lladdr" in shown else "ff:ff:ff:ff:ff:ff"
        raw.own_mac = ":".join(f"{b:02x}" for b in pollux.interface_mac(wire.client_interface))
        yield raw


@contextlib.contextmanager
def client_at_work(wire):
    """A client that writes and reads all the time; every answer must be right, and it must get on."""
    stop = threading.Event()
    state = {"done": 0, "error": None}
    connection = pollux.Client(wire.connect())

    def work():
        try:
            while not stop.is_set():
                i = state["done"]
                assert connection.call("SET", "work", i) == b"+OK"
                assert connection.call("GET", "work") == b"%d" % i
                state["done"] += 1
        except Exception as error:  # handed to the test
            state["error"] = error

    worker = threading.Thread(target=work)
    worker.start()
    try:
        pollux.wait_for(lambda: state["done"] > 10 or state["error"], "the client to get on")
        yield state
        before = state["done"]
        pollux.wait_for(lambda: state["done"] > before + 10 or state["error"], "the client to get on afterwards")
    finally:
        stop.set()
        worker.join()
        connection.close()
    assert state["error"] is None, repr(state["error"])


def send(raw, frame):
    """Sends as fast as the interface takes frames."""
    while True:
        try:
            raw.send(frame)
            return
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno == 105:  # ENOBUFS: the queue of the interface is full
                continue
            raise


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_frame(raw, source, wire, sport, flags, seq=0, ack=0, payload=b"", options=b"", window=65535, bad_sum=False):
    """An Ethernet frame with IPv4 and TCP; made by hand because thousands of them are wanted."""
    options += b"\0" * (-len(options) % 4)
    src, dst = socket.inet_aton(source), socket.inet_aton(wire.host)
    seq, ack = seq % 2**32, ack % 2**32
    tcp = struct.pack("!HHIIBBHHH", sport, wire.port, seq, ack, (5 + len(options) // 4) << 4, flags, window, 0, 0)
    tcp += options + payload
    total = checksum(src + dst + struct.pack("!BBH", 0, 6, len(tcp)) + tcp) ^ (0x5555 if bad_sum else 0)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), random.getrandbits(16), 0, 64, 6, 0, src, dst)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return ethernet(raw) + ip + tcp


def ethernet(raw, kind=0x0800):
    mac = bytes.fromhex(raw.server_mac.replace(":", ""))
    return mac + bytes.fromhex(raw.own_mac.replace(":", "")) + struct.pack("!H", kind)


FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def test_syn_flood(wire, attacker):
    """Connections that are never finished fill a bounded table; who is connected works on, and who
    comes afterwards gets in."""
    rng = random.Random(1)
    before = wire.server.resident()
    network = wire.client_address.rsplit(".", 2)[0]
    with client_at_work(wire):
        for _ in range(FRAMES * 5):
            source = f"{network}.{rng.randrange(1, 250)}.{rng.randrange(3, 250)}"
            options = b"\x02\x04\x05\xb4" if rng.random() < 0.8 else b""
            send(attacker, tcp_frame(attacker, source, wire, rng.randrange(1024, 65536), SYN, rng.getrandbits(32),
                                     options=options))

    def gets_in():
        with contextlib.suppress(OSError):
            with pollux.Client(wire.connect(timeout=2)) as c:
                return c.call("PING") == b"+PONG"

    pollux.wait_for(gets_in, "a new client to get in after the flood", patience_s=90)
    assert wire.server.resident() - before < 128 << 20


def test_bad_checksums_are_dropped(wire, attacker):
    """A command in a segment with a bad sum must not be executed."""
    with client_at_work(wire), pollux.Client(wire.connect()) as victim:
        assert victim.call("PING") == b"+PONG"
        sport = victim.sock.getsockname()[1]
        payload = pollux.encode("SET", "forged", "1")
        for i in range(FRAMES):
            send(attacker, tcp_frame(attacker, wire.client_address, wire, sport, PSH | ACK, i * 1000003, i, payload,
                                     bad_sum=True))
        assert victim.call("PING") == b"+PONG"
        assert victim.call("EXISTS", "forged") == 0


def test_blind_resets_and_syns(wire, attacker):
    """RST, SYN and data with guessed numbers do not end or change a connection (RFC 5961)."""
    rng = random.Random(3)
    with client_at_work(wire), pollux.Client(wire.connect()) as victim:
        assert victim.call("PING") == b"+PONG"
        sport = victim.sock.getsockname()[1]
        for _ in range(FRAMES):
            flags = rng.choice([RST, RST | ACK, SYN, SYN | ACK, FIN | ACK, PSH | ACK, 0, 0xFF])
            send(attacker, tcp_frame(attacker, wire.client_address, wire, sport, flags, rng.getrandbits(32),
                                     rng.getrandbits(32), b"FLUSHALL\r\n" if flags & PSH else b""))
        assert victim.call("SET", "still", "here") == b"+OK"
        assert victim.call("GET", "still") == b"here"


def test_absurd_options(wire, attacker):
    """Options of length 0, 1, beyond the header, twice, unknown."""
    rng = random.Random(4)
    odd = [b"\x02\x00\x05\xb4", b"\x02\x04\x00\x00", b"\x02\x04\x00\x01", b"\x03\x03\xff", b"\x03\x01", b"\x08\x0a\0\0",
           b"\x05\x02", b"\x05\x0a" + b"\xff" * 8, b"\xfe\x28" + b"a" * 8, b"\x02\xff", b"\x01" * 39 + b"\x08",
           b"\x02\x04\x05\xb4" * 10, b"\x04\x02" * 20, b"\x13\x12" + b"m" * 16]
    with client_at_work(wire):
        for i in range(FRAMES):
            send(attacker, tcp_frame(attacker, wire.client_address, wire, 1024 + i % 60000, rng.choice([SYN, ACK, SYN | FIN]),
                                     rng.getrandbits(32), options=rng.choice(odd)[:40]))


def test_truncated_and_mangled_frames(wire, attacker):
    """Valid frames cut short, with lies in their length fields, with random bytes changed."""
    rng = random.Random(5)
    whole = tcp_frame(attacker, wire.client_address, wire, 5555, SYN, 1, options=b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + b"\0" * 8)
    with client_at_work(wire):
        for _ in range(FRAMES):
            frame = bytearray(whole)
            for _ in range(rng.randrange(4)):
                frame[rng.randrange(12, len(frame))] = rng.getrandbits(8)
            kind = rng.randrange(4)
            if kind == 0:
                frame = frame[: rng.randrange(14, len(frame))]
            elif kind == 1:  # IP's length, and its checksum made right again
                frame[16:18] = struct.pack("!H", rng.choice([0, 1, 19, 20, 39, 1500, 65535]))
                frame[24:26] = b"\0\0"
                frame[24:26] = struct.pack("!H", checksum(bytes(frame[14:34])))
            elif kind == 2:  # IP's header length or version
                frame[14] = rng.getrandbits(8)
            else:  # TCP's header length
                frame[46] = rng.getrandbits(8)
            send(attacker, bytes(frame))


def test_fragments_and_other_protocols(wire, attacker, scapy):
    """Fragments (overlapping ones too), IP options, ICMP, ARP that lies, IPv6, unknown ethertypes."""
    ether = scapy.Ether(src=attacker.own_mac, dst=attacker.server_mac)
    ip = scapy.IP(src=wire.client_address, dst=wire.host)
    tcp = scapy.TCP(sport=7777, dport=wire.port, flags="S", seq=1)
    frames = [bytes(ether / part) for part in scapy.fragment(ip / scapy.UDP(sport=1, dport=2) / (b"f" * 3000), 500)]
    frames += [bytes(ether / part) for part in scapy.fragment(ip / tcp / (b"g" * 100), 24)]
    frames += [
        bytes(ether / scapy.IP(src=wire.client_address, dst=wire.host, flags="MF", frag=0) / tcp),
        bytes(ether / scapy.IP(src=wire.client_address, dst=wire.host, frag=1) / (b"x" * 64)),
        bytes(ether / scapy.IP(src=wire.client_address, dst=wire.host, options=[scapy.IPOption_RR()]) / tcp),
        bytes(ether / scapy.IP(src=wire.client_address, dst=wire.host, ttl=0) / tcp),
        bytes(ether / scapy.IP(src="127.0.0.1", dst=wire.host) / tcp),
        bytes(ether / scapy.IP(src="255.255.255.255", dst=wire.host) / tcp),
        bytes(ether / scapy.IP(src="224.0.0.1", dst=wire.host) / tcp),
        bytes(ether / scapy.IP(src=wire.host, dst=wire.host) / tcp),
        bytes(ether / ip / scapy.ICMP(type=3, code=4, nexthopmtu=1) / ip / tcp),
        bytes(ether / ip / scapy.ICMP(type=3, code=1) / ip / tcp),
        bytes(ether / ip / scapy.ICMP(type=5, gw="10.1.1.1") / ip / tcp),
        bytes(ether / ip / scapy.ICMP() / (b"p" * 1400)),
        bytes(ether / scapy.ARP(op=2, psrc="10.0.0.77", hwsrc="02:00:00:00:00:77", pdst=wire.host)),
        bytes(ether / scapy.ARP(op=1, hwlen=255, psrc=wire.host, pdst=wire.host)),
        bytes(ether)[:12] + b"\x08\x06" + b"\0" * 8,
        bytes(ether / scapy.IPv6(dst="ff02::1") / scapy.ICMPv6EchoRequest()),
        bytes(ether)[:12] + b"\x88\xcc" + os.urandom(100),
        bytes(ether)[:12] + b"\x81\x00\x00\x05\x08\x00" + bytes(ip / tcp),
    ]
    with client_at_work(wire):
        for i in range(FRAMES // 4):
            send(attacker, frames[i % len(frames)])


def test_half_open_peers(wire, attacker):
    """Peers that finish the handshake and fall silent, or vanish: others come and go as before."""
    silent = []
    try:
        for i in range(300):
            c = wire.connect()
            if i % 3 == 0:
                c.sendall(b"*1\r\n$4\r\nPI")
            silent.append(c)
        with client_at_work(wire):
            for _ in range(50):
                with pollux.Client(wire.connect()) as c:
                    assert c.call("PING") == b"+PONG"
    finally:
        for c in silent:
            c.close()


def test_ping(wire):
    """ICMP echo works, small and large."""
    pollux.run("ping", "-c", "3", "-i", "0.05", "-W", "5", wire.host)
    pollux.run("ping", "-c", "3", "-i", "0.05", "-W", "5", "-s", "1400", wire.host)
