"""The two planes and their supervisor, from outside: deaths, restarts, garbage, and what polluxctl shows.

Most tests use a data plane without packets and keys (tests/unit/plane/fake_dataplane.c), which answers what
they expect and misbehaves when told to; the last ones use the real server.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import pollux
from pollux import wait_for

FAKE = os.path.join(pollux.BUILD, "tests", "unit", "plane", "fake-dataplane")


class FakeServer(pollux.Server):
    """pollux-server with the stand-in for its data plane."""

    def __init__(self, options=None, environment=None, **keywords):
        self.environment = environment or {}
        super().__init__(options, start=False, **keywords)
        self.programs = os.path.join(self.folder, "programs")
        self.run = os.path.join(self.folder, "run")
        os.mkdir(self.programs)
        for name in ("pollux-server", "pollux-controlplane", "polluxctl"):
            shutil.copy2(pollux.program(name), self.programs)
        shutil.copy2(FAKE, os.path.join(self.programs, "pollux-dataplane"))

    def words(self):
        words = [os.path.join(self.programs, "pollux-server"), "--port", str(self.port), "--runtime-dir", self.run]
        for name, value in self.options.items():
            words += ["--" + name, str(value)]
        return words

    def command(self):
        return ["env"] + [f"{k}={v}" for k, v in self.environment.items()] + self.words()

    @property
    def socket_path(self):
        return os.path.join(self.run, f"{self.port}.control")

    def connect_control(self, timeout=pollux.PATIENCE_S):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        s.connect(self.socket_path)
        return s

    def ctl_words(self, *words):
        return [pollux.program("polluxctl"), "-p", str(self.port), "--runtime-dir", self.run, *words]

    def ctl(self, *words, check=True, timeout=60):
        return pollux.run(*self.ctl_words(*words), check=check, timeout=timeout)

    def status(self):
        done = self.ctl("status", "--json", check=False)
        return json.loads(done.stdout) if done.stdout else {}

    def wait_attached(self, besides=None):
        def attached():
            if not self.alive():
                raise AssertionError(f"the server ended:\n{self.tail()}")
            status = self.status()
            data = status.get("data_plane", {})
            return data.get("ready") and data["pid"] != besides and status

        return wait_for(attached, "an attached data plane")


class RealServer(FakeServer):
    def __init__(self, options=None):
        super().__init__({"idle-policy": "adaptive", **(options or {})})
        self.start()
        self.wait_ready()

    def words(self):
        words = super().words()
        return [pollux.program("pollux-server")] + words[1:]


@pytest.fixture
def fake():
    server = FakeServer()
    server.start()
    server.wait_attached()
    yield server
    server.close()


def gone(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def read_all(s):
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := s.recv(65536):
            got += part
    return got


def ask(s, *words):
    """One command and one simple or bulk reply."""
    request = b"*%d\r\n" % len(words)
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        request += b"$%d\r\n%s\r\n" % (len(word), word)
    s.sendall(request)
    f = s.makefile("rb")
    line = f.readline()
    if line[:1] == b"$" and line != b"$-1\r\n":
        body = f.read(int(line[1:]) + 2)
        return body[:-2]
    return line[:-2]


# --- what is shown -----------------------------------------------------------------------------------


def test_status_tells_of_both_planes(fake):
    status = fake.status()
    assert status["port"] == fake.port
    assert status["supervisor"]["pid"] == fake.process.pid
    pids = {status[k]["pid"] for k in ("supervisor", "data_plane", "control_plane")}
    assert pids == set(fake.pids())
    assert status["data_plane"]["cores"] == 2
    assert status["memory"]["used_bytes"] == 100001
    assert status["memory"]["max_bytes"] == 1 << 30
    assert status["clients"]["connected"] == 6
    assert status["keys"]["total"] == 1001
    assert status["commands"]["per_second"] == 2468
    assert status["lease"]["state"] == "unlimited"
    assert [core["busy_percent"] for core in status["cores"]] == [25, 25]
    text = fake.ctl("status").stdout
    for part in ("1.00 GiB", f"pid {status['data_plane']['pid']}", "25.0 %", "unlimited"):
        assert part in text
    assert "\033" not in text  # plain where there is no terminal
    assert all(line == line.rstrip() for line in text.splitlines())


def test_tables_and_json_of_the_rest(fake):
    cores = json.loads(fake.ctl("cores", "--json").stdout)
    assert [core["core"] for core in cores] == [0, 1]
    assert cores[0]["stage_percent"]["execute"] == 25
    assert [(core["keys"], core["memory_used"]) for core in cores] == [(500, 50000)] * 2
    lines = fake.ctl("cores").stdout.splitlines()
    assert lines[0].split()[:3] == ["CORE", "CPU", "BUSY"]
    nic = json.loads(fake.ctl("--json", "nic").stdout)
    assert nic[1]["counters"] == {"checksum_bad": 3, "no_listener": 1, "never": 0}
    assert nic[0]["rx_missed"] == 7 and nic[0]["link_up"] is True
    assert nic[0]["about"]["never"] == ["NOVELTIES", "what never happens"]
    text = fake.ctl("nic").stdout
    assert "net_fake0 (net_fake)" in text
    assert re.search(r"^Drops$", text, re.M) and re.search(r"^ *checksum_bad +6 +3 +3$", text, re.M)
    assert "never" not in text
    text = fake.ctl("nic", "--all", "--explain").stdout
    # A group of a newer server has a table, too.
    assert re.search(r"^NOVELTIES$", text, re.M) and re.search(r"^ *never +0 +0 +0 +what never happens$", text, re.M)
    neighbours = json.loads(fake.ctl("neighbours", "--json").stdout)
    assert [(n["core"], n["address"], n["state"]) for n in neighbours] == [
        (0, "10.9.0.2", "REACHABLE"),
        (1, "10.9.0.2", "REACHABLE"),
    ]
    assert "02:00:00:00:00:02" in fake.ctl("neighbours").stdout


def test_rates_of_what_is_watched(fake):
    ctl = subprocess.Popen(fake.ctl_words("nic", "--watch", "0.1"), stdout=subprocess.PIPE, text=True)
    seen = 0
    for line in ctl.stdout:
        seen += bool(re.search(r"COUNTER +TOTAL +A SECOND", line))
        if seen == 2:
            break
    ctl.kill()
    ctl.wait()
    assert seen == 2


def test_connections_come_in_pages(fake):
    done = fake.ctl("connections", "--limit", "0", "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == list(range(1, 251))
    done = fake.ctl("connections", "--limit", "7")
    assert len(done.stdout.splitlines()) == 8
    cursor = done.stderr.split("--cursor ")[1].split("'")[0]
    done = fake.ctl("connections", "--json", "--cursor", cursor, "--limit", "1")
    assert json.loads(done.stdout)["id"] == 8
    rows = fake.ctl("connections", "--limit", "0").stdout.splitlines()
    assert len(rows) == 251
    assert len({row.index("ESTABLISHED") for row in rows[1:]}) == 1


def test_connections_are_filtered_and_sorted(fake):
    def ids(*words):
        return [json.loads(line)["id"] for line in fake.ctl("connections", "--json", *words).stdout.splitlines()]

    assert ids("--peer", ":40123") == [124]
    assert ids("--peer", ":41000") == []
    assert ids("--sort", "rtt_us", "--limit", "3") == [250, 249, 248]
    assert ids("--sort", "rtt_us", "--reverse", "--limit", "3") == [1, 2, 3]
    assert ids("--sort", "bytes_in") == list(range(250, 200, -1))
    assert ids("--core", "1") == []
    assert len(ids("--core", "0", "--limit", "0")) == 250
    row = json.loads(fake.ctl("connections", "--json", "--peer", ":40007").stdout)
    assert row["remote"] == "10.9.0.2:40007" and row["mss"] == 1460 and row["sack"] is True
    text = fake.ctl("connections", "--info", "--peer", ":40007").stdout
    assert text.splitlines() == [
        "ESTABLISHED  0 0 10.9.0.1:6379 10.9.0.2:40007 core:0 id:8",
        "\t sack rtt:0.087/0 mss:1460 cwnd:10 bytes_received:7000 send 1.34Gbps",
    ]
    for words, code, text in (
        (("--sort", "nonsense"), 1, "connections have no 'nonsense'"),
        (("--state", "happy"), 2, "--state takes established"),
        (("--peer", "10.0.0"), 1, "a peer is ADDRESS"),
        (("--peer", "[::1"), 2, "--peer takes ADDRESS"),
        (("--core", "99"), 2, "--core takes the number of a core"),
        (("--core", "7"), 1, "has no core 7"),
        (("--local-port", "0"), 2, "--local-port takes a port"),
        (("--sort", "id", "--limit", "0"), 2, "--sort keeps at most"),
        # What a core says of its rows is not believed.
        (("--local-port", "666"), 1, "cannot be understood"),
        (("--local-port", "667"), 1, "cannot be understood"),
    ):
        done = fake.ctl("connections", *words, check=False)
        assert done.returncode == code and text in done.stderr and done.stderr.count("\n") == 1, done


def test_config_and_execute(fake):
    assert fake.ctl("config", "get", "maxclients").stdout.split() == ["maxclients", "10000"]
    assert json.loads(fake.ctl("config", "get", "maxclients", "--json").stdout) == {"maxclients": "10000"}
    assert fake.ctl("execute", "ECHO", "--json is mine").stdout == "--json is mine\n"
    done = fake.ctl("execute", "NOSUCH", check=False)
    assert done.returncode == 1 and done.stderr == "polluxctl: unknown command 'NOSUCH'\n"
    done = fake.ctl("config", "get", "nothing-like-it", check=False)
    assert done.returncode == 1


def test_a_command_has_the_time_it_is_given(fake):
    for words in (("--timeout", "1", "execute", "NEVER"), ("execute", "--timeout", "1", "NEVER")):
        done = fake.ctl(*words, check=False)
        assert done.returncode == 1 and "did not answer in time" in done.stderr, done.stderr
    # It is a limit of that connection alone, and behind the command's name a word like any other.
    assert fake.ctl("execute", "ECHO", "--timeout").stdout == "--timeout\n"
    with fake.connect_control() as s:
        assert ask(s, "TIMEOUT", "0") == b"-ERR TIMEOUT takes seconds from 1 to 86400"
        assert ask(s, "TIMEOUT", "86400") == b"+OK"
        assert ask(s, "EXECUTE", "ECHO", "x") == b"x"


def test_a_long_reply_comes_whole(fake):
    for size in (0, 1, 65000, 65536, 262144, 20_000_000):
        with fake.connect_control() as s:
            assert ask(s, "EXECUTE", "BIG", size) == b"b" * size


def test_wrong_usage_is_explained(fake):
    for words, code, text in (
        (("nonsense",), 2, "unknown subcommand 'nonsense'"),
        (("status", "--nonsense"), 2, "unknown option '--nonsense'"),
        (("-p", "99999", "status"), 2, "needs a port"),
        (("config", "frob"), 2, "config takes"),
        (("execute",), 2, "execute takes"),
        (("--timeout", "0", "execute", "PING"), 2, "--timeout takes seconds"),
        (("execute", "--timeout"), 2, "--timeout takes seconds"),
    ):
        done = fake.ctl(*words, check=False)
        assert done.returncode == code and text in done.stderr and done.stderr.count("\n") == 1
    ctl = pollux.program("polluxctl")
    done = pollux.run(ctl, "-p", "1", "--runtime-dir", fake.run, "status", check=False)
    assert done.returncode == 3 and "no Pollux server on port 1" in done.stderr
    # The only server of a folder needs no port.
    assert pollux.run(ctl, "--runtime-dir", fake.run, "status").stdout.startswith("Pollux")
    for name in ("status", "cores", "nic", "connections", "neighbours", "config", "execute", "shutdown"):
        assert f"polluxctl {name}" in pollux.run(ctl, name, "--help").stdout.replace("-p 7000 ", "")


# --- deaths ------------------------------------------------------------------------------------------


def test_control_plane_comes_back(fake):
    generations = set()
    for _ in range(3):
        before = fake.status()
        generations.add(before["control_plane"]["generation"])
        os.kill(before["control_plane"]["pid"], signal.SIGKILL)
        wait_for(lambda: gone(before["control_plane"]["pid"]), "its end")
        after = fake.wait_attached()
        assert after["data_plane"]["pid"] == before["data_plane"]["pid"]
        assert after["control_plane"]["pid"] != before["control_plane"]["pid"]
        assert fake.ctl("execute", "ECHO", "here").stdout == "here\n"
        generations.add(after["control_plane"]["generation"])
    assert len(generations) == 4


def test_data_plane_comes_back(fake):
    for _ in range(2):
        pid = fake.status()["data_plane"]["pid"]
        os.kill(pid, signal.SIGKILL)
        after = fake.wait_attached(besides=pid)
        assert after["data_plane"]["generation"] >= 2
        assert fake.ctl("execute", "PING").stdout == "PONG\n"


def test_who_asks_a_dying_data_plane_is_told(fake):
    with fake.connect_control() as s:
        assert ask(s, "EXECUTE", "DIE").startswith(b"-NODATAPLANE")
    fake.wait_attached()


def test_a_hung_data_plane_is_named(fake):
    pid = fake.status()["data_plane"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = fake.ctl("nic", check=False)
        assert done.returncode == 1 and "did not answer in time" in done.stderr and str(pid) in done.stderr
        wait_for(lambda: fake.status()["data_plane"]["hung_cores"] == 2, "both cores to be called hung")
        assert "HANG" in fake.ctl("status").stdout
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: fake.status()["data_plane"]["hung_cores"] == 0, "the cores to turn again")
    assert "turns again" in fake.tail()
    assert fake.ctl("execute", "PING").stdout == "PONG\n"


def test_garbage_between_the_planes(fake):
    for _ in range(5):
        done = fake.ctl("execute", "GARBAGE", check=False)
        assert done.returncode == 1 and "garbage" in done.stderr
        assert fake.ctl("execute", "PING").stdout == "PONG\n"


def test_planes_end_with_their_supervisor(fake):
    status = fake.status()
    os.kill(fake.process.pid, signal.SIGKILL)
    for side in ("data_plane", "control_plane"):
        wait_for(lambda side=side: gone(status[side]["pid"]), f"the end of the {side}")


# --- the control socket ------------------------------------------------------------------------------


def test_garbage_on_the_control_socket(fake):
    draw = random.Random(11)
    for _ in range(40):
        with fake.connect_control() as s:
            with contextlib.suppress(OSError):
                start = draw.choice([b"", b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$7\r\nEXECUTE\r\n$"])
                s.sendall(start + draw.randbytes(draw.choice([1, 10, 1000, 200_000])))
                s.shutdown(socket.SHUT_WR)
            read_all(s)
    for bad in (b"*9999999\r\n", b"*1\r\n$-5\r\n", b"*1\r\n+OK\r\n", b"x" * 200_000):
        with fake.connect_control() as s:
            with contextlib.suppress(OSError):
                s.sendall(bad)
            assert b"Protocol error" in read_all(s) or len(bad) > 100_000
    assert fake.ctl("execute", "PING").stdout == "PONG\n"


def test_a_request_byte_by_byte(fake):
    with fake.connect_control() as s:
        for byte in b"*2\r\n$7\r\nEXECUTE\r\n$4\r\nPING\r\nPING\r\n":
            s.sendall(bytes([byte]))
        f = s.makefile("rb")
        assert f.readline() == b"+PONG\r\n" and f.readline() == b"+PONG\r\n"


def test_replies_in_order(fake):
    with fake.connect_control() as s:
        s.sendall(b"".join(b"EXECUTE ECHO %d\r\nPING %d\r\n" % (i, i) for i in range(500)))
        f = s.makefile("rb")
        for i in range(500):
            for _ in range(2):
                assert f.readline() == b"$%d\r\n" % len(str(i))
                assert f.readline() == b"%d\r\n" % i


def test_nobody_waits_for_another_client(fake):
    with fake.connect_control() as waits, fake.connect_control() as reads_nothing, fake.connect_control() as s:
        waits.sendall(b"EXECUTE NEVER\r\n")
        reads_nothing.sendall(b"EXECUTE BIG 30000000\r\n" * 20)
        for _ in range(20):
            assert ask(s, "PING") == b"+PONG"
            assert ask(s, "EXECUTE", "ECHO", "x") == b"x"
    # Those who left while the planes worked for them are forgotten.
    wait_for(lambda: fake.status()["control_plane"]["clients"] == 1, "their places")


def test_clients_are_bounded(fake):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(fake.connect_control()) for _ in range(64)]
        for s in clients:
            assert ask(s, "PING") == b"+PONG"
        with fake.connect_control() as s:
            assert b"max number of clients" in read_all(s)
        assert ask(clients[7], "PING") == b"+PONG"
        clients[0].close()
        wait_for(lambda: fake.status(), "the free place")


# --- the supervisor ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end_leaves_nothing(number):
    server = FakeServer()
    server.start()
    server.wait_attached()
    pids = server.pids()
    assert len(pids) == 3
    server.process.send_signal(number)
    assert server.process.wait(timeout=30) == 0
    assert os.listdir(server.run) == []
    assert all(gone(pid) for pid in pids)
    server.close()


def test_shutdown_by_polluxctl(fake):
    fake.ctl("shutdown")
    assert fake.process.wait(timeout=30) == 0
    assert os.listdir(fake.run) == []


def test_shutdown_of_the_data_plane_ends_the_server(fake):
    with fake.connect_control() as s:
        ask(s, "EXECUTE", "SHUTDOWN")
    assert fake.process.wait(timeout=30) == 0
    assert os.listdir(fake.run) == []


def test_a_data_plane_that_cannot_start_gives_the_status():
    server = FakeServer(environment={"FAKE_START_STATUS": "7"})
    server.start()
    assert server.process.wait(timeout=30) == 7
    assert os.listdir(server.run) == []
    server.close()


def test_two_servers_on_one_port(fake):
    second = pollux.run(*fake.words(), check=False)
    assert second.returncode == 1
    assert f"another pollux-server (pid {fake.process.pid}) serves port {fake.port}" in second.stderr
    assert second.stderr.count("\n") == 1
    assert fake.ctl("execute", "PING").stdout == "PONG\n"


def test_a_bad_configuration_is_one_line(tmp_path):
    server = pollux.program("pollux-server")
    file = tmp_path / "bad.conf"
    file.write_text("port 7000\nno-such-option 1\n")
    done = pollux.run(server, str(file), check=False)
    assert done.returncode == 1 and f"{file}:2" in done.stderr and done.stderr.count("\n") == 1
    assert pollux.run(server, "--version").stdout.startswith("pollux-server ")
    assert "Examples:" in pollux.run(server, "--help").stdout


def test_too_few_open_files_are_one_line(tmp_path):
    """A limit that the server alone would use up: it does not start, as Redis, and says how many it takes."""
    done = pollux.run("prlimit", "--nofile=40", pollux.program("pollux-server"), "--runtime-dir", str(tmp_path),
                      "--port", str(pollux.free_port()), "--maxclients", "10", check=False)
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("pollux-dataplane: ")]
    assert lines == ["pollux-dataplane: the limit of open files, 40, is too low to start: 74 are needed for maxclients 10, "
                     "65 at the least; raise it with ulimit -n or LimitNOFILE="], done.stderr


def test_configuration_from_standard_input():
    server = FakeServer()
    process = subprocess.Popen(server.words() + ["-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    server.process = process
    process.stdin.write(b"maxclients 77\n")
    process.stdin.close()
    with open(server.log, "w", encoding="ascii"):
        pass
    server.wait_attached()
    assert server.ctl("config", "get", "maxclients").stdout.split() == ["maxclients", "77"]
    server.close()


def test_a_daemon_is_ready_when_its_parent_ends():
    server = FakeServer({"daemonize": "yes"})
    server.options.update({"pidfile": os.path.join(server.folder, "pid"), "logfile": server.log})
    done = pollux.run(*server.words(), check=False)
    with open(server.options["pidfile"], encoding="ascii") as pidfile:
        pid = int(pidfile.read())
    try:
        assert (done.returncode, done.stderr) == (0, "")
        status = server.status()
        assert status["supervisor"]["pid"] == pid
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: gone(pid), "the daemon's end")
    assert os.listdir(server.run) == [] and not os.path.exists(server.options["pidfile"])
    server.close()


def test_a_daemon_that_cannot_start_says_so():
    server = FakeServer({"daemonize": "yes", "pidfile": "/nonexistent/pid"}, environment={"FAKE_START_STATUS": "9"})
    done = pollux.run(*server.command(), check=False)
    assert done.returncode == 9
    server.close()


def test_the_service_manager_is_told():
    server = FakeServer({"supervised": "systemd"})
    path = os.path.join(server.folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(pollux.PATIENCE_S)
        server.environment["NOTIFY_SOCKET"] = path
        server.start()
        assert manager.recv(4096).startswith(b"READY=1\n")
        assert server.stop() == 0
        assert manager.recv(4096).startswith(b"STOPPING=1\n")
    server.close()


def test_planes_without_a_supervisor():
    """As systemd units run them: each comes, goes and comes again in any order."""
    server = FakeServer()
    words = ["--port", str(server.port), "--runtime-dir", server.run]
    control = [pollux.program("pollux-controlplane"), *words]
    data = [FAKE, *words]
    with contextlib.ExitStack() as stack, open(server.log, "ab") as log:

        def launch(command):
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        one = launch(control)
        wait_for(lambda: server.status(), "the control plane")
        done = server.ctl("status", check=False)
        assert done.returncode == 1 and "NOT ATTACHED" in done.stdout
        done = server.ctl("execute", "PING", check=False)
        assert done.returncode == 1 and "no data plane is attached" in done.stderr
        two = launch(data)
        server.process = one
        first = server.wait_attached()
        assert "supervisor" not in first
        refused = pollux.run(*control, check=False)
        assert refused.returncode == 1 and f"(pid {one.pid})" in refused.stderr
        two.terminate()
        assert two.wait(timeout=30) == 0
        two = launch(data)
        assert server.wait_attached(besides=first["data_plane"]["pid"])["data_plane"]["generation"] == 2
        one.kill()
        one.wait()
        one = server.process = launch(control)
        server.wait_attached()
        server.ctl("shutdown")
        assert one.wait(timeout=30) == 0 and two.wait(timeout=30) == 0
        server.process = None
    server.close()


# --- the real server ---------------------------------------------------------------------------------


def test_a_client_does_not_notice_the_control_planes_death():
    server = RealServer()
    try:
        server.wait_attached()
        stop = threading.Event()
        counts, errors = [0, 0], []

        def count(i):
            try:
                with socket.create_connection((server.host, server.port), timeout=pollux.PATIENCE_S) as s:
                    while not stop.is_set():
                        counts[i] += 1
                        assert ask(s, "INCR", f"counter{i}") == b":%d" % counts[i]
            except Exception as error:  # told to the test's thread
                errors.append(error)

        threads = [threading.Thread(target=count, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            status = server.wait_attached()
            os.kill(status["control_plane"]["pid"], signal.SIGKILL)
            wait_for(lambda pid=status["control_plane"]["pid"]: gone(pid), "its end")
            before = list(counts)
            wait_for(lambda: errors or all(c > b + 100 for b, c in zip(before, counts)), "the clients to go on")
        stop.set()
        for thread in threads:
            thread.join()
        assert not errors
        assert server.wait_attached()["data_plane"]["pid"] == status["data_plane"]["pid"]
    finally:
        server.close()


def test_polluxctl_of_the_real_server():
    server = RealServer()
    try:
        server.wait_attached()
        with socket.create_connection((server.host, server.port)) as s:
            assert ask(s, "SET", "key", "value") == b"+OK"
            host, port = s.getsockname()
            rows = [json.loads(line) for line in server.ctl("connections", "--json").stdout.splitlines()]
            mine = [row for row in rows if row["remote"] == f"{host}:{port}"]
            assert len(mine) == 1 and mine[0]["state"] == "ESTABLISHED"
            wait_for(lambda: server.status()["keys"]["total"] == 1, "the key to be counted")
            assert server.ctl("execute", "GET", "key").stdout == "value\n"
            assert server.ctl("config", "set", "maxmemory", "1gb").stdout == "OK\n"
            assert server.ctl("config", "get", "maxmemory").stdout.split() == ["maxmemory", str(1 << 30)]
            assert ask(s, "GET", "key") == b"value"
        assert server.ctl("nic").stdout.startswith("transport socket: the kernel has the NIC")
        assert [core["core"] for core in json.loads(server.ctl("cores", "--json").stdout)] == [0]
        assert server.status()["lease"]["state"] == "unlimited"
    finally:
        server.close()


def test_what_took_long():
    """polluxctl slowlog, of all cores and of one, once and followed; polluxctl latency."""
    server = RealServer({"cores": "0,1"})
    follower = None
    try:
        server.wait_attached()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection((server.host, server.port))) for _ in range(8)]
            assert ask(clients[0], "CONFIG", "SET", "slowlog-log-slower-than", "5000") == b"+OK"
            assert ask(clients[0], "CONFIG", "SET", "latency-monitor-threshold", "5") == b"+OK"
            assert server.ctl("slowlog", "--json").stdout == "[]\n"
            assert "is empty" in server.ctl("slowlog").stdout
            follower = subprocess.Popen(server.ctl_words("slowlog", "--follow", "--seconds", "0.02", "--json"),
                                        stdout=subprocess.PIPE, text=True)
            for i, s in enumerate(clients):
                assert ask(s, "CLIENT", "SETNAME", f"name-{i}") == b"+OK"
                assert ask(s, "DEBUG", "SLEEP", "0.01") == b"+OK"
            followed = [json.loads(follower.stdout.readline()) for _ in clients]
            entries = json.loads(server.ctl("slowlog", "--json").stdout)
            entries = [e for e in entries if e["arguments"] == ["DEBUG", "SLEEP", "0.01"]]
            assert [e["name"] for e in entries] == [f"name-{i}" for i in reversed(range(8))]
            assert [e for e in followed if e in entries] == [e for e in reversed(entries) if e in followed] != []
            for e, s in zip(reversed(entries), clients):
                assert e["client"] == "%s:%d" % s.getsockname() and e["core"] in (0, 1) and 10000 <= e["duration_us"] < 10**7, e
            for core in (0, 1):
                of_core = json.loads(server.ctl("slowlog", "--core", str(core), "--json").stdout)
                assert [e["id"] for e in of_core if e in entries] == [e["id"] for e in entries if e["core"] == core]
            lines = server.ctl("slowlog", "--limit", "2").stdout.splitlines()
            assert len(lines) == 3 and lines[0].split() == ["ID", "TIME", "TOOK", "CORE", "CLIENT", "COMMAND"], lines
            assert server.ctl("slowlog", "--core", "x", check=False).returncode == 2

            ask(clients[0], "GET", "k")
            latency = json.loads(server.ctl("latency", "--json").stdout)
            debug = latency["commands"]["debug"]
            assert latency["threshold_ms"] == 5 and debug["calls"] == 8, latency
            assert 10000 <= debug["p50_usec"] <= debug["p99_usec"] <= debug["p99.9_usec"] <= debug["max_usec"] < 10**7, debug
            assert latency["commands"]["get"]["max_usec"] < 10000 or latency["commands"]["get"]["calls"] == 1, latency
            event = {e["event"]: e for e in latency["events"]}["command"]
            assert event["worst_ms"] >= event["last_ms"] >= 10 and event["last_time"] > 0, event
            text = server.ctl("latency").stdout
            rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
            assert rows["COMMAND"] == ["COMMAND", "CALLS", "P50", "P99", "P99.9", "MAX", "1us", "1ms", "1s"], text
            assert rows["debug"][1] == "8" and "LATENCY DOCTOR" in text, text
            # What Redis's clients see is Redis's.
            redis = pollux.Client(clients[0])
            assert len(redis.call("SLOWLOG", "GET", "1")[0]) == 6
            assert len(redis.call("LATENCY", "HISTOGRAM", "get")[1]) == 4
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=30) == 0
    finally:
        if follower:
            follower.kill()
            follower.wait()
        server.close()


def test_the_real_server_leaves_nothing():
    server = RealServer()
    server.wait_attached()
    pids = server.pids()
    server.process.terminate()
    assert server.process.wait(timeout=30) == 0
    assert os.listdir(server.run) == []
    assert all(gone(pid) for pid in pids)
    server.close()
