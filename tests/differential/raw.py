"""RESP for comparing: one reply as the very bytes that the server sent, and what they mean."""

import socket

PATIENCE_S = 60


def encode(words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        out.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(out)


class Connection:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = bytearray()
        self.at = 0  # bytes of `data` that were given out

    def send(self, commands):
        """Sends commands in one piece, without waiting for replies."""
        self.socket.sendall(b"".join(encode(words) for words in commands))

    def call(self, *words):
        self.send([[w if isinstance(w, bytes) else str(w).encode() for w in words]])
        return parse(self.read())

    def read(self):
        """The bytes of the next reply."""
        start = self.at
        pending = 1
        while pending:
            line = self._line()
            kind, rest = line[:1], line[1:]
            pending -= 1
            if kind in (b"$", b"=", b"!"):
                if int(rest) >= 0:
                    self._need(int(rest) + 2)
                    self.at += int(rest) + 2
            elif kind in (b"*", b"~", b">"):
                pending += max(0, int(rest))
            elif kind == b"%":
                pending += 2 * int(rest)
            elif kind == b"|":
                pending += 2 * int(rest) + 1
            elif kind not in (b"+", b"-", b":", b",", b"#", b"_", b"("):
                raise ValueError(f"not RESP: {line!r}")
        reply = bytes(self.data[start : self.at])
        if self.at == len(self.data):
            self.data.clear()
            self.at = 0
        return reply

    def _need(self, n):
        while len(self.data) - self.at < n:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError("the server closed the connection")
            self.data += more

    def _line(self):
        searched = self.at
        while True:
            end = self.data.find(b"\r\n", searched)
            if end >= 0:
                line = bytes(self.data[self.at : end])
                self.at = end + 2
                return line
            searched = max(self.at, len(self.data) - 1)
            self._need(len(self.data) - self.at + 1)

    def close(self):
        self.socket.close()


class Error(bytes):
    """An error reply."""


class Status(bytes):
    """A simple string."""


class Set(list):
    """A reply whose order means nothing."""


def parse(reply):
    value, end = _value(reply, 0)
    assert end == len(reply)
    return value


def _value(data, at):
    end = data.index(b"\r\n", at)
    kind, rest = data[at : at + 1], data[at + 1 : end]
    at = end + 2
    if kind in (b"$", b"=", b"!"):
        n = int(rest)
        return (None, at) if n < 0 else (bytes(data[at : at + n]), at + n + 2)
    if kind in (b"*", b"~", b">"):
        if int(rest) < 0:
            return None, at
        items = Set() if kind == b"~" else []
        for _ in range(int(rest)):
            item, at = _value(data, at)
            items.append(item)
        return items, at
    if kind == b"%":
        pairs = {}
        for _ in range(int(rest)):
            name, at = _value(data, at)
            pairs[name], at = _value(data, at)
        return pairs, at
    if kind == b"_":
        return None, at
    if kind == b":":
        return int(rest), at
    if kind == b"#":
        return rest == b"t", at
    if kind == b",":
        return float(rest), at
    return (Error if kind == b"-" else Status)(rest), at
