#!/usr/bin/python3
"""What a script has: its libraries, its values and the walls around it, in redis-server 7.0.15 and in Pollux.
Replies must be equal to the byte, in both protocols, with one core and with two.

- probes (probes of a file scripts/NAME.txt, one Lua program a line): what there is, what can be changed, what errors say;
- random values through cjson, cmsgpack, struct, bit, and out of the script as its reply;
- random bytes into what unpacks.

usage: test_script_libraries.py [--seed N] [--rounds N] [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import os
import random
import re
import struct
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import program
from program import Difference
from raw import Connection
from rounds import shown_reply

PROBES = os.path.join(HERE, "scripts")
PROGRAMS = 40  # of a round
NAMES = ["a", "b", "key", "value", "x y", "\u00e9", ""]
# Where Lua shows an address, or how much memory it has.
ADDRESS = re.compile(rb"(table|function|userdata|thread): 0x[0-9a-f]+")
SHA1 = re.compile(rb" script: [0-9a-f]{40}, on @user_script")


def probes():
    for name in sorted(os.listdir(PROBES)):
        with open(os.path.join(PROBES, name), encoding="utf-8") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    yield name, line.rstrip("\n")


# --- random programs -------------------------------------------------------------------------------


def quoted(data):
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


class Draw:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def number(self):
        r = self.random
        kind = r.randrange(9)
        if kind < 3:
            n = r.randint(-300, 300)
        elif kind == 3:
            n = r.choice((1, -1)) * (1 << r.randint(0, 64)) + r.randint(-2, 2)
        elif kind == 4:
            n = r.uniform(-1e6, 1e6)
        elif kind == 5:
            n = struct.unpack("<d", struct.pack("<Q", r.getrandbits(64)))[0]
        elif kind == 6:
            n = r.randint(-40, 40) / 4
        elif kind == 7:
            return r.choice(("1/0", "-1/0", "0/0"))
        else:
            n = r.choice((0.1, 1e15, 1e16, 1e17, 1e100, 5e-324, 2**53, 2**53 + 1, 4294967295, 4294967296, -0.0))
        if n != n:
            return "0/0"
        if n in (float("inf"), float("-inf")):
            return f"{'-' if n < 0 else ''}1/0"
        return f"({n!r})"

    def finite(self):
        while True:
            text = self.number()
            if "/" not in text:
                return text

    def text(self):
        r = self.random
        kind = r.randrange(6)
        if kind == 0:
            return quoted(r.choice(NAMES).encode())
        if kind == 1:
            return quoted(bytes(r.getrandbits(8) for _ in range(r.randrange(40))))
        if kind == 2:
            return f'string.rep("x", {r.choice((0, 1, 15, 16, 31, 32, 33, 255, 256, 65535, 65536))})'
        if kind == 3:
            return quoted(b"a\r\nb\n")
        return quoted(bytes(r.randrange(32, 127) for _ in range(r.randrange(12))))

    def value(self, depth=0):
        """A value of any kind, in Lua's words."""
        r = self.random
        kind = r.randrange(12 if depth < 4 else 7)
        if kind < 2:
            return self.number()
        if kind < 4:
            return self.text()
        if kind == 4:
            return r.choice(("true", "false"))
        if kind == 5:
            return r.choice(("nil", "cjson.null", "tostring", "false"))
        if kind == 6:
            return "{}"
        if kind < 9:
            return "{" + ", ".join(self.value(depth + 1) for _ in range(r.randrange(5))) + "}"
        return "{" + ", ".join(f"[{self.key()}] = {self.value(depth + 1)}" for _ in range(r.randrange(5))) + "}"

    def key(self):
        r = self.random
        kind = r.randrange(6)
        if kind < 3:
            return quoted(r.choice(NAMES).encode())
        if kind == 3:
            return str(r.randint(-1, 6))
        if kind == 4:
            return r.choice(("true", "1.5", "2^40", "-1/0"))
        while True:  # longer ones Lua hashes otherwise than Redis's, so they stand in another order
            text = self.text()
            if text.count("\\") < 32 and "rep" not in text:
                return text

    def reply(self, depth=0):
        """A value as scripts return it."""
        r = self.random
        kind = r.randrange(18 if depth < 4 else 5)
        if kind < 4:
            return self.value(3)
        if kind == 4:
            return r.choice(("true", "false", "nil", "cjson.null", "tostring"))
        if kind < 7:
            return "{" + ", ".join(self.reply(depth + 1) for _ in range(r.randrange(5))) + "}"
        if kind == 7:
            return f"{{ok = {self.value(4)}}}"
        if kind == 8:
            return f"{{err = {self.value(4)}}}"
        if kind == 9:
            return f"{{double = {self.value(4)}}}"
        if kind < 12:
            pairs = ", ".join(f"[{self.key()}] = {self.reply(depth + 1)}" for _ in range(r.randrange(4)))
            return f"{{map = {{{pairs}}}}}"
        if kind < 14:
            pairs = ", ".join(f"[{self.key()}] = true" for _ in range(r.randrange(4)))
            return f"{{set = {{{pairs}}}}}"
        if kind == 14:
            return f"{{big_number = {self.value(4)}}}"
        if kind == 15:
            fields = (("string", self.text()), ("format", r.choice(('"txt"', '"mkd"', '"x"', '""', '"long"', "1"))))
            fields = ", ".join(f"{name} = {value}" for name, value in fields if r.random() < 0.9)
            return f"{{verbatim_string = {{{fields}}}}}"
        return f"redis.{r.choice(('error_reply', 'status_reply'))}({self.text()})"

    def format(self):
        """Of struct, and values that fit, more or less."""
        r = self.random
        items, values = [], []
        for _ in range(r.randrange(7)):
            kind = r.randrange(12)
            if kind < 5:
                items.append(r.choice("bBhHlLTiI"))
                values.append(self.number())
            elif kind == 5:
                items.append(r.choice("iI") + str(r.choice((0, 1, 2, 3, 5, 7, 8, 9, 16, 32))))
                values.append(self.number())
            elif kind == 6:
                items.append(r.choice("fd"))
                values.append(self.number())
            elif kind == 7:
                items.append(r.choice("<>=! x") + r.choice(("", "", "8", "2")))
            elif kind == 8:
                items.append("s")
                values.append(self.text())
            elif kind == 9:
                items.append("c" + r.choice(("", "0", "1", "3", "20")))
                values.append(self.text())
            elif kind == 10:
                items.append(r.choice("<>"))
            else:
                items.append(r.choice(("!4", "!1", "!16", "!3", "!0", "i33", "I99999999999", "z", "\\0", "b")))
                values.append(self.number())
        if r.random() < 0.1 and values:
            values.pop()
        return '"' + "".join(items) + '"', values

    def packed(self):
        """Bytes that begin like MessagePack."""
        r = self.random
        out = b""
        for _ in range(r.randrange(1, 12)):
            first = r.choice((r.randrange(256), r.randrange(0xC0, 0xE0), r.randrange(0x80, 0xC0)))
            out += bytes([first]) + bytes(r.getrandbits(8) & r.choice((0, 1, 3, 255)) for _ in range(r.randrange(9)))
        return out

    def json(self):
        r = self.random
        out = ""
        for _ in range(r.randrange(1, 20)):
            out += r.choice(
                ("[", "]", "{", "}", ",", ":", '"a"', '"b"', "1", "-1.5e3", "true", "null", "false", " ", '"\\u00e9"', "0x1f",
                 '"\\ud834\\udd1e"', '"\\ud834"', "nan", "inf", "01", "-", '"\n"', "1e999", '"\\q"', "[1,2]", '{"a":1}', "//")
            )
        return out.encode()

    def program(self):
        r = self.random
        kind = r.randrange(11)
        resp = f"redis.setresp({r.choice((2, 3))}) " if r.random() < 0.3 else ""
        if kind < 3:
            return resp + f"return {self.reply()}"
        if kind == 3:
            return f"return {{pcall(cjson.encode, {self.value()})}}"
        if kind == 4:
            return f"local ok, v = pcall(cjson.decode, {quoted(self.json())}) return {{ok, ok and cmsgpack.pack(v) or v}}"
        if kind == 5:
            return f"return {{pcall(cmsgpack.pack, {', '.join(self.value() for _ in range(r.randint(1, 3)))})}}"
        if kind == 6:
            call = r.choice(("unpack, ", "unpack_one, ", "unpack_limit, "))
            rest = {"unpack_one, ": f", {r.randint(-1, 12)}", "unpack_limit, ": f", {r.randint(-1, 4)}, {r.randint(-1, 12)}"}
            rest = rest.get(call, "") if r.random() < 0.9 else ""
            return (
                f"local r = {{pcall(cmsgpack.{call}{quoted(self.packed())}{rest})}} "
                "for i = 1, table.maxn(r) do r[i] = type(r[i]) == 'table' and cmsgpack.pack(r[i]) or tostring(r[i]) end return r"
            )
        if kind == 7:
            form, values = self.format()
            return (
                f"local ok, s = pcall(struct.pack, {', '.join([form, *values])}) if not ok then return s end "
                f"local r = {{pcall(struct.unpack, {form}, s)}} for i = 1, #r do r[i] = tostring(r[i]) end "
                f"return {{s, r, {{pcall(struct.size, {form})}}}}"
            )
        if kind == 8:
            form, _ = self.format()
            data = quoted(bytes(r.getrandbits(8) for _ in range(r.randrange(60))))
            at = r.choice(("", "", f", {r.randint(-1, 20)}"))
            return f"local r = {{pcall(struct.unpack, {form}, {data}{at})}} for i = 1, #r do r[i] = tostring(r[i]) end return r"
        if kind == 9:
            name = r.choice("tobit tohex bnot band bor bxor lshift rshift arshift rol ror bswap".split())
            # What is no 53-bit integer is a matter of the processor.
            numbers = [r.choice((str(r.randint(-9, 40)), str(r.randint(-(2**40), 2**40)), f"{r.randint(-99, 99)}.5"))
                       for _ in range(r.randint(1, 3))]
            return f"return {{pcall(bit.{name}, {', '.join(numbers)})}}"
        n = r.choice(("", "", f"{r.randint(-1, 9)}", f"{r.randint(-9, 9)}, {r.randint(-9, 9)}"))
        return f"math.randomseed({self.finite() if r.random() < 0.3 else r.randint(-9, 9)}) " \
               f"local r = {{}} for i = 1, 5 do r[i] = tostring(select(2, pcall(math.random{', ' + n if n else ''}))) end return r"


# --- comparing -------------------------------------------------------------------------------------


def plain(reply):
    return SHA1.sub(b" script: SHA1, on @user_script", ADDRESS.sub(rb"\1: ADDRESS", reply))


class Pair:
    def __init__(self, servers):
        self.protocols = {}
        for protocol in (2, 3):
            self.protocols[protocol] = [Connection(s.host, s.port) for s in servers]
            for connection in self.protocols[protocol]:
                connection.call("HELLO", protocol)

    def compare(self, text, protocol):
        replies = []
        for connection in self.protocols[protocol]:
            connection.send([[b"EVAL", text.encode("utf-8"), b"2", b"k1", b"k2", b"a1", b"a2", b"a3"]])
            replies.append(connection.read())
        if plain(replies[0]) != plain(replies[1]):
            raise Difference(f"RESP{protocol}: {text}\n  redis:  {shown_reply(replies[0])}\n  pollux: {shown_reply(replies[1])}")

    def play(self, seed):
        d = Draw(seed)
        for _ in range(PROGRAMS):
            self.compare(d.program(), d.random.choice((2, 3)))


def main():
    options = program.parser("what scripts find, on redis-server and on Pollux", rounds=(40, 1000)).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        with program.started(options, cores) as servers:
            pair = Pair(servers)
            tests = [(f"{name}, RESP{p}", lambda t=text, p=p: pair.compare(t, p)) for name, text in probes() for p in (2, 3)]
            yield servers, tests + program.seeds(options, pair.play)

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
