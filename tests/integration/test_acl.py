"""Users in files: the configuration, an ACL file, and what is written back to either; commands by other names. What
users may do is compared with Redis in tests/differential."""

import contextlib
import os
import subprocess

import pytest

import pollux

pytestmark = pytest.mark.wires("socket")


class Filed(pollux.Server):
    """A server with a configuration file."""

    def __init__(self, text, cores="0"):
        self.text = text
        super().__init__({"cores": cores}, start=False)
        self.path = os.path.join(self.folder, "pollux.conf")
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(text)

    def command(self):
        words = super().command()
        return words[:1] + [self.path] + words[1:]

    def connect(self, *auth):
        client = pollux.Client(pollux.socket.create_connection((self.host, self.port), timeout=pollux.PATIENCE_S))
        if auth:
            assert client.call("AUTH", *auth) == b"+OK"
        return client

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as f:
            return f.read()

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
            f.write(text)


@contextlib.contextmanager
def serving(server):
    try:
        server.start()
        server.wait_ready()
        yield server
    finally:
        server.close()


def refused(server):
    """What a server says that does not start."""
    try:
        words = [pollux.program("pollux-dataplane")] + server.command()[1:]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, cwd=server.folder)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done
        return done.stderr
    finally:
        server.close()


def users(client):
    """As Redis does it, a line about the default user begins with `reset`, which says sanitize-payload."""
    return sorted(line.replace(b" sanitize-payload", b"") for line in client.call("ACL", "LIST"))


def test_users_of_the_configuration():
    """Lines give users; REWRITE writes those there are, without passwords in clear; a new start finds them."""
    server = Filed('user alice on ">two words" ~a* +@read\nuser "bob" off (+get ~x)\n# kept\nmaxmemory 100mb\n', "0,1")
    with serving(server):
        with server.connect() as root, server.connect("alice", "two words") as alice:
            assert alice.call("GET", "a1") is None
            assert b"NOPERM" in alice.call("GET", "b1")
            root.call("ACL", "SETUSER", "carol", "on", "nopass", "~c", "(%R~d +get)", "&ch")
            root.call("ACL", "DELUSER", "bob")
            before = users(root)
            assert root.call("CONFIG", "REWRITE") == b"+OK"
        text = server.read("pollux.conf")
        assert "two words" not in text and "# kept" in text and "bob" not in text, text
        assert text.count("user ") == 3 and "user default" in text, text
        server.stop()
        server.start()
        server.wait_ready()
        with server.connect() as root:
            assert users(root) == before
            assert root.call("CONFIG", "REWRITE") == b"+OK"
        assert server.read("pollux.conf").replace(" sanitize-payload", "") == text


def test_wrong_users_of_the_configuration():
    """What is wrong with a line names the file, the line and the user."""
    server = Filed("# a\n\nuser alice on nopass\nuser bob on +@nosuch\nuser carol #12\nuser alice off\nuser dora (+get\n")
    try:
        done = pollux.run(*server.command(), check=False)
        assert done.returncode == 1
        for line, user, why in ((4, "bob", "Error in applying operation '+@nosuch': Unknown command or category name in ACL."),
                                (5, "carol", "The password hash must be exactly 64 characters"),
                                (6, "alice", "Duplicate user found."), (7, "dora", "Unmatched parenthesis")):
            assert f"{server.path}:{line}: user '{user}': {why}" in done.stderr, done.stderr
        done = pollux.run(pollux.program("pollux-dataplane"), "--user", "eve", "xyz", check=False)
        assert done.returncode == 1 and "command line: user 'eve': Syntax error" in done.stderr, done.stderr
    finally:
        server.close()


def test_a_file_of_users():
    """LOAD takes it as a whole or not at all, on every core; SAVE writes it; clients of users that were are closed."""
    server = Filed("aclfile users.acl\n", "0,1")
    server.write("users.acl", "user alice on >secret ~* +@all &*\nuser default on nopass ~* &* +@all\n")
    with serving(server):
        with contextlib.ExitStack() as stack:
            root = stack.enter_context(server.connect())
            clients = [stack.enter_context(server.connect("alice", "secret")) for _ in range(8)]
            server.write("users.acl", "user alice on nopass\nuser alice on\nfoo\nuser x +nosuch ~\n")
            reply = root.call("ACL", "LOAD")
            for part in (b"Duplicate user 'alice' found on line 2", b":3 should", b":4: ", b"+nosuch", b"no change"):
                assert part in reply, reply
            for client in clients:
                assert client.call("PING") == b"+PONG"
            server.write("users.acl", "user alice on >new ~* +get\n")
            assert root.call("ACL", "LOAD") == b"+OK"
            for client in clients:
                assert client.rest() == b""
            root.call("ACL", "SETUSER", "carol", "on", ">p", "~c*", "+get")
            assert root.call("ACL", "SAVE") == b"+OK"
            before = users(root)
            assert b"aclfile" not in root.call("CONFIG", "REWRITE")
        assert "user " not in server.read("pollux.conf")
        assert "carol" in server.read("users.acl") and ">p" not in server.read("users.acl")
        server.stop()
        server.start()
        server.wait_ready()
        with server.connect() as root:
            assert users(root) == before
            os.remove(os.path.join(server.folder, "users.acl"))
            assert b"No such file" in root.call("ACL", "LOAD")
            assert users(root) == before


def test_what_does_not_start():
    server = Filed("aclfile users.acl\n")
    server.write("users.acl", "user a on\nuser a\n\nuser b +nosuch\nuser c (+get\nbad\n")
    text = refused(server)
    for part in ("Duplicate user 'a' found on line 2", ":4: ", "+nosuch", ":5: Unmatched", ":6 should"):
        assert part in text, text
    assert "No such file" in refused(Filed("aclfile nowhere.acl\n"))
    assert "cannot stand beside" in refused(Filed("aclfile x\nuser a on\n"))
    assert "+nosuch" in refused(Filed("user a on +nosuch\n"))
    assert ":2: user 'a': Duplicate user" in refused(Filed("user a on\nuser a off\n"))
    assert "rename-command 'nosuch'" in refused(Filed("rename-command nosuch x\n"))
    assert "rename-command 'get'" in refused(Filed("rename-command get set\n"))


def test_other_names():
    """Rules, figures and COMMAND know a command by its own name."""
    long = "b840fc02d524045429941cc15f59e41cb7be6c52"
    server = Filed(f'rename-command CONFIG cfg\nrename-command get {long}\nrename-command flushall ""\n')
    with serving(server), server.connect() as client:
        client.call("SET", "k", "v")
        assert b"unknown command 'get'" in client.call("get", "k")
        assert client.call(long.upper(), "k") == b"v"
        assert b"unknown command" in client.call("FLUSHALL")
        assert client.call("cfg", "get", "port")[0] == b"port"
        assert b"'config|get'" in client.call("cfg", "get")
        assert client.call("COMMAND", "INFO", "config", "flushall") == [None, None]
        assert client.call("COMMAND", "INFO", "cfg")[0][0] == b"config"
        names = client.call("COMMAND", "LIST")
        assert b"config" in names and b"flushall" not in names
        assert b"Unknown command" in client.call("ACL", "SETUSER", "u", "+cfg")
        assert client.call("ACL", "SETUSER", "u", "on", "nopass", "~*", "+config|get", "+get", "+flushall") == b"+OK"
        with server.connect("u", "x") as limited:
            assert limited.call("cfg", "get", "port")[0] == b"port"
            assert b"'config|set'" in limited.call("cfg", "set", "hz", "10")
            assert limited.call(long, "k") == b"v"
        assert b"cmdstat_get:calls=2" in client.call("INFO", "commandstats")
