"""How a server ends, and what it says of it: who asked for it, or what it crashed of."""

import ctypes
import os
import signal

import pytest

import pollux
from pollux import wait_for


def data_plane(server):
    """The process of the data plane."""
    for pid in server.pids():
        with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
            if comm.read().startswith("pollux-dataplan"):
                return pid
    raise AssertionError(server.tail())


def serving(server, starts=1):
    """It answers a little before it is ready; the supervisor gives up on one that ends before that."""
    server.wait_ready()
    wait_for(lambda: server.tail(100000).count("Ready to accept connections") == starts, "the server to be ready")


def signal_thread(pid, name, number):
    """A signal to one thread of a process, as a fault of it would be."""
    tgkill = 234
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as comm:
            if comm.read().strip() == name:
                assert ctypes.CDLL(None).syscall(tgkill, pid, int(thread), int(number)) == 0
                return
    raise AssertionError(f"{name} is no thread of {pid}")


def client_of(server, *auth):
    client = pollux.Client(pollux.socket.create_connection((server.host, server.port), timeout=pollux.PATIENCE_S))
    if auth:
        assert client.call("AUTH", *auth) == b"+OK"
    return client


@pytest.mark.parametrize("cores", ["0", "0,1"])
def test_who_shut_it_down(cores):
    """A client by its address, name and user; a signal by its sender; the control plane."""
    server = pollux.Server({"cores": cores})
    try:
        serving(server)
        with client_of(server) as root:
            root.call("ACL", "SETUSER", "alice", "on", ">secret", "+@all", "~*")
        with client_of(server, "alice", "secret") as alice:
            assert alice.call("CLIENT", "SETNAME", "closing") == b"+OK"
            number, port = alice.call("CLIENT", "ID"), alice.sock.getsockname()[1]
            alice.send("SHUTDOWN", "NOSAVE")
            assert server.process.wait(timeout=30) == 0
        assert (f"SHUTDOWN from client id={number} addr=127.0.0.1:{port} name=closing user=alice, shutting down"
                in server.tail()), server.tail()
        server.start()
        serving(server, 2)
        os.kill(data_plane(server), signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        assert f"Received SIGTERM from pid {os.getpid()} (" in server.tail(), server.tail()
        server.start()
        serving(server, 3)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == 0
        for words in (f"Received SIGINT from pid {os.getpid()} (", "Received SIGTERM from pid", "(pollux-server), user"):
            assert words in server.tail(), server.tail()
    finally:
        server.close()


def stops_and_serves_again(server, crash):
    """`crash` ends the data plane, and another one follows; what the log has by then."""
    before, pid = len(server.tail(100000)), data_plane(server)
    crash(pid)
    wait_for(lambda: f"(pid {pid}) was killed" in server.tail(100000)[before:], "its end")
    server.wait_ready()
    wait_for(lambda: "serves again" in server.tail(100000)[before:], "the supervisor to see it")
    return server.tail(100000)[before:]


def crash_by(server, *words):
    with client_of(server) as client:
        client.call("CLIENT", "SETNAME", "crasher")
        client.send(*words)
        assert client.rest() == b""


@pytest.mark.parametrize("cores", ["0", "0,1"])
def test_crash_report(cores):
    """Signal, address, registers, stack, command, client, figures; the status is the signal's; both planes tell of it."""
    server = pollux.Server({"cores": cores})
    try:
        serving(server)
        for verb, number, said in (("SEGFAULT", 11, "Accessing address: 0x"), ("PANIC", 6, "DEBUG PANIC was called"),
                                   ("ASSERT", 6, "=== ASSERTION FAILED === ")):
            text = stops_and_serves_again(server, lambda _, verb=verb: crash_by(server, "DEBUG", verb))
            for part in (f"crashed by signal: {number} (SIG", said, "POLLUX BUG REPORT START", "STACK TRACE", "crash_on_purpose",
                         "debug_start", "core_main", "REGISTERS", "RIP:", "Command: debug\n", "name=crasher", "user=default",
                         "argv[0]: 'DEBUG'\nargv[1]: ", "INFO OUTPUT", "used_memory:", "core0:", ",crashed\n", "REPORT END",
                         f"was killed by signal {number} (", f" (signal {number} on core ", ", in debug: see its report"):
                assert part in text, (part, text)
            assert text.count("REPORT START") == 1 and "cannot be read" not in text, text
        # From outside, with no command in hand; and without a report.
        text = stops_and_serves_again(server, lambda pid: os.kill(pid, signal.SIGBUS))
        for part in ("crashed by signal: 7 (SIGBUS), si_code: 0", f"Sent by PID: {os.getpid()}, UID: {os.getuid()}",
                     "none was running on this thread", "REPORT END"):
            assert part in text, (part, text)
        with client_of(server) as client:
            assert client.call("CONFIG", "SET", "crash-log-enabled", "no") == b"+OK"
        text = stops_and_serves_again(server, lambda _: crash_by(server, "DEBUG", "SEGFAULT"))
        assert "REPORT START" not in text and "killed by signal 11" in text, text
    finally:
        server.close()


def test_keys_of_a_crash_report():
    """Keys are cut, values are not shown; a crash in a script says so."""
    server = pollux.Server({"cores": "0", "busy-reply-threshold": 50})
    try:
        serving(server)
        long = "key:" + "x" * 100

        def stuck(pid):
            with client_of(server) as client, client_of(server) as other:
                client.send("EVAL", "while true do redis.call('get', KEYS[1]) end", 1, long, "secret")
                wait_for(lambda: b"BUSY" in (other.call("GET", "k") or b""), "the script to be busy")
                signal_thread(pid, "core-0", signal.SIGSEGV)
                client.rest()

        text = "none was running"
        while "none was running" in text:  # between two slices of the script
            text = stops_and_serves_again(server, stuck)
        for part in ("REPORT END", "Crashed on core 0 (thread core-0)", "Command: eval\n", f"argv[3]: '{long[:24]}'... (104 bytes)",
                     "argv[4]: 6 bytes", "slot: ", "lua"):
            assert part in text, (part, text)
        assert long not in text and "secret" not in text, text
        with client_of(server) as client:
            assert client.call("CONFIG", "SET", "watchdog-period", "200") == b"+OK"
            assert client.call("DEBUG", "SLEEP", "0.7") == b"+OK"
        wait_for(lambda: "WATCHDOG TIMER EXPIRED: core 0, command 'debug'" in server.tail(1000), "the watchdog")
        assert "freeze" in server.tail(1000) or "nanosleep" in server.tail(1000), server.tail(1000)
        with client_of(server) as client:
            assert client.call("PING") == b"+PONG"
    finally:
        server.close()
