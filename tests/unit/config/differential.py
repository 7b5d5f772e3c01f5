"""The configuration beside a real redis-server: names, defaults, every CONFIG SET of a list of values on every
option, lines of files, glob patterns, and a rewritten file that redis-server must accept.

Usage: differential.py PROBE    (tests/unit/config/probe.c, built)
Ends with 77, skipped, where there is no redis-server.
"""
import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile

SKIPPED = 77

# Options that only we have.
OURS = {"transport", "cores", "idle-policy", "huge-pages", "runtime-dir", "run-as-user", "nic-device", "nic-address",
        "nic-gateway", "nic-neighbour", "nic-router-advertisements", "nic-duplicate-probes", "nic-mtu", "nic-vlan", "nic-rx-frames",
        "nic-tx-frames", "nic-trust-partial-checksums", "tcp-user-timeout", "tcp-congestion-control",
        "set-max-listpack-entries", "set-max-listpack-value", "lua-memory-limit"}

# Defaults that differ, and why.
OTHER_DEFAULTS = {
    "enable-debug-command": "local: failure drills use DEBUG SLEEP",
    "syslog-ident": "our own name",
    "port": "given to the judge on its command line",
    "bind": "given to the judge on its command line",
    "dir": "given to the judge on its command line",
}

# Options whose CONFIG SET has effects on the judge that have nothing to do with reading the value.
NOT_SET = {
    "bind": "rebinds the judge's sockets, and its own port with them",
    "port": "moves the judge's port",
    "tls-port": "needs certificates",
    "requirepass": "locks the test out",
    "maxclients": "is refused by the limit of open files above some number",
}

# (option, value) pairs whose results differ on purpose, as patterns; the reason beside them.
EXCEPTIONS = [
    ("activedefrag", r"(?i)yes", "needs Redis's own jemalloc there; accepted here without effect"),
    ("tls-.*", r".*", "the judge tries the certificates at once; here TLS comes later"),
    ("proc-title-template", r"\{title\}", "an empty title of the judge makes the template blank"),
    ("maxmemory|maxmemory-clients|cluster-link-sendbuf-limit", r"\d{19,}[a-z]*", "2^63 bytes and more are refused here; "
     "there they are taken, or become percentages"),
    ("save|client-output-buffer-limit", r".*\d{10,}", "what an int cannot hold is refused here and wraps there"),
]

GENERAL = ["", " ", "abc", "yes", "no", "YES", "No", "-1", "0", "1", "7", "100", "255", "65535", "65536", "2147483647",
           "2147483648", "4294967296", "-2147483649", "9223372036854775807", "9223372036854775808",
           "99999999999999999999", "007", "-0", "+5", "1 2", " 5", "5 ", "3.5", "1e3", "0x10", "1b", "1k", "1K", "2kb",
           "3mb", "1Gb", "1t", "1.5gb", "k", "10%", "0%", "100%", "101%", "-1%", "%", "5 %", "always", "default"]

SPECIAL = {
    "save": ["60 1", "60 1 30 2", "60", "0 1", "-1 1", "60 -1", "60 0", "60 x", "x 60", '""', "  60   1 ", "60 1 ",
             "60 99999999999"],
    "client-output-buffer-limit": [
        "normal 0 0 0", "replica 1mb 1k 10", "slave 5 5 5", "master 1 1 1", "NORMAL 1 1 1", "Replica 2 2 2", "foo 1 1 1",
        "normal -1 0 0", "normal 1 1 -1", "normal 1 1 x", "normal 1 1 1 pubsub 2 2 2", "normal 1 1", "normal 1x 1 1",
        "normal 0 0 0 normal 1 1 1", "normal 1 1 1 foo 2 2 2", "pubsub 1gb 1mb 60 ", "normal  1 1 1"],
    "notify-keyspace-events": ["KEA", "AKE", "Kg$", "KEm", "Km", "gxE", "nKE", "Q", "AKEmn", "d", "K", "KEg$lshzxetd",
                               "KEg$lshzxet", "KK", "A A", "kea", "E l"],
    "oom-score-adj-values": ["0 200 800", "1 2", "1 2 3 4", "-2001 0 0", "5 4 3", "a b c", "2000 2000 2000", "0 0 2001",
                             "1  2 3", "-1 -2 -3"],
    "latency-tracking-info-percentiles": ["50 99", "101", "-1", "50.5 99.99999", "a", "0 100", "1e1", "nan", "100.0",
                                          "50  99", "0x10"],
    "shutdown-on-sigint": ["save", "nosave", "save now", "now save", "save nosave", "default save", "force now nosave",
                           "save save", "foo", "save foo", "DEFAULT"],
    "oom-score-adj": ["relative", "absolute", "RELATIVE"],
    "cluster-announce-hostname": ["a.b-c", "a_b", "-", "a" * 255, "a" * 256, "ä"],
    "proc-title-template": ["{foo}", "a {config-file}", "{title", "{{title}", "{port}{tls-port}", "x{}", "a}b",
                            "{PORT} x", "{{{port}"],
    "hz": ["500", "501", "499"],
    "maxmemory-policy": ["allkeys-lru", "VOLATILE-TTL"],
    "loglevel": ["Debug", "warning"],
}
SPECIAL["shutdown-on-sigterm"] = SPECIAL["shutdown-on-sigint"]

# Lines of files: both take them or both refuse them.
LINES = ["port", "port 1 2", "port x", "user", "user foo on", "rename-command get", 'rename-command get ""',
         "include /no/such/file", "include /no/such/*.conf", "databases 0", "databases 5", "save 1", 'save ""',
         "save a b", "unixsocketperm 755", "unixsocketperm 1000", "unixsocketperm 9", "unixsocketperm 0755",
         "unixsocketperm ''", "dbfilename a/b", "appendfilename a/b", "appenddirname a/b", 'appenddirname ""',
         'appendfilename ""', 'dbfilename ""', "dir /no/such", "dir /etc/passwd", "dir /tmp", "replicaof a",
         "replicaof a b", "replicaof a 70000", "replicaof a -1", "replicaof no one", "replicaof a b c", 'replicaof ""',
         "io-threads 0", "io-threads 128", "io-threads 129", "supervised foo", "syslog-facility LOCAL1",
         "syslog-facility daemon", "list-max-ziplist-entries 5", "list-max-ziplist-entries 5 6", "foo", "foo bar",
         "bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "always-show-logo maybe", "SLAVE-PRIORITY 5",
         "enable-debug-command local", "enable-debug-command maybe", "socket-mark-id 4294967295",
         "socket-mark-id 4294967296", "tcp-backlog -1", "tcp-backlog 5", 'timeout "5"', "timeout '5'", 'timeout "5',
         'timeout "5"x', "timeout 5 # comment", "# timeout x", "   # timeout x", "\ttimeout\t5\t", '"timeout" 5',
         "maxmemory 1kb", 'client-output-buffer-limit ""', "client-output-buffer-limit normal 1 1",
         "client-output-buffer-limit normal 1 1 1", "cluster-announce-hostname a_b", "shutdown-on-sigint save now",
         "latency-tracking-info-percentiles ''", "oom-score-adj-values ''", "loglevel", "logfile a b"]


def quoted(text):
    return '"' + "".join(c if c.isalnum() or c in " -_./%{}$" else "".join("\\x%02x" % b for b in c.encode())
                         for c in text) + '"'


class Judge:
    """A redis-server on a free port of 127.0.0.1, spoken to over one socket."""

    def __init__(self, folder):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder, "--daemonize", "no"],
            stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if "Ready to accept" in line:
                break
        else:
            raise SystemExit("redis-server did not start")
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def reply(self):
        line = self.file.readline().decode()[:-2]
        if line[0] in "+-":
            return line
        if line[0] == "$":
            return self.file.read(int(line[1:]) + 2).decode()[:-2]
        return [self.reply() for _ in range(int(line[1:]))]

    def call(self, *words):
        parts = [w.encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.reply()

    def all(self):
        flat = self.call("CONFIG", "GET", "*")
        return dict(zip(flat[::2], flat[1::2]))

    def set(self, name, value):
        reply = self.call("CONFIG", "SET", name, value)
        if reply == "+OK":
            return "OK " + self.call("CONFIG", "GET", name)[1]
        return "ERR " + reply.split(") - ", 1)[-1]

    def stop(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)


class Probe:
    def __init__(self, path, folder):
        self.process = subprocess.Popen([path, "--dir", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, *words):
        self.process.stdin.write(" ".join([words[0]] + [quoted(w) for w in words[1:]]) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()[:-1]

    def set(self, name, value):
        return self.call("set", name, value)

    def stop(self):
        self.process.stdin.close()
        if self.process.wait(20):
            raise SystemExit("the probe failed")


def check_names_and_defaults(judge, probe, failures):
    theirs, ours = judge.all(), set(probe.call("names").split())
    for name in sorted(set(theirs) - ours):
        failures.append(f"{name}: Redis knows it")
    for name in sorted(ours - set(theirs) - OURS):
        failures.append(f"{name}: Redis does not know it")
    for name in sorted(ours & set(theirs)):
        value = probe.call("get", name)
        if name not in OTHER_DEFAULTS and value != "OK " + theirs[name]:
            failures.append(f"{name}: default '{theirs[name]}' there, {value} here")
    return sorted(theirs)


def is_exception(name, value):
    return any(re.fullmatch(n, name) and re.fullmatch(v, value) for n, v, _ in EXCEPTIONS)


def check_set(judge, probe, names, failures):
    generator = random.Random(20)
    count = 0
    for name in names:
        if name in NOT_SET:
            continue
        values = GENERAL + SPECIAL.get(name, [])
        # A random order, so that values meet different values before them.
        for value in generator.sample(values, len(values)):
            theirs, ours = judge.set(name, value), probe.set(name, value)
            count += 1
            if "Failed to set current oom_score_adj" in theirs:
                continue  # the kernel's refusal, not a matter of reading the value
            if theirs != ours and not is_exception(name, value):
                failures.append(f"CONFIG SET {name} '{value}': {theirs} there, {ours} here")
            if theirs != ours:  # bring them together again
                for v in ("no", "0", "60 1"):
                    judge.set(name, v)
                    probe.set(name, v)
    return count


def redis_takes(folder, path):
    """Whether redis-server starts with the file; it is told to listen nowhere, so that it ends by itself."""
    done = subprocess.run(["redis-server", path, "--port", "0", "--unixsocket", "", "--dir", folder], timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "not listen anywhere" in done.stdout, done.stdout


def check_lines(probe, folder, failures):
    path = os.path.join(folder, "line.conf")
    for line in LINES:
        with open(path, "w") as f:
            f.write(line + "\n")
        theirs, output = redis_takes(folder, path)
        ours = probe.call("line", line)
        if theirs != ours.startswith("OK"):
            failures.append(f"line '{line}': {output.strip().splitlines()[-1]} there, {ours} here")
    return len(LINES)


def check_rewritten_file(probe, folder, failures):
    """A file of Redis's options with values far from the defaults, rewritten here, starts there."""
    path = os.path.join(folder, "rewritten.conf")
    with open(path, "w") as f:
        f.write("# by hand\nmaxmemory 123mb\nsave 60 1\nsave 30 2\nslave-priority 7\nrequirepass 'a \"b\"'\n"
                "client-output-buffer-limit pubsub 1mb 2mb 3\nmaxmemory-clients 5%\nshutdown-on-sigterm now save\n"
                "latency-tracking-info-percentiles 50 99.95\noom-score-adj-values 1 2 3\nbind 127.0.0.1 -::1\n"
                "notify-keyspace-events KEA\nunixsocketperm 700\nlogfile ''\nuser alice on +@all\n"
                "rename-command KEYS ''\nappendonly yes\nmaxmemory 124mb\n")
    answer = probe.call("rewrite", path)
    if answer != "OK":
        failures.append(f"rewrite: {answer}")
    takes, output = redis_takes(folder, path)
    if not takes:
        failures.append("redis-server refuses a rewritten file: " + output)


def check_globs(judge, probe, failures):
    """Random patterns over keys of all strings of one to three odd characters."""
    generator, letters = random.Random(4), "abB-]^\\"
    keys = ["".join(k) for n in (1, 2, 3) for k in itertools.product(letters, repeat=n)]
    judge.call("MSET", *[word for key in keys for word in (key, "")])
    patterns = ["".join(generator.choice("abB*?[]^-\\") for _ in range(generator.randint(1, 8))) for _ in range(300)]
    for pattern in patterns:
        theirs = sorted(judge.call("KEYS", pattern))
        ours = sorted(k for k in probe.call("glob", pattern, *keys).split(" ") if k)
        if theirs != ours:
            failures.append(f"pattern '{pattern}': {theirs} there, {ours} here")
    return len(patterns)


def main():
    if not shutil.which("redis-server"):
        print("no redis-server")
        return SKIPPED
    failures = []
    with tempfile.TemporaryDirectory(prefix="pollux-config-") as folder:
        judge, probe = Judge(folder), Probe(sys.argv[1], folder)
        try:
            names = check_names_and_defaults(judge, probe, failures)
            patterns = check_globs(judge, probe, failures)  # before odd limits are set
            sets = check_set(judge, probe, names, failures)
            lines = check_lines(probe, folder, failures)
            check_rewritten_file(probe, folder, failures)
        finally:
            judge.stop()
        probe.stop()
    print(f"{len(names)} options, {sets} CONFIG SETs, {lines} lines, {patterns} patterns: {len(failures)} differences")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
