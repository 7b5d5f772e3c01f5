"""Random words for commands: few keys, so that commands meet; numbers at their limits; every size of
value that is kept in another way; wrong ones among them."""

import random
import time

# Names that share slots, names that do not, and names that are awkward.
KEYS = [b"a", b"b", b"c", b"key:{a}", b"x{b}y", b"{}", b"", b"bin\x00\r\n\xff", b"long" + b"k" * 300]

INTEGERS = [
    0, 1, -1, 2, 7, 10, 99, 100, 255, 9999, 10000, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32,
    2**53, 2**63 - 1, -(2**63), 2**63 - 2, 2**63, -(2**63) - 1, 2**64 - 1, 2**64, 10**20,
]

NOT_INTEGERS = [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"-", b"1.0", b"1e3", b"0x10", b"abc", b"\x00", b"1\x00"]

FLOATS = [
    b"0", b"1", b"-1", b"0.1", b"-0.1", b"3.0e3", b"1e-7", b"1e17", b"123456789.123456789", b"10.5", b"-5.0",
    b"1e308", b"-1e308", b"1e4000", b"1e4932", b"-1e4932", b"0.30000000000000004", b"5e-324", b"inf", b"-inf",
    b"+inf", b"infinity", b"nan", b"0x1p3", b"1e", b".5", b"5.", b"+2.5", b"-0", b"1e-4950", b"1e-5000",
    b"0" * 254 + b"1", b"0" * 255 + b"1", b"0" * 5118 + b"1", b"0" * 5119 + b"1", b"1." + b"3" * 300,
]

PATTERNS = [
    b"*", b"", b"?", b"a*", b"*a*", b"[a-c]", b"[^a-c]", b"[a", b"\\a", b"*{*}*", b"key:*", b"k??:*", b"[c-a]",
    b"*\x00*", b"long*k", b"**", b"[]", b"\\", b"nothing", b"x{b}y", b"[\\a-c]", b"*y",
]

# Their arguments are not exchanged: a value in the place of the time could be a few milliseconds.
TIMED = (b"SET", b"SETEX", b"PSETEX", b"GETEX", b"EXPIRE", b"PEXPIRE")


class Draw:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now_s = int(time.time())

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, items):
        return self.random.choice(items)

    def case(self, word):
        """A word of the protocol in some mixture of capitals."""
        style = self.random.random()
        if style < 0.4:
            return word.lower().encode()
        if style < 0.8:
            return word.upper().encode()
        return "".join(self.pick((c.lower(), c.upper())) for c in word).encode()

    def key(self):
        return self.pick(KEYS) if self.chance(0.95) else b"other%d" % self.random.randrange(50)

    def keys(self, most=5):
        return [self.key() for _ in range(self.random.randint(1, most))]

    def integer(self):
        """Mostly an integer that fits 64 bits."""
        style = self.random.random()
        if style < 0.55:
            return b"%d" % self.random.randint(-20, 200)
        if style < 0.9:
            return b"%d" % self.pick(INTEGERS)
        return self.pick(NOT_INTEGERS)

    def small_integer(self):
        return b"%d" % self.random.randint(-30, 60) if self.chance(0.85) else self.integer()

    def float(self):
        style = self.random.random()
        if style < 0.4:
            return b"%.*f" % (self.random.randint(0, 6), self.random.uniform(-1000, 1000))
        if style < 0.9:
            return self.pick(FLOATS)
        return self.pick(NOT_INTEGERS)

    def value(self):
        style = self.random.random()
        if style < 0.25:
            return self.integer()
        if style < 0.35:
            return self.float()
        if style < 0.4:
            return b""
        if style < 0.5:  # around the limits of encodings
            return b"v" * self.pick((20, 21, 43, 44, 45, 63, 64, 127, 128, 255, 256))
        if style < 0.55:  # around the limits of blocks, frames and big arguments
            size = self.pick((500, 501, 512, 1460, 16383, 16384, 16385, 32767, 32768, 40000, 70000))
            return self.pick((b"x", b"\x00")) * size
        length = self.random.randint(1, 40)
        if style < 0.75:
            return bytes(self.random.randrange(256) for _ in range(length))
        return bytes(self.pick(b"abcd") for _ in range(length))

    # Times lie far apart and far ahead, or safely in the past, so that two servers that execute a
    # command some milliseconds apart agree.

    def seconds(self):
        style = self.random.random()
        if style < 0.7:
            return b"%d" % self.random.randint(1000, 10**7)
        if style < 0.85:
            return b"%d" % self.pick((0, -1, -100, 2**63 - 1, -(2**63), (2**63 - 1) // 1000, 2**63 // 1000 + 1, 2**63))
        return self.pick(NOT_INTEGERS)

    def milliseconds(self):
        style = self.random.random()
        if style < 0.7:
            return b"%d" % self.random.randint(10**6, 10**10)
        if style < 0.85:
            return b"%d" % self.pick((0, -1, -100, 2**63 - 1, -(2**63), 2**63))
        return self.pick(NOT_INTEGERS)

    def unix_seconds(self):
        style = self.random.random()
        if style < 0.6:
            return b"%d" % (self.now_s + self.random.randint(1000, 10**7))
        if style < 0.75:
            return b"%d" % (self.now_s - self.random.randint(1000, 10**7))
        if style < 0.9:
            far = (10**10, 2**38)
            return b"%d" % self.pick((0, 1, -1, 2**63 - 1, -(2**63), 2**63 // 1000 + 1, 2**63) + far)
        return self.pick(NOT_INTEGERS)

    def unix_milliseconds(self):
        style = self.random.random()
        if style < 0.6:
            return b"%d" % (self.now_s * 1000 + self.random.randint(10**6, 10**10))
        if style < 0.75:
            return b"%d" % (self.now_s * 1000 - self.random.randint(10**6, 10**10))
        if style < 0.9:
            far = (10**13, 2**47 - 1, 2**48 - 3)
            return b"%d" % self.pick((0, 1, -1, -(2**63), 2**63) + far)
        return self.pick(NOT_INTEGERS)

    def database(self):
        return b"%d" % self.random.randrange(4) if self.chance(0.85) else self.integer()

    def pattern(self):
        return self.pick(PATTERNS) if self.chance(0.8) else self.key()

    def soup(self, options, most=4):
        """Options in random order, some twice, some in conflict. Each is a list of a word and of what
        draws its values; the last value may be missing."""
        words = []
        for _ in range(self.random.randint(0, most)):
            name, *values = self.pick(options)
            words.append(self.case(name))
            words += [value() for value in values]
        if words and self.chance(0.03):
            words.pop()
        if self.chance(0.03):
            words.insert(self.random.randint(0, len(words)), self.pick((b"", b"bogus", b"1", b"e x")))
        return words

    def spoil(self, words):
        """Now and then too few words, too many, or two exchanged."""
        if not self.chance(0.04):
            return words
        words = list(words)
        style = self.random.randrange(3)
        if style == 0 and len(words) > 1:
            del words[self.random.randrange(1, len(words)) :]
        elif style == 1:
            words.append(self.value())
        elif len(words) > 2 and words[0].upper() not in TIMED:
            i, j = self.random.sample(range(1, len(words)), 2)
            words[i], words[j] = words[j], words[i]
        return words
