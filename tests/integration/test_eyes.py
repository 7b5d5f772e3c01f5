"""What an operator sees of a port that the kernel does not: connections, counters, neighbours, frames, echoes.

What polluxctl says is held against what the test did, and against the client's kernel."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

import pollux
from pollux import wait_for


@pytest.fixture(autouse=True)
def attached(wire):
    """The server answers before its control plane has attached."""

    def ready():
        done = ctl(wire, "status", "--json", check=False)
        return done.returncode == 0 and json.loads(done.stdout)["data_plane"].get("ready")

    wait_for(ready, "the control plane to attach")


def ctl_words(wire, *words):
    return [pollux.program("polluxctl"), "-p", str(wire.port), "--runtime-dir", wire.server.folder, *words]


def ctl(wire, *words, check=True):
    return pollux.run(*ctl_words(wire, *words), check=check)


def rows(wire, *words):
    return [json.loads(line) for line in ctl(wire, "connections", "--json", *words).stdout.splitlines()]


def counters(wire):
    cores = json.loads(ctl(wire, "nic", "--json").stdout)
    names = {name for core in cores for name in core["counters"]}
    return {name: sum(core["counters"].get(name, 0) for core in cores) for name in names}


@contextlib.contextmanager
def capturing(wire, path, *words):
    """polluxctl capture, from when it captures until the test has done its part."""
    before = os.path.getsize(path) if os.path.exists(path) else 0
    process = subprocess.Popen(ctl_words(wire, "capture", "-w", path, *words), stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: process.poll() is not None or os.path.exists(path) and os.path.getsize(path) > before,
                 "the capture to begin")
        assert process.poll() is None, process.stderr.read()
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def tcpdump(path, *words):
    return pollux.run("tcpdump", "-nn", "-r", path, *words).stdout.splitlines()


def test_connections_say_what_was_done(wire):
    with pollux.Client(wire.connect()) as client:
        host, port = client.sock.getsockname()[:2]
        assert client.call("CLIENT", "SETNAME", "operator") == b"+OK"
        assert client.call("SET", "eyes", b"x" * 100000) == b"+OK"
        assert len(client.call("GET", "eyes")) == 100000
        found = rows(wire, "--peer", f"{host}:{port}", "--state", "estab")
        assert len(found) == 1
        row = found[0]
        assert row["name"] == "operator" and row["id"] == client.call("CLIENT", "ID")
        assert row["local"] == f"{wire.host}:{wire.port}" and row["remote"] == f"{host}:{port}"
        assert row["bytes_in"] > 100000 and row["bytes_out"] > 100000
        assert row["bytes_acked"] <= row["bytes_out"] + 1
        assert row["mss"] >= 500 and row["rtt_us"] > 0 and row["cwnd"] >= row["mss"] and row["rto_us"] >= 1000
        assert row["timestamps"] and row["sack"] and row["scaling"] and row["congestion"]
        assert row["data_segments_in"] >= 2 and row["segments_in"] >= row["data_segments_in"]
        assert row["unread"] == 0 and row["unsent"] == 0
        text = ctl(wire, "connections", "--info", "--peer", f"{host}:{port}").stdout
        assert text.startswith("ESTABLISHED") and "name:operator" in text
        assert " ts sack " in text and f" mss:{row['mss']} " in text and "wscale:" in text and "send " in text
        if wire.name != "socket":
            with socket.create_connection((wire.host, wire.port)) as idle:
                peer = "%s:%d" % idle.getsockname()[:2]
                wait_for(lambda: rows(wire, "--peer", peer, "--state", "established"), "the connection")
                assert "timer:(keepalive," in ctl(wire, "connections", "--info", "--peer", peer).stdout
        assert rows(wire, "--peer", f"{host}:{port}", "--state", "time-wait") == []
        assert rows(wire, "--peer", "203.0.113.0/24") == []


def test_many_connections_are_paged_and_sorted(wire):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(pollux.Client(wire.connect())) for _ in range(300)]
        for i, client in enumerate(clients):
            assert client.call("ECHO", b"x" * (10 * i)) == b"x" * (10 * i)
        found = rows(wire, "--limit", "0", "--state", "established")
        assert len({row["remote"] for row in found}) == len(found) >= 300
        mine = {"%s:%d" % c.sock.getsockname()[:2]: i for i, c in enumerate(clients)}
        best = rows(wire, "--sort", "bytes_out", "--limit", "5", "--state", "established")
        assert [mine.get(row["remote"]) for row in best] == [299, 298, 297, 296, 295]
        # A page ends where the next one begins.
        seen, cursor = [], "0"
        while cursor:
            done = ctl(wire, "connections", "--json", "--limit", "70", "--cursor", cursor, "--state", "established")
            seen += [json.loads(line)["remote"] for line in done.stdout.splitlines()]
            cursor = done.stderr.split("--cursor ")[1].split("'")[0] if "--cursor" in done.stderr else None
        assert sorted(seen) == sorted(row["remote"] for row in found)


@pytest.mark.wires("tap", "xdp")
def test_counters_by_cause(wire):
    before = counters(wire)
    with socket.socket() as s:
        s.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            s.connect((wire.host, 9))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (wire.host, 9))
    wait_for(lambda: counters(wire)["ip_protocol"] > before["ip_protocol"], "the datagram")
    after = counters(wire)
    assert after["tcp_no_port"] == before["tcp_no_port"] + 1
    assert after["frames_in"] > before["frames_in"] and after["bytes_out"] > before["bytes_out"]
    text = ctl(wire, "nic").stdout
    assert "Device" in text and "MTU" in text and "Queues" in text
    assert any(line.split()[:2] == ["tcp_no_port", str(after["tcp_no_port"])] for line in text.splitlines())
    told = ctl(wire, "nic", "--all", "--explain").stdout
    assert "segments to a port where nobody listens" in told
    about = json.loads(ctl(wire, "nic", "--json").stdout)[0]["about"]
    assert set(after) == set(about) and all(name in told for name in about)


@pytest.mark.wires("tap", "xdp")
def test_neighbours(wire):
    wire.connect().close()
    mac = pollux.run("cat", f"/sys/class/net/{wire.client_interface}/address", check=False).stdout.strip()
    found = [n for n in json.loads(ctl(wire, "neighbours", "--json").stdout) if n["address"] == wire.client_address]
    assert found and all(n["state"] in ("REACHABLE", "STALE", "DELAY", "PROBE") for n in found)
    assert all(len(n["mac"]) == 17 and n["family"] == 4 for n in found)
    assert not mac or wire.name == "tap" or any(n["mac"] == mac for n in found)
    assert wire.client_address in ctl(wire, "neighbours").stdout


@pytest.mark.wires("tap", "xdp")
def test_capture_is_what_tcpdump_and_scapy_read(wire, tmp_path):
    from scapy.all import IP, TCP, Raw, rdpcap

    path = str(tmp_path / "trace.pcapng")
    began = time.time()
    with capturing(wire, path, "--filter", f"tcp port {wire.port}") as process:
        with pollux.Client(wire.connect()) as client:
            port = client.sock.getsockname()[1]
            for i in range(20):
                assert client.call("ECHO", f"number {i}") == f"number {i}".encode()
        wait_for(lambda: any(row["remote"].endswith(f":{port}") for row in rows(wire)) is False
                 or rows(wire, "--peer", f":{port}", "--state", "time-wait,close-wait,last-ack") != [], "its end")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        said = process.stderr.read()
    assert "frames captured" in said and " 0 dropped" in said
    packets = [p for p in rdpcap(path) if TCP in p and port in (p[TCP].sport, p[TCP].dport)]
    to_us = b"".join(bytes(p[Raw]) for p in packets if p[TCP].dport == wire.port and Raw in p)
    from_us = b"".join(bytes(p[Raw]) for p in packets if p[TCP].sport == wire.port and Raw in p)
    assert to_us.count(b"number 19") == 1 and from_us.count(b"number 19") == 1
    assert packets[0][TCP].flags == "S" and packets[1][TCP].flags == "SA"
    assert all(began - 5 < float(p.time) < time.time() + 5 for p in packets)
    assert [float(p.time) for p in packets] == sorted(float(p.time) for p in packets)
    assert all(IP in p and {p[IP].src, p[IP].dst} == {wire.host, wire.client_address} for p in packets)
    lines = tcpdump(path, f"port {port}")
    assert len(lines) == len(packets) and "Flags [S]" in lines[0] and "Flags [S.]" in lines[1]
    assert directions(path, port) == {"in", "out"}


def directions(path, port):
    """From the flags of the frames' blocks: in for what came to the server, checked against the ports."""
    with open(path, "rb") as f:
        data = f.read()
    seen, at = set(), 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0 and struct.unpack_from("<I", data, at + size - 4)[0] == size
        if kind == 6:
            captured, = struct.unpack_from("<I", data, at + 20)
            frame = data[at + 28:at + 28 + captured]
            code, length, flags = struct.unpack_from("<HHI", data, at + 28 + (captured + 3) // 4 * 4)
            assert (code, length) == (2, 4)
            source, destination = struct.unpack_from(">HH", frame, 14 + (frame[14] & 15) * 4)
            if port in (source, destination):
                assert (flags & 3) == (1 if source == port else 2)
                seen.add("in" if flags & 3 == 1 else "out")
        at += size
    return seen


@pytest.mark.wires("tap", "xdp")
def test_lines_and_limits(wire):
    capture = subprocess.Popen(ctl_words(wire, "capture", "--filter", "icmp", "--count", "4", "--json", "--snaplen",
                                         "60"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        # Until it captures nobody knows which echo is the first.
        while capture.poll() is None:
            pollux.run("ping", "-c", "1", "-W", "5", wire.host)
        out, _ = capture.communicate(timeout=10)
    finally:
        capture.kill()
        capture.wait()
    frames = [json.loads(line) for line in out.splitlines()]
    assert capture.returncode == 0 and len(frames) == 4
    assert all(f["protocol"] == "ICMP" and f["captured"] == 60 and f["length"] == 98 for f in frames)
    assert {f["direction"] for f in frames} == {"in", "out"}
    assert {(f["source"], f["direction"]) for f in frames} == {(wire.client_address, "in"), (wire.host, "out")}
    done = ctl(wire, "capture", "--seconds", "0.2", "--filter", "port 1")
    assert done.stdout == "" and "0 frames captured" in done.stderr
    for words, code, text in (
        (("--filter", "no such words"), 2, "--filter: "),
        (("--snaplen", "1"), 2, "--snaplen takes bytes"),
        (("--core", "9"), 1, "has no core 9"),
        (("-w", "/no/such/folder/file", "--seconds", "1"), 1, "cannot write /no/such/folder/file"),
        (("port", "80"), 2, "a filter is given with --filter"),
    ):
        done = ctl(wire, "capture", *words, check=False)
        assert done.returncode == code and text in done.stderr and done.stderr.count("\n") == 1, done


def control(wire):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(os.path.join(wire.server.folder, f"{wire.port}.control"))
    return pollux.Client(s)


def instruction(code, jt, jf, k):
    return struct.pack("<HBBI", code, jt, jf, k)


@pytest.mark.wires("tap", "xdp")
def test_a_hostile_filter_is_refused(wire):
    """Programs that pcap_compile would never make: refused by the core, which goes on."""
    accept = instruction(0x06, 0, 0, 0xFFFFFFFF)
    hostile = [
        b"x" * 7,  # not even instructions
        instruction(0x05, 0, 0, 1000) + accept,  # a jump out of the program
        instruction(0x05, 0, 0, 0xFFFFFFFF) + accept,  # and backwards
        instruction(0x15, 200, 0, 1) + accept,
        instruction(0x60, 0, 0, 99) + accept,  # memory that there is not
        instruction(0x02, 0, 0, 0x7FFFFFFF) + accept,
        instruction(0x34, 0, 0, 0) + accept,  # a division by zero
        instruction(0xFFFF, 0, 0, 0) + accept,
        instruction(0x00, 0, 0, 1),  # no end
        accept * 1025,
    ]
    for program in hostile:
        with control(wire) as c:
            answer = c.call("CAPTURE", "START", "100", "*", program)
            assert isinstance(answer, bytes) and answer.startswith(b"-ERR the filter"), (program[:8].hex(), answer)
    with control(wire) as c:  # loads far outside of the frame are no match
        c.call("CAPTURE", "START", "100", "*", instruction(0x20, 0, 0, 0x7FFFFFFF) + accept)
        pollux.run("ping", "-c", "1", "-W", "5", wire.host)
        with control(wire) as other:
            assert "another capture runs" in str(other.call("CAPTURE", "START", "100", "*", accept))
            assert "no capture" in str(other.call("CAPTURE", "READ"))
        assert b"captured" in str(c.call("CAPTURE", "READ")).encode()
    # The end of the connection is the end of the capture.
    wait_for(lambda: ctl(wire, "capture", "--seconds", "0.05", check=False).returncode == 0, "the capture's end")
    wire.connect().close()


@pytest.mark.wires("tap", "xdp")
def test_a_killed_capture_ends(wire, tmp_path):
    path = str(tmp_path / "killed.pcapng")
    with contextlib.suppress(AssertionError):
        with capturing(wire, path) as process:
            process.kill()
    wait_for(lambda: ctl(wire, "capture", "--seconds", "0.05", check=False).returncode == 0, "the next capture")
    assert not [name for name in os.listdir(wire.server.folder) if ".capture." in name]
    # One that hangs loses its lease; the core stops by itself.
    path = str(tmp_path / "hung.pcapng")
    process = subprocess.Popen(ctl_words(wire, "capture", "-w", path), stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: os.path.exists(path) and os.path.getsize(path), "the capture to begin")
        process.send_signal(signal.SIGSTOP)
        pollux.run("ping", "-c", "1", "-W", "5", wire.host)
        before = counters(wire)["capture_frames"]

        def still():
            nonlocal before
            pollux.run("ping", "-c", "1", "-W", "5", wire.host)
            now, before_was = counters(wire)["capture_frames"], before
            before = now
            return now == before_was

        wait_for(still, "the core to stop")
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=10) == 1 and "the capture has ended" in process.stderr.read()
    finally:
        process.kill()
        process.wait()


@pytest.mark.wires("tap", "xdp")
def test_a_capture_under_load_costs_the_traffic_nothing(wire, tmp_path):
    """What is captured may be cut short by a slow reader; what is served may not."""
    path = str(tmp_path / "load.pcapng")
    value = os.urandom(200000)
    with capturing(wire, path, "--snaplen", "80"):
        with pollux.Client(wire.connect()) as client:
            for _ in range(50):
                assert client.call("SET", "load", value) == b"+OK"
                assert client.call("GET", "load") == value
    lines = tcpdump(path, f"port {wire.port}")
    after = counters(wire)
    assert len(lines) + after["capture_dropped"] > 50 * 2 * len(value) // 65536


@pytest.mark.wires("tap", "xdp")
def test_ping(wire):
    done = ctl(wire, "ping", wire.client_address, "--count", "3", "--interval", "20", "--size", "100")
    assert done.stdout.count(f"108 bytes from {wire.client_address}: icmp_seq=") == 3
    assert "3 packets transmitted, 3 received, 0% packet loss" in done.stdout
    assert "rtt min/avg/max/mdev = " in done.stdout
    lines = [json.loads(line) for line in
             ctl(wire, "ping", wire.client_address, "--count", "2", "--interval", "1", "--size", "0",
                 "--json").stdout.splitlines()]
    assert [line["outcome"] for line in lines[:2]] == ["reply", "reply"] and lines[2]["received"] == 2
    assert 0 < lines[2]["rtt_ms"]["min"] <= lines[2]["rtt_ms"]["avg"] <= lines[2]["rtt_ms"]["max"]
    if wire.cores > 1:
        done = ctl(wire, "ping", wire.client_address, "--count", "1", "--core", str(wire.cores - 1), check=False)
        assert done.returncode == 0 or "this core has no queue" in done.stderr
    for words, code, text in (
        (("203.0.113.1",), 1, "no route"),
        ((wire.host,), 1, "the address is our own"),
        (("nonsense",), 1, "is no IPv4 or IPv6 address"),
        ((wire.client_address, "--size", "60000"), 1, "larger than the MTU"),
        ((), 2, "ping takes one ADDRESS"),
    ):
        done = ctl(wire, "ping", *words, check=False)
        assert done.returncode == code and text in done.stderr and done.stderr.count("\n") == 1, done
    nobody = wire.host.rsplit(".", 1)[0] + ".77"
    done = ctl(wire, "ping", nobody, "--count", "1", check=False)
    assert done.returncode == 1 and f"{nobody} has no hardware address" in done.stdout
    assert "100% packet loss" in done.stdout


@pytest.mark.wires("socket")
def test_what_only_the_stack_has(wire):
    for words, text in (
        (("neighbours",), "ip neigh"),
        (("capture", "--seconds", "1"), "capture with tcpdump"),
        (("ping", "127.0.0.1"), "use ping(8)"),
    ):
        done = ctl(wire, *words, check=False)
        assert done.returncode == 1 and text in done.stderr and done.stderr.count("\n") == 1, done
    assert ctl(wire, "nic").stdout.startswith("transport socket: the kernel has the NIC")


@pytest.mark.wires("tap")
def test_a_link_that_is_down(wire):
    """Frames that nobody takes are offered again now and then, not in a circle without an end; then all goes on."""
    def busy():
        return max(core["busy_percent"] for core in json.loads(ctl(wire, "--json", "cores").stdout))

    with pollux.Client(wire.connect()) as client:
        assert client.call("PING") == b"+PONG"
        wire.namespace.ip("link", "set", "plxtap", "down")
        try:
            ctl(wire, "ping", wire.client_address, "--count", "1", check=False)  # something that wants to leave
            pollux.wait_for(lambda: busy() < 50, "a core that rests")
        finally:
            wire.namespace.ip("link", "set", "plxtap", "up")
        assert client.call("PING") == b"+PONG"


@pytest.mark.wires("xdp", "tap")
def test_a_second_server_is_refused(wire):
    """An interface that a server has stays its own: another that names it ends with the reason, and harms nobody."""
    options = {name: wire.server.options[name] for name in ("transport", "nic-device", "nic-address")
               if name in wire.server.options}
    second = pollux.Server(options, prefix=wire.server.prefix, start=False)
    with contextlib.closing(second), pollux.Client(wire.connect()) as client:
        second.start()
        pollux.wait_for(lambda: second.process.poll() is not None, "the second server to end")
        assert second.process.returncode not in (0, None)
        assert "has the interface" in second.tail()
        assert client.call("PING") == b"+PONG"
        with pollux.Client(wire.connect()) as other:
            assert other.call("PING") == b"+PONG"
