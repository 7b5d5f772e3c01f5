"""redis-cli's modes and its interactive side, on one core and on two."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

import pollux


# It takes what is typed from now on.
PROMPT = r"127\.0\.0\.1:\d+> \Z"


@pytest.fixture(scope="module", params=[1, 2], ids=["1core", "2cores"])
def server(request):
    if request.param > len(os.sched_getaffinity(0)):
        pytest.skip(f"needs {request.param} CPUs")
    cores = ",".join(map(str, range(request.param)))
    server = pollux.Server({"cores": cores, "enable-debug-command": "yes", "maxmemory-policy": "allkeys-lfu"})
    server.wait_ready()
    cli(server, "debug", "populate", "300")
    cli(server, "rpush", "biglist", *map(str, range(500)))
    cli(server, "hset", "bighash", "a", "1", "b", "2")
    cli(server, "sadd", "bigset", "x", "y", "z")
    yield server
    assert server.alive(), server.tail()
    server.close()


def words_for(server, *words):
    return ["redis-cli", "-p", str(server.port), *words]


def cli(server, *words, **keywords):
    return pollux.run(*words_for(server, *words), **keywords).stdout


class Terminal:
    """redis-cli on a terminal of its own."""

    def __init__(self, server, *words):
        self.mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "HOME": server.folder}
        self.process = subprocess.Popen(words_for(server, *words), stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self.seen = ""

    def until(self, *wanted, count=1):
        """What was shown until all of it is there, colours aside."""
        deadline = time.monotonic() + pollux.PATIENCE_S
        while not all(len(re.findall(w, self.plain())) >= count for w in wanted):
            assert time.monotonic() < deadline, f"{wanted} is not in {self.seen!r}"
            if select.select([self.mine], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # it has ended
                    self.seen += os.read(self.mine, 65536).decode(errors="replace")
        shown, self.seen = self.plain(), ""
        return shown

    def plain(self):
        return re.sub(r"\x1b\[[0-9;]*[mKC]|\r", "", self.seen)

    def type(self, text):
        os.write(self.mine, text.encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        os.close(self.mine)


def test_bigkeys(server):
    text = cli(server, "--bigkeys")
    assert "Sampled 303 keys in the keyspace!" in text
    assert "Biggest   list found '\"biglist\"' has 500 items" in text
    assert "Biggest   hash found '\"bighash\"' has 2 fields" in text
    assert "Biggest    set found '\"bigset\"' has 3 members" in text
    assert "300 strings with 2590 bytes" in text


def test_memkeys(server):
    text = cli(server, "--memkeys")
    assert "Sampled 303 keys in the keyspace!" in text
    assert re.search(r"Biggest   list found '\"biglist\"' has \d{4} bytes", text)
    assert re.search(r"1 lists with \d{4} bytes", text)


def test_hotkeys(server):
    cli(server, "-r", "60", "get", "key:7")
    text = cli(server, "--hotkeys")
    assert re.search(r'hot key found with counter: \d+\tkeyname: "key:7"', text), text
    cli(server, "config", "set", "maxmemory-policy", "noeviction")
    try:
        failed = pollux.run(*words_for(server, "--hotkeys"), check=False)
        assert "An LFU maxmemory policy is not selected" in failed.stdout + failed.stderr
    finally:
        cli(server, "config", "set", "maxmemory-policy", "allkeys-lfu")


def test_scan(server):
    assert sorted(cli(server, "--scan", "--pattern", "key:*").split()) == sorted(f"key:{i}" for i in range(300))
    assert sorted(cli(server, "--scan", "--pattern", "big[hs]*").split()) == ["bighash", "bigset"]
    assert len(cli(server, "--scan").split()) == 303


def test_stat_and_latency(server):
    with Terminal(server, "--stat", "-i", "0.05") as terminal:
        terminal.until("keys +mem +clients +blocked +requests +connections", r"303 +\d\S+ +\d+ +0 +\d+")
    with Terminal(server, "--latency") as terminal:
        terminal.until(r"min: \d+, max: \d+, avg: \d+\.\d+ \(\d+ samples\)", count=3)
    with Terminal(server, "--latency-history", "-i", "0.1") as terminal:
        terminal.until(r"avg: \d+\.\d+ \(\d+ samples\) -- 0\.\d+ seconds range", count=2)
    with Terminal(server, "--latency-dist", "-i", "0.1") as terminal:
        terminal.until("from 1 to 9")


def test_pipe(server):
    commands = b"".join(pollux.encode("SET", f"piped:{i}", "value") for i in range(3000)) + pollux.encode("NOSUCH")
    done = subprocess.run(words_for(server, "--pipe"), input=commands, capture_output=True, timeout=60, check=False)
    assert b"errors: 1, replies: 3001" in done.stdout and b"ERR unknown command 'NOSUCH'" in done.stderr + done.stdout
    assert cli(server, "get", "piped:2999") == "value\n"
    cli(server, "del", *(f"piped:{i}" for i in range(3000)))


def test_eval(server):
    path = os.path.join(server.folder, "script.lua")
    with open(path, "w", encoding="utf-8") as file:
        file.write("return {KEYS[1], ARGV[1], redis.call('get', KEYS[1]), 5, redis.status_reply('fine')}")
    assert cli(server, "--eval", path, "key:1", ",", "hello").split("\n")[:5] == ["key:1", "hello", "value:1", "5", "fine"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("return redis.call('nosuch')")
    assert "Unknown Redis command called from script" in pollux.run(*words_for(server, "--eval", path), check=False).stdout


@pytest.mark.parametrize("mode", [["--rdb", "file.rdb"], ["--replica"], ["--functions-rdb", "file.rdb"]])
def test_replication_is_refused(server, mode):
    done = pollux.run(*words_for(server, *mode), check=False, timeout=30)
    assert done.returncode == 1
    assert re.search("SYNC with master failed: -ERR|error: ERR unknown command 'REPLCONF'", done.stdout + done.stderr)


def test_formats(server):
    assert cli(server, "--json", "lrange", "biglist", "0", "2") == '["0","1","2"]\n'
    assert cli(server, "--json", "hgetall", "bighash") == '{"a":"1","b":"2"}\n'
    assert cli(server, "--csv", "lrange", "biglist", "0", "2") == '"0","1","2"\n'
    assert cli(server, "--no-raw", "-3", "smismember", "bigset", "x", "none") == "1) (integer) 1\n2) (integer) 0\n"
    assert cli(server, "-3", "--no-raw", "hgetall", "bighash") == '1# "a" => "1"\n2# "b" => "2"\n'
    assert cli(server, "--quoted-input", "get", r'"key:\x31"') == "value:1\n"
    assert cli(server, "-r", "3", "-i", "0.01", "incr", "counted") == "1\n2\n3\n"
    assert cli(server, "-n", "3", "dbsize") == "0\n"
    assert cli(server, "del", "counted") == "1\n"


def test_pushes_are_shown(server):
    """Without a word from the user, what the server tells him."""
    with Terminal(server, "-3") as terminal:
        terminal.until(PROMPT)
        terminal.type("client tracking on\r")
        terminal.until("OK", PROMPT)
        terminal.type("get key:1\r")
        terminal.until('"value:1"', PROMPT)
        cli(server, "set", "key:1", "value:1")
        terminal.type("get key:2\r")
        terminal.until(r"-> invalidate: 'key:1'", '"value:2"')


def test_monitor_and_subscribe(server):
    with Terminal(server, "monitor") as terminal:
        terminal.until("OK")
        cli(server, "get", "watched")
        terminal.until(r'\[0 127.0.0.1:\d+\] "get" "watched"')
    with Terminal(server) as terminal:
        terminal.until(PROMPT)
        terminal.type("subscribe news\r")
        terminal.until("Reading messages", '"subscribe"', r"\(integer\) 1")
        assert cli(server, "publish", "news", "hello") == "1\n"
        terminal.until('"message"', '"news"', '"hello"')


def test_interactive_help(server):
    """It comes from COMMAND DOCS."""
    with Terminal(server) as terminal:
        terminal.until(PROMPT)
        terminal.type("help get\r")
        terminal.until("GET key", "summary: Gives the string that a key holds", "since: 1.0.0", "group: string", PROMPT)
        terminal.type("help @hash\r")
        terminal.until("HGETALL", "HINCRBYFLOAT", "HVALS", PROMPT)
        terminal.type("help client tracking\r")
        terminal.until("CLIENT TRACKING", "REDIRECT client-id", "group: connection", PROMPT)
        terminal.type("set ")
        terminal.until("key value")  # what may follow
        terminal.type("k v ")
        terminal.until(r"\[NX\|XX\]")
        terminal.type("\x15cli\t")
        terminal.until("CLIENT")  # completed
