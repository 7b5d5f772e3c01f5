"""DUMP's payloads, made and read: an own model of Redis's serialisation, from which tests draw values in
every form that any version has written, and damage them."""

import struct

VERSION = 10
POLYNOMIAL = 0x95AC9329AC4BC9B5

(STRING, LIST, SET, ZSET, HASH, ZSET_2) = range(6)
(ZIPMAP, LIST_ZIPLIST, INTSET, ZSET_ZIPLIST, HASH_ZIPLIST, QUICKLIST) = range(9, 15)
(STREAM, HASH_LISTPACK, ZSET_LISTPACK, QUICKLIST_2, STREAM_2, SET_LISTPACK, STREAM_3) = range(15, 22)
(HASH_METADATA_PRE, HASH_LISTPACK_EX_PRE, HASH_METADATA, HASH_LISTPACK_EX) = range(22, 26)


def _table():
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (POLYNOMIAL if i & 1 else 0)
        yield i


TABLE = list(_table())


def crc64(data):
    crc = 0
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def seal(kind, body, version=VERSION):
    data = bytes([kind]) + body + struct.pack("<H", version)
    return data + struct.pack("<Q", crc64(data))


# --- writing ---------------------------------------------------------------------------------------


def length(n, form=None):
    """`form`: bytes of a longer way to say it than needed."""
    if form == 9 or n >= 1 << 32:
        return b"\x81" + struct.pack(">Q", n)
    if form == 5 or n >= 1 << 14:
        return b"\x80" + struct.pack(">I", n)
    return bytes([n]) if n < 64 and form != 2 else struct.pack(">H", 0x4000 | n)


def as_integer(data):
    """The integer that the bytes are, in the one way that counts; None: they are none."""
    if len(data) > 20 or not data or not data.lstrip(b"-").isdigit():
        return None
    value = int(data)
    return value if b"%d" % value == data and -(2**63) <= value < 2**63 else None


def lzf(data):
    """A valid compression that saves little: literals, and back references of runs."""
    out, at, literal = bytearray(), 0, bytearray()

    def flush():
        while literal:
            part = literal[:32]
            out.append(len(part) - 1)
            out.extend(part)
            del literal[:32]

    while at < len(data):
        run = 0
        while at and at + run < len(data) and run < 264 and data[at + run] == data[at - 1 + run]:
            run += 1
        if run >= 3:
            flush()
            out += bytes([(run - 2) << 5]) if run - 2 < 7 else bytes([7 << 5, run - 2 - 7])
            out.append(0)
            at += run
        else:
            literal.append(data[at])
            at += 1
    flush()
    return bytes(out)


def string(data, random=None):
    """As a file has it; with `random` in any of the forms that can say it."""
    value = as_integer(data)
    forms = ["plain"]
    if value is not None and -(2**31) <= value < 2**31:
        forms.append("integer")
    if data:
        forms.append("lzf")
    form = random.choice(forms) if random else forms[min(1, len(forms) - 1) if forms[-1] != "lzf" or len(forms) > 2 else 0]
    if form == "integer":
        for i, (code, low) in enumerate((("<b", 7), ("<h", 15), ("<i", 31))):
            if -(2**low) <= value < 2**low:
                return bytes([0xC0 | i]) + struct.pack(code, value)
    if form == "lzf":
        packed = lzf(data)
        return b"\xc3" + length(len(packed)) + length(len(data)) + packed
    return length(len(data)) + data


def listpack_element(data):
    value = as_integer(data)
    if value is None:
        n = len(data)
        head = bytes([0x80 | n]) if n < 64 else struct.pack(">H", 0xE000 | n) if n < 4096 else b"\xf0" + struct.pack("<I", n)
        body = head + data
    elif 0 <= value < 128:
        body = bytes([value])
    elif -4096 <= value < 4096:
        body = struct.pack(">H", 0xC000 | value & 0x1FFF)
    else:
        for code, size in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
            if -(2 ** (8 * size - 1)) <= value < 2 ** (8 * size - 1):
                body = bytes([code]) + (value & (1 << 8 * size) - 1).to_bytes(size, "little")
                break
    n, back = len(body), bytearray()
    while True:
        back.insert(0, n & 127)
        n >>= 7
        if not n:
            break
    for i in range(1, len(back)):
        back[i] |= 128
    return body + bytes(back)


def listpack(items):
    body = b"".join(listpack_element(item) for item in items)
    return struct.pack("<IH", len(body) + 7, min(len(items), 65535)) + body + b"\xff"


def ziplist(items):
    body, before, last = bytearray(), 0, 0
    for item in items:
        last = len(body)
        body += bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)
        value = as_integer(item)
        if value is None:
            n = len(item)
            body += bytes([n]) if n < 64 else struct.pack(">H", 0x4000 | n) if n < 16384 else b"\x80" + struct.pack(">I", n)
            body += item
        elif 0 <= value <= 12:
            body.append(0xF1 + value)
        else:
            for code, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
                if -(2 ** (8 * size - 1)) <= value < 2 ** (8 * size - 1):
                    body += bytes([code]) + (value & (1 << 8 * size) - 1).to_bytes(size, "little")
                    break
        before = len(body) - last
    return struct.pack("<IIH", len(body) + 11, 10 + last, min(len(items), 65535)) + bytes(body) + b"\xff"


def zipmap(items, random):
    body, fields = bytearray(), len(items) // 2
    for i, item in enumerate(items):
        body += bytes([len(item)]) if len(item) < 254 else b"\xfe" + struct.pack("<I", len(item))
        spare = random.choice((0, 0, 1, 4)) if i % 2 else 0
        if i % 2:
            body.append(spare)
        body += item + bytes(spare)
    return bytes([fields if fields < 254 else 254]) + bytes(body) + b"\xff"


def intset(values):
    width = next(w for w in (2, 4, 8) if all(-(2 ** (8 * w - 1)) <= v < 2 ** (8 * w - 1) for v in values))
    body = b"".join((v & (1 << 8 * width) - 1).to_bytes(width, "little") for v in sorted(set(values)))
    return struct.pack("<II", width, len(set(values))) + body


def strings(items, random):
    return b"".join(string(item, random) for item in items)


def score_text(score):
    if score in (float("inf"), float("-inf")):
        return bytes([254 if score > 0 else 255])
    text = b"%.17g" % score
    return bytes([len(text)]) + text


def score_element(score):
    return b"%d" % score if abs(score) < 2**53 and score == int(score) else b"%.17g" % score


KINDS = (STRING, STRING, LIST, SET, ZSET, HASH, ZSET_2, ZIPMAP, LIST_ZIPLIST, INTSET, ZSET_ZIPLIST, HASH_ZIPLIST,
         QUICKLIST, HASH_LISTPACK, ZSET_LISTPACK, QUICKLIST_2, SET, INTSET, STREAM, STREAM_2)


# --- values drawn ----------------------------------------------------------------------------------


def element(d):
    style = d.random.random()
    if style < 0.3:
        return b"%d" % d.pick((0, 1, 12, 13, 127, 128, -1, -128, -129, 4095, 4096, -4096, -4097, 32767, 32768, 2**23 - 1, 2**23,
                               2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63), d.random.randrange(-9999, 9999)))
    if style < 0.4:
        return d.pick((b"x", b"ab")) * d.pick((0, 1, 31, 32, 33, 63, 64, 65, 127, 200, 253, 254, 255, 300, 4095, 4096, 5000))
    if style < 0.45:
        return d.value()
    return bytes(d.pick(b"abcdefgh") for _ in range(d.random.randint(1, 12)))


def elements(d, n):
    return [element(d) for _ in range(n)]


def count(d):
    return d.pick((1, 1, 2, 3, 5, 10, 127, 128, 129, 130)) if d.chance(0.8) else d.pick((511, 512, 513, 600))


def distinct(d, n):
    return list(dict.fromkeys(elements(d, n)))


def fields(d):
    names = distinct(d, count(d))
    return [word for name in names for word in (name, element(d))]


def scored(d):
    scores = (0.0, 1.0, -1.0, 1.5, 3.14159, 1e300, -1e300, 1e-300, float("inf"), float("-inf"), 2.0**52, 1e17)
    pairs = [(d.pick(scores) if d.chance(0.7) else d.random.uniform(-9, 9), name) for name in distinct(d, count(d))]
    return sorted(pairs)


def draw_value(d):
    """A type and a body, valid for Redis 7.0."""
    kind = d.pick(KINDS)
    return kind, draw_body(d, kind, d.random)


def draw_body(d, kind, r):
    if kind == STRING:
        return string(element(d) if d.chance(0.7) else d.value(), r)
    if kind == LIST:
        items = elements(d, count(d))
        return length(len(items), d.pick((None, 2, 5, 9))) + strings(items, r)
    if kind == SET:
        if d.chance(0.4):
            items = [b"%d" % v for v in {r.randrange(-(2**40), 2**40) if d.chance(0.3) else r.randrange(1000) for _ in range(count(d))}]
        else:
            items = distinct(d, count(d))
        return length(len(items)) + strings(items, r)
    if kind in (HASH, HASH_ZIPLIST, HASH_LISTPACK, ZIPMAP):
        items = fields(d)
        if kind == HASH:
            return length(len(items) // 2) + strings(items, r)
        return string({HASH_ZIPLIST: ziplist, HASH_LISTPACK: listpack, ZIPMAP: lambda i: zipmap(i, r)}[kind](items), r)
    if kind in (ZSET, ZSET_2, ZSET_ZIPLIST, ZSET_LISTPACK):
        pairs = scored(d)
        if kind in (ZSET_ZIPLIST, ZSET_LISTPACK):
            flat = [word for score, name in pairs for word in (name, score_element(score))]
            return string(ziplist(flat) if kind == ZSET_ZIPLIST else listpack(flat), r)
        said = score_text if kind == ZSET else lambda score: struct.pack("<d", score)
        return length(len(pairs)) + b"".join(string(name, r) + said(score) for score, name in reversed(pairs))
    if kind == LIST_ZIPLIST:
        return string(ziplist(elements(d, count(d))), r)
    if kind == INTSET:
        size = d.pick((100, 2**15, 2**31, 2**63 - 1))
        return string(intset([r.randrange(-size, size) for _ in range(count(d))]), r)
    if kind in (QUICKLIST, QUICKLIST_2):
        nodes = [elements(d, d.random.randint(0 if i else 1, 60)) for i in range(d.random.randint(1, 4))]
        if kind == QUICKLIST:
            return length(len(nodes)) + b"".join(string(ziplist(n), r) for n in nodes)
        return length(len(nodes)) + b"".join(length(2) + string(listpack(n), r) for n in nodes)
    return stream(d, kind)


# --- streams ---------------------------------------------------------------------------------------


def node(d, first, n):
    """A listpack of a stream: the master entry, then entries behind it; and their ids."""
    r = d.random
    names = [element(d)[:50] for _ in range(r.randint(1, 3))]
    ids, deleted, body = [], 0, []
    ms, seq = first
    for i in range(n):
        if i:
            ms, seq = (ms, seq + r.randint(1, 3)) if d.chance(0.5) else (ms + r.randint(1, 1000), r.randint(0, 5))
        same, gone = d.chance(0.6), d.chance(0.1) and i
        flags = (2 if same else 0) | (1 if gone else 0)
        own = names if same else [element(d)[:50] for _ in range(r.randint(1, 4))]
        values = [element(d)[:300] for _ in own]
        entry = [b"%d" % flags, b"%d" % (ms - first[0]), b"%d" % (seq - first[1])]
        entry += values if same else [b"%d" % len(own)] + [w for pair in zip(own, values) for w in pair]
        body += entry + [b"%d" % len(entry)]
        deleted += bool(gone)
        if not gone:
            ids.append((ms, seq))
    master = [b"%d" % len(ids), b"%d" % deleted, b"%d" % len(names)] + names + [b"0"]
    return listpack(master + body), ids, (ms, seq)


def raw_id(i):
    return struct.pack(">QQ", *i)


def stream(d, kind):
    r, out, ids, last = d.random, b"", [], (0, 0)
    n_nodes = r.randint(0, 3)
    for _ in range(n_nodes):
        first = (last[0] + r.randint(1, 100), r.randint(0, 9))
        lp, here, last = node(d, first, r.randint(1, 20))
        out += string(raw_id(first), None) + string(lp, r)
        ids += here
    said = (last[0], last[1] + r.randint(0, 1))
    out = length(n_nodes) + out + length(len(ids)) + length(said[0]) + length(said[1])
    if kind != STREAM:
        first = ids[0] if ids else (0, 0)
        out += length(first[0]) + length(first[1]) + length(0) + length(0) + length(len(ids) + r.randint(0, 5))
    groups = [b"g%d" % i for i in range(r.randint(0, 2))]
    out += length(len(groups))
    for name in groups:
        out += string(name, r) + length(said[0]) + length(said[1])
        if kind != STREAM:
            out += length(r.randint(0, len(ids)))
        pending = sorted(r.sample(ids, r.randint(0, min(5, len(ids)))))
        out += length(len(pending))
        out += b"".join(raw_id(i) + struct.pack("<Q", 1700000000000) + length(r.randint(1, 5)) for i in pending)
        consumers = [b"c%d" % i for i in range(r.randint(1 if pending else 0, 2))]
        shares = {c: [] for c in consumers}
        for i in pending:
            shares[r.choice(consumers)].append(i)
        out += length(len(consumers))
        for c in consumers:
            out += string(c, r) + struct.pack("<Q", 1700000000000)
            if kind == STREAM_3:
                out += struct.pack("<Q", 1700000000000)
            out += length(len(shares[c])) + b"".join(raw_id(i) for i in shares[c])
    return out


def draw(d):
    kind, body = draw_value(d)
    return seal(kind, body, d.pick((10, 10, 9, 6, 1)))


def damaged(d):
    """A payload whose check sum is right, and whose bytes mostly are not."""
    kind, body = draw_value(d)
    body = bytearray(body)
    for _ in range(d.random.randint(1, 3)):
        style = d.random.random()
        at = d.random.randrange(len(body)) if body else 0
        if style < 0.5 and body:
            body[at] = d.pick((body[at] ^ 1 << d.random.randrange(8), 0, 0xFF, 0x80, 0x81, 0xC3, d.random.randrange(256)))
        elif style < 0.7:
            del body[at:]
        elif style < 0.85:
            del body[at : at + d.random.randint(1, 4)]
        else:
            body[at:at] = bytes(d.random.randrange(256) for _ in range(d.random.randint(1, 4)))
    if d.chance(0.1):
        kind = d.random.randrange(26)
    return seal(kind, bytes(body))


# --- reading ---------------------------------------------------------------------------------------


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        assert self.at <= len(self.data), "the payload ends early"
        return self.data[self.at - n : self.at]

    def length(self):
        first = self.take(1)[0]
        if first >> 6 == 0:
            return first
        if first >> 6 == 1:
            return (first & 63) << 8 | self.take(1)[0]
        if first == 0x80:
            return struct.unpack(">I", self.take(4))[0]
        assert first == 0x81
        return struct.unpack(">Q", self.take(8))[0]

    def string(self):
        first = self.data[self.at]
        if first >> 6 != 3:
            return self.take(self.length())
        self.at += 1
        if first & 63 < 3:
            return b"%d" % int.from_bytes(self.take(1 << (first & 63)), "little", signed=True)
        packed, full = self.length(), self.length()
        text = unlzf(self.take(packed))
        assert len(text) == full
        return text

    def strings(self, n):
        return [self.string() for _ in range(n)]


def unlzf(data):
    out, at = bytearray(), 0
    while at < len(data):
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        n = control >> 5
        if n == 7:
            n += data[at]
            at += 1
        back = len(out) - ((control & 31) << 8 | data[at]) - 1
        at += 1
        for i in range(n + 2):
            out.append(out[back + i])
    return bytes(out)


def unlistpack(data):
    assert struct.unpack("<I", data[:4])[0] == len(data) and data[-1] == 255
    items, at = [], 6
    while at < len(data) - 1:
        b, start = data[at], at
        if b < 0x80:
            item, at = b"%d" % b, at + 1
        elif b < 0xC0:
            item, at = data[at + 1 : at + 1 + (b & 63)], at + 1 + (b & 63)
        elif b < 0xE0:
            value = (b & 31) << 8 | data[at + 1]
            item, at = b"%d" % (value - 8192 if value >= 4096 else value), at + 2
        elif b < 0xF0:
            n = (b & 15) << 8 | data[at + 1]
            item, at = data[at + 2 : at + 2 + n], at + 2 + n
        elif b == 0xF0:
            n = struct.unpack("<I", data[at + 1 : at + 5])[0]
            item, at = data[at + 5 : at + 5 + n], at + 5 + n
        else:
            n = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}[b]
            item, at = b"%d" % int.from_bytes(data[at + 1 : at + 1 + n], "little", signed=True), at + 1 + n
        size = at - start
        at += 1 if size < 128 else 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
        items.append(item)
    return items


def meaning(data):
    """What a payload of Redis 7.0 says, without the freedom of its form: for comparing two of them."""
    kind, r = data[0], Reader(data[1:-10])
    if kind == QUICKLIST_2:
        items = []
        for _ in range(r.length()):
            plain = r.length() == 1
            text = r.string()
            items += [text] if plain else unlistpack(text)
        return kind, items
    if kind == SET:
        return kind, sorted(r.strings(r.length()))
    if kind == HASH:
        items = r.strings(2 * r.length())
        return kind, sorted(zip(items[::2], items[1::2]))
    if kind == ZSET_2:
        return kind, [(r.string(), r.take(8)) for _ in range(r.length())]
    return kind, data[1:]


def unordered(data):
    """The meaning without the order of fields and members, which is a table's where they came from one."""
    kind, value = meaning(data)
    if kind == HASH_LISTPACK:
        items = unlistpack(Reader(data[1:-10]).string())
        return kind, sorted(zip(items[::2], items[1::2]))
    return kind, value


def same(a, b, of=unordered):
    """Whether two DUMP replies mean the same; streams are compared in other ways."""
    if a is None or b is None or a[0] == b[0] == STREAM_2:
        return type(a) is type(b)
    return of(a) == of(b)
