#!/usr/bin/python3
"""Access control on redis-server 7.0.15 and on Pollux: scripted scenarios, random rules and random attempts of the
users that they make, and rule lines that nobody sane writes. Replies are compared; what a user is said to be is
compared by what it means, since the order of its commands follows from a hash that is drawn at each start.

usage: test_acl.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import program
from program import Difference
from raw import Connection, Error, parse

# Words stand between spaces; a number in front is the client. Client 9 is the default user's.
SCENARIOS = {
    "who is there": "0 ACL WHOAMI|0 ACL WHOAMI x|0 ACL USERS|0 ACL LIST|0 ACL GETUSER default|0 ACL GETUSER nobody|0 ACL FOO|0 ACL",
    "simple rules": """0 ACL SETUSER a|0 ACL LIST|0 ACL SETUSER a on >p ~k* +get|0 ACL LIST|0 ACL GETUSER a|0 ACL SETUSER a -get|0 ACL LIST
        0 ACL SETUSER a nopass|0 ACL LIST|0 ACL SETUSER a resetpass|0 ACL LIST|0 ACL SETUSER a reset|0 ACL LIST|0 ACL DELUSER a|0 ACL LIST""",
    "letter case": "0 ACL SETUSER a ON NOPASS ALLKEYS ALLCHANNELS ALLCOMMANDS|0 ACL LIST|0 ACL SETUSER a Reset +GET -@ALL +@Fast|0 ACL SETUSER A on|0 ACL USERS",
    "passwords": """0 ACL SETUSER a on >x >y >x #2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881|0 ACL GETUSER a|1 AUTH a x|1 AUTH a y
        1 AUTH a z|0 ACL SETUSER a <x|1 AUTH a x|1 AUTH a y|0 ACL SETUSER a <x|0 ACL SETUSER a !a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa
        1 AUTH a y|0 ACL SETUSER a #XX|0 ACL SETUSER a #A1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa|0 ACL SETUSER a !1
        0 ACL SETUSER a >|0 ACL SETUSER a nopass >z|1 AUTH a nope|1 AUTH a z|0 ACL SETUSER a off|1 PING|1 AUTH a z|1 ACL WHOAMI""",
    "key patterns": """0 ACL SETUSER a ~x ~x ~y %R~x %W~z %R~z %RW~q %WR~r %r~s|0 ACL LIST|0 ACL SETUSER a ~*|0 ACL SETUSER a ~x|0 ACL SETUSER a %R~*
        0 ACL SETUSER a resetkeys %R~*|0 ACL LIST|0 ACL SETUSER a %R|0 ACL SETUSER a %|0 ACL SETUSER a %~x|0 ACL SETUSER a %RR~x|0 ACL SETUSER a %X~x
        0 ACL SETUSER a ~|0 ACL LIST|0 ACL SETUSER a allkeys resetkeys ~a|0 ACL GETUSER a""",
    "channel patterns": """0 ACL SETUSER a &x &x &y|0 ACL LIST|0 ACL SETUSER a &*|0 ACL SETUSER a &x|0 ACL SETUSER a resetchannels &|0 ACL GETUSER a
        0 CONFIG SET acl-pubsub-default allchannels|0 ACL SETUSER b|0 ACL SETUSER c (+get)|0 ACL SETUSER a reset|0 ACL LIST
        0 CONFIG SET acl-pubsub-default resetchannels|0 ACL SETUSER a reset|0 ACL LIST""",
    "selectors": """0 ACL SETUSER a (+get ~x) (%W~y +set)|0 ACL LIST|0 ACL GETUSER a|0 ACL SETUSER a ( +mget ~m )|0 ACL LIST|0 ACL SETUSER a (|0 ACL SETUSER a )
        0 ACL SETUSER a ()|0 ACL SETUSER a (on)|0 ACL SETUSER a (+get|0 ACL SETUSER a (+get)x)|0 ACL SETUSER a ((+get))|0 ACL SETUSER a (nopass)
        0 ACL SETUSER a (+nosuch)|0 ACL SETUSER a ( (+get) )|0 ACL SETUSER a clearselectors|0 ACL LIST""",
    "errors": """0 ACL SETUSER a foo|0 ACL SETUSER a +nosuch|0 ACL SETUSER a +@nosuch|0 ACL SETUSER a -nosuch|0 ACL SETUSER a +|0 ACL SETUSER a -|0 ACL SETUSER a +@
        0 ACL SETUSER a +get|||0 ACL SETUSER a on +get foo|0 ACL GETUSER a|0 ACL SETUSER|0 ACL GETUSER|0 ACL DELUSER|0 ACL DELUSER default
        0 ACL SETUSER b on|0 ACL DELUSER b default|0 ACL DELUSER nobody b b|0 ACL LIST x|0 ACL USERS x|0 ACL GETUSER a b""",
    "subcommands": """0 ACL SETUSER a +config|get|0 ACL LIST|0 ACL SETUSER a +config -config|set|0 ACL LIST|0 ACL SETUSER a -config|0 ACL LIST
        0 ACL SETUSER a allcommands -config|get -config +config|set|0 ACL LIST|0 ACL SETUSER a +config|nosuch|0 ACL SETUSER a +config|get|x
        0 ACL SETUSER a -config|nosuch|0 ACL SETUSER a +nosuch|get|0 ACL SETUSER a +config|0 ACL LIST|0 ACL GETUSER a""",
    "first arguments": """0 ACL SETUSER a on nopass +select|0 +select|1 +SELECT|0|0 ACL LIST|1 AUTH a x|1 SELECT 0|1 SELECT 1|1 SELECT 2|0 ACL SETUSER a -select
        0 ACL LIST|1 SELECT 0|0 ACL SETUSER a +get|A|0 ACL LIST|0 ACL SETUSER a +get|0 ACL LIST|0 ACL SETUSER a -select|0|0 ACL SETUSER a +select|""",
    "limited user": """0 ACL SETUSER a on >p ~k* %R~r* %W~w* +get +set +mget +copy +rename +auth|0 MSET k1 1 r1 2 x 3|1 AUTH a p|1 GET k1|1 GET r1|1 GET w1|1 GET x
        1 SET k1 5|1 SET r1 5|1 SET w1 5|1 SET w1 6 GET|1 SET k1 6 GET|1 MGET k1 r1|1 MGET k1 x|1 COPY r1 k2|1 COPY k1 r2|1 RENAME k1 w3|1 RENAME r1 k3|1 DEL k1
        1 CONFIG GET x|1 CONFIG FOO|1 NOSUCH|1 GET|1 ACL WHOAMI|1 CLIENT LIST|1 AUTH a q|1 GET k2|1 AUTH default x|1 ACL WHOAMI""",
    "what reads and writes": """0 ACL SETUSER a on nopass +@all %R~r %W~w ~b|1 AUTH a x|1 APPEND w x|1 APPEND r x|1 STRLEN w|1 STRLEN r|1 EXISTS w|1 TYPE w|1 TTL r|1 GETEX r
        1 SETRANGE w 0 x|1 INCR b|1 INCR w|1 GETSET w 1|1 SETNX w 1|1 LPUSH wl 1|1 BITFIELD r GET u8 0|1 BITFIELD w SET u8 0 1|1 BITFIELD r SET u8 0 1|1 BITFIELD_RO r GET u8 0
        1 BITFIELD b OVERFLOW WRAP GET u8 0|1 PFADD w a|1 PFCOUNT r|1 PFMERGE w r|1 PFMERGE r w|1 BITOP AND w r|1 BITOP AND r w|1 ZUNIONSTORE w 1 r|1 ZUNIONSTORE r 1 w
        1 LMPOP 1 r LEFT|1 LMPOP 1 w LEFT|1 SORT r STORE w|1 SORT w STORE r|1 SORT r STORE|1 XREAD STREAMS r 0|1 XREAD STREAMS w 0|1 XADD w 1-1 a 1|1 XADD r * a 1|1 OBJECT ENCODING r
        1 DEL w|1 DEL r|1 EXPIRE w 100|1 EXPIRE r 100|1 GEORADIUS r 1 1 1 m STORE w|1 GEORADIUS r 1 1 1 m STORE r|1 MIGRATE h 1 r 0 1|1 TOUCH w r x|1 LCS r w|1 DUMP w""",
    "sort by others": """0 RPUSH l 1 2|0 ACL SETUSER a on nopass ~l +sort +sort_ro|1 AUTH a x|1 SORT l|1 SORT l BY w|1 SORT l BY w*|1 SORT l GET #|1 SORT l GET x|1 SORT l GET x*
        1 SORT_RO l BY w*|0 ACL SETUSER a %R~*|1 SORT l BY w*|1 SORT l GET x*|0 ACL SETUSER a resetkeys ~l %W~*|1 SORT l BY w*|0 ACL SETUSER a allkeys|1 SORT l BY w* GET x*""",
    "selectors of an attempt": """0 ACL SETUSER a on nopass +get ~g* (+set ~s*) (+mget ~m* %R~n*)|1 AUTH a x|1 GET g1|1 GET s1|1 SET s1 1|1 SET g1 1|1 MGET m1 n1|1 MGET m1 g1|1 DEL g1|1 COPY g1 s1""",
    "in a transaction": """0 ACL SETUSER a on nopass ~k* +multi +exec +get +set|1 AUTH a x|1 MULTI|1 GET k|1 GET x|1 EXEC|1 MULTI|1 DEL k|1 EXEC|1 MULTI|1 GET k|1 SET k 1|0 ACL SETUSER a -get
        1 EXEC|0 ACL SETUSER a +get|1 MULTI|1 GET k|0 ACL SETUSER a resetkeys ~q*|1 EXEC|0 ACL SETUSER a ~k* -exec|1 MULTI|1 GET k|1 EXEC|1 GET k|0 ACL SETUSER a -multi +exec|1 MULTI|1 EXEC
        1 WATCH k|0 ACL LOG RESET""",
    "log": """0 ACL LOG RESET|0 ACL LOG|0 ACL SETUSER a on >p +get ~k|1 AUTH a x|1 AUTH nobody x|1 HELLO 2 AUTH a q|1 AUTH a p|1 GET x|1 GET x|1 SET k 1|1 GET y|1 GET x|0 ACL LOG|0 ACL LOG 2
        0 ACL LOG 0|0 ACL LOG -1|0 ACL LOG x|0 ACL LOG 1 2|0 ACL LOG reset|0 ACL LOG|0 CONFIG SET acllog-max-len 2|1 GET a|1 GET b|1 GET c|0 ACL LOG|0 CONFIG SET acllog-max-len 1|0 CONFIG SET acllog-max-len 128""",
    "dry run": """0 ACL SETUSER a on nopass +get +config|get ~k* %R~r &c|0 ACL DRYRUN a GET k|0 ACL DRYRUN a GET x|0 ACL DRYRUN a SET k 1|0 ACL DRYRUN nobody GET k|0 ACL DRYRUN a NOSUCH|0 ACL DRYRUN a GET
        0 ACL DRYRUN a CONFIG GET x|0 ACL DRYRUN a CONFIG SET x y|0 ACL DRYRUN a CONFIG NOSUCH|0 ACL DRYRUN a CONFIG|0 ACL DRYRUN default CONFIG GET x|0 ACL DRYRUN a|0 ACL DRYRUN|0 ACL DRYRUN a AUTH x
        0 ACL DRYRUN a PING|0 ACL SETUSER a +@all|0 ACL DRYRUN a GETEX r|0 ACL DRYRUN a SET r 1|0 ACL DRYRUN a MGET k1 r x y|0 ACL DRYRUN a PUBLISH c x|0 ACL DRYRUN a PUBLISH d x|0 ACL DRYRUN a PSUBSCRIBE c
        0 ACL DRYRUN a PSUBSCRIBE c*|0 ACL DRYRUN a SUBSCRIBE c d|0 ACL DRYRUN a EVAL x 2 k1 q|0 ACL DRYRUN a EVAL x 9 k1|0 ACL DRYRUN a XREAD STREAMS k q 0 0|0 ACL DRYRUN a BLMPOP 0 2 k q LEFT""",
    "others": """0 ACL CAT|0 ACL CAT nosuch|0 ACL CAT a b|0 ACL GENPASS 0|0 ACL GENPASS -1|0 ACL GENPASS 4097|0 ACL GENPASS x|0 ACL GENPASS 1 2|0 ACL LOAD|0 ACL SAVE|0 ACL LOAD x|0 ACL HELP x""",
    "the default user": """0 ACL SETUSER default >p|1 PING|0 PING|0 CONFIG GET requirepass|1 AUTH p|1 PING|2 AUTH default q|2 AUTH default p|2 PING|0 CONFIG SET requirepass z|3 PING|3 AUTH p|3 AUTH z
        0 CONFIG GET requirepass|0 ACL GETUSER default|0 ACL SETUSER default nopass|4 PING|4 AUTH x|0 CONFIG SET requirepass z|5 PING|0 CONFIG SET requirepass zz|6 PING|6 AUTH zz
        0 CONFIG SET requirepass |7 PING|7 AUTH x|7 AUTH default x|0 ACL SETUSER default -get|8 GET k|7 GET k|0 GET k|0 ACL SETUSER default +get|8 GET k|0 ACL SETUSER default off
        0 PING|0 ACL SETUSER default on|0 ACL GETUSER default|0 ACL SETUSER default reset on nopass +@all ~* &*|0 ACL LIST""",
    "users that go": """0 ACL SETUSER a on nopass +@all ~*|1 AUTH a x|1 PING|0 ACL DELUSER a|1 *|0 ACL SETUSER a on nopass +@all|2 AUTH a x|2 ACL DELUSER a|2 *|0 ACL USERS
        0 ACL SETUSER b on nopass +@all|3 AUTH b x|0 ACL SETUSER b -get|3 GET k|0 ACL SETUSER b reset|3 PING|3 AUTH b x|0 ACL SETUSER b on nopass|3 AUTH b x""",
    "resetting": "0 ACL SETUSER a on nopass +@all|1 AUTH a x|1 ACL WHOAMI|1 RESET|1 ACL WHOAMI|0 ACL SETUSER default >p|2 PING|1 PING|1 RESET|1 PING|0 PING|0 RESET|0 PING|0 AUTH p|0 ACL SETUSER default nopass",
    "hello": "0 ACL SETUSER a on >p +ping +hello|1 HELLO 3 AUTH a x|1 HELLO 2 AUTH a p SETNAME me|1 PING|1 GET x|1 ACL WHOAMI|1 HELLO 2 AUTH default any|1 GET x|1 CLIENT GETNAME",
    "killing by user": "0 ACL SETUSER a on nopass +@all|1 AUTH a x|2 AUTH a x|0 CLIENT KILL USER nobody|0 CLIENT KILL USER a|1 *|2 *|0 CLIENT KILL USER a",
    "subscribers": """0 ACL SETUSER a on nopass +@all &c* &p*|1 AUTH a x|1 SUBSCRIBE c1|1 SUBSCRIBE d|1 PSUBSCRIBE p*|1 PSUBSCRIBE p|1 SSUBSCRIBE c2|1 SSUBSCRIBE d|0 PUBLISH c1 x|1 *
        0 ACL SETUSER a &q|0 PUBLISH c1 y|1 *|0 ACL SETUSER a resetchannels &c*|1 *|2 AUTH a x|2 SUBSCRIBE c1|0 ACL SETUSER a resetchannels &c1|0 PUBLISH c1 z|2 *|2 PING
        3 AUTH a x|3 PUBLISH c1 x|2 *|3 PUBLISH d x|3 SPUBLISH d x|3 PUBSUB CHANNELS""",
    "scripts": """0 ACL SETUSER a on nopass +eval +evalsha +get +set ~k*|1 AUTH a x|1 EVAL return(redis.call('set','k',1)) 0|1 EVAL return(redis.call('set','x',1)) 0
        1 EVAL return(redis.pcall('set','x',1)) 0|1 EVAL return(redis.call('del','k')) 0|1 EVAL return(redis.acl_check_cmd('get','k')) 0|1 EVAL return(redis.acl_check_cmd('get','x')) 0
        1 EVAL return(redis.acl_check_cmd('del','k')) 0|1 EVAL return(1) 1 x|1 EVAL return(1) 1 k|0 ACL LOG 2""",
}  # fmt: skip

LATER_FIELDS = re.compile(rb" lib-name=\S* lib-ver=\S*")


def words_of(line):
    # One space between words; `name ` ends with an empty word.
    return [word.encode("latin-1") for word in line.split(" ")]


def describe_words(text):
    """The words of a description, those of a selector together."""
    words, depth = [], 0
    for word in text.split(b" "):
        if depth:
            words[-1] += b" " + word
        else:
            words.append(word)
        depth += word.startswith(b"(") and not word.endswith(b")") if not depth else -word.endswith(b")")
    return words


def in_order(text):
    """A description with its single commands in order: they come behind categories."""
    out, singles = [], []
    for word in describe_words(text):
        if word.startswith(b"("):
            out += sorted(singles) + [b"(" + in_order(word[1:-1]) + b")"]
            singles = []
        elif word[:1] in b"+-" and word[1:2] != b"@":
            singles.append(word)
        else:
            out.append(word)
    return b" ".join(out + sorted(singles))


def settled(value):
    """A reply without what may differ: times, connections, the order of commands."""
    if isinstance(value, dict):
        return {k: settled(v) for k, v in value.items()}
    if isinstance(value, list):
        value = list(value)
        for i, name in enumerate(value[:-1]):
            if name == b"age-seconds":
                value[i + 1] = b"seconds"
            elif name == b"client-info":
                line = dict(f.split(b"=", 1) for f in value[i + 1].split(b" "))
                value[i + 1] = [line[f] for f in (b"db", b"flags", b"name", b"cmd", b"user", b"resp") if f in line]
            elif name == b"id" and i == 6:
                value[i + 1] = 0
            elif name == b"commands":
                value[i + 1] = in_order(value[i + 1])
        return [settled(v) for v in value]
    if isinstance(value, bytes) and not isinstance(value, Error):
        value = value.replace(b"%RW~* ", b"~* ") if value[-5:] != b"%RW~*" else value[:-5] + b"~*"
        return in_order(value) if value.startswith(b"user ") else value
    return value


class Pair:
    """A client of both servers."""

    def __init__(self, servers):
        self.sides = [Connection(s.host, s.port) for s in servers]

    def both(self, words):
        """The replies; what is told of a connection that ended is the same for all its ends."""
        replies = []
        for side in self.sides:
            try:
                if words is not None:
                    side.send([words])
                replies.append(side.read())
            except (EOFError, ConnectionError):
                replies.append(b"")
        return replies

    def compare(self, words, where):
        replies = self.both(words)
        if replies[0] == replies[1]:
            return
        parsed = [settled(parse(r)) if r else r for r in replies]
        if parsed[0] != parsed[1] or replies[0][:1] != replies[1][:1]:
            raise Difference(f"{where}\n  redis:  {replies[0][:1500]!r}\n  pollux: {replies[1][:1500]!r}")

    def close(self):
        for side in self.sides:
            side.close()


def start_over(pair):
    """No users, no keys, no log, and everybody may do everything."""
    for words in ("CONFIG SET requirepass ", "CONFIG SET acl-pubsub-default resetchannels", "CONFIG SET acllog-max-len 128",
                  "ACL SETUSER default reset on nopass allkeys allchannels +@all", "FLUSHALL", "ACL LOG RESET"):
        for reply in pair.both(words_of(words)):
            assert reply == b"+OK\r\n", (words, reply)
    for side in pair.sides:
        for user in side.call("ACL", "USERS"):
            if user != b"default":
                assert side.call("ACL", "DELUSER", user) == 1


def play_scenario(servers, text):
    """The default user's connection that clears up was there before anybody could change anything."""
    clients = {9: Pair(servers)}
    try:
        start_over(clients[9])
        for step in re.split(r"\|(?=\d [A-Z*])|\n +", text):
            number, line = int(step[0]), step[2:]
            if number not in clients:
                clients[number] = Pair(servers)
            clients[number].compare(None if line == "*" else words_of(line), step)
    finally:
        for side in clients[9].sides:
            try:
                side.call("ACL", "SETUSER", "default", "on", "nopass", "+@all", "allkeys", "allchannels")
            except (EOFError, OSError):
                pass
        for pair in clients.values():
            pair.close()


# --- random rules -------------------------------------------------------------------------------------


class Rules:
    """What both servers know, to draw rules and attempts from."""

    def __init__(self, pair):
        redis, other = pair.sides
        names = [{name.decode() for name in side.call("COMMAND", "LIST")} for side in (redis, other)]
        self.commands = sorted(names[0] & names[1])
        self.redis_alone = sorted(names[0] - names[1])
        self.pollux_alone = names[1] - names[0]
        self.categories = [c.decode() for c in redis.call("ACL", "CAT")]
        assert self.categories == [c.decode() for c in other.call("ACL", "CAT")]

    def command_rule(self, d):
        kind = d.random()
        sign = d.choice("+-")
        if kind < 0.35:
            return sign + "@" + d.choice(self.categories)
        if kind < 0.42:
            return d.choice(["+@all", "-@all", "allcommands", "nocommands"])
        if kind < 0.48:
            return "+" + d.choice([c for c in self.commands if "|" not in c]) + "|" + d.choice("01ab")
        return sign + d.choice(self.commands)

    def selector_rule(self, d):
        kind = d.random()
        if kind < 0.6:
            return self.command_rule(d)
        pattern = d.choice(["a*", "b*", "k?", "x", "y", "*z", "[ab]1", "*"])
        if kind < 0.85:
            return d.choice(["~", "%R~", "%W~", "%RW~", "~"]) + pattern
        if kind < 0.9:
            return d.choice(["resetkeys", "allkeys", "resetchannels", "allchannels"])
        return "&" + pattern

    def rule(self, d):
        kind = d.random()
        if kind < 0.75:
            return self.selector_rule(d)
        if kind < 0.85:
            return "(" + " ".join(self.selector_rule(d) for _ in range(d.randrange(4))) + ")"
        return d.choice(["on", "off", "nopass", "resetpass", ">p", ">q", "<p", "clearselectors", "sanitize-payload",
                         "skip-sanitize-payload", "reset", "", "foo", "(", ")", "+@x", "%x", "#12"])

    def attempt(self, d):
        key = lambda: d.choice(["a1", "b1", "k1", "x", "y", "zz", "q"])
        return d.choice([
            lambda: f"GET {key()}", lambda: f"SET {key()} v", lambda: f"SET {key()} v GET", lambda: f"MGET {key()} {key()}",
            lambda: f"DEL {key()} {key()}", lambda: f"COPY {key()} {key()}", lambda: f"LPUSH {key()} v", lambda: f"ZADD {key()} 1 m",
            lambda: f"ZUNIONSTORE {key()} 2 {key()} {key()}", lambda: f"OBJECT ENCODING {key()}", lambda: f"PUBLISH {key()} m",
            lambda: "CONFIG GET hz", lambda: "SELECT 0", lambda: "DBSIZE", lambda: f"SORT {key()} BY w*", lambda: f"SORT {key()} STORE {key()}",
            lambda: f"XREAD COUNT 1 STREAMS {key()} 0", lambda: "ACL WHOAMI", lambda: f"EXISTS {key()}", lambda: f"GETEX {key()}",
            lambda: f"BITFIELD {key()} GET u8 0", lambda: f"EVAL return(1) 1 {key()}", lambda: "DEBUG SLEEP 0", lambda: "PING",
        ])()


def same_commands(pair, rules, user):
    """Both descriptions give the same to a server that knows the commands of both."""
    redis, other = pair.sides
    said = other.call("ACL", "LIST")
    line = next((u for u in said if u.split(b" ")[1] == user), None)
    assert line, (user, said)
    words = [w for w in line.split(b" ")[2:] if w.strip(b"()")[1:].decode() not in rules.pollux_alone]
    again = redis.call("ACL", "SETUSER", "again", "reset", "resetchannels", *words)
    if again != b"OK":
        raise Difference(f"Redis does not take {line!r}: {again!r}")
    without = [b"-" + name.encode() for name in rules.redis_alone]
    views = []
    for name in (b"again", user):
        u = redis.call("ACL", "GETUSER", name)
        u = dict(zip(u[::2], u[1::2]))
        parts = [u] + [dict(zip(s[::2], s[1::2])) for s in u[b"selectors"]]
        shown = []
        for part in parts:
            redis.call("ACL", "SETUSER", "part", "reset", *part[b"commands"].split(b" "), *without)
            bits = redis.call("ACL", "GETUSER", "part")
            shown.append((bits[bits.index(b"commands") + 1], part[b"keys"], part[b"channels"]))
        flags = [f for f in u[b"flags"] if f != b"sanitize-payload"]
        views.append((flags, u[b"passwords"], shown))
    redis.call("ACL", "DELUSER", "again", "part")
    if views[0] != views[1]:
        raise Difference(f"{line!r}\n  redis:  {views[1]!r}\n  pollux: {views[0]!r}")


def play_round(servers, seed, n):
    d = random.Random(seed)
    admin = Pair(servers)
    clients = {}
    history = []
    try:
        start_over(admin)
        rules = Rules(admin)
        for _ in range(n):
            user = d.choice(["u", "v", "w"])
            kind = d.random()
            if kind < 0.35:
                line = ["ACL", "SETUSER", user] + [rules.rule(d) for _ in range(d.randrange(1, 6))]
                history.append(line)
                admin.compare([w.encode() for w in line], line)
                present = [side.call("ACL", "GETUSER", user) is not None for side in admin.sides]
                if present[0] != present[1]:
                    raise Difference(f"{line}: {present}")
                if present[0]:
                    same_commands(admin, rules, user.encode())
            elif kind < 0.6:
                line = f"ACL DRYRUN {user} {rules.attempt(d)}"
                history.append(line)
                admin.compare(words_of(line), line)
            elif kind < 0.63:
                line = f"ACL DELUSER {user}"
                history.append(line)
                admin.compare(words_of(line), line)
                clients.pop(user, None)
            elif kind < 0.7 or user not in clients:
                clients[user] = clients.get(user) or Pair(servers)
                line = f"AUTH {user} {d.choice('pq')}"
                history.append(f"{user}: {line}")
                clients[user].compare(words_of(line), line)
            else:
                line = rules.attempt(d)
                history.append(f"{user}: {line}")
                clients[user].compare(words_of(line), line)
        admin.compare(words_of("ACL LOG 100"), "ACL LOG 100")
    except Difference as difference:
        raise Difference(f"{difference}\n  after:\n    " + "\n    ".join(map(str, history[-12:]))) from None
    finally:
        for pair in [admin, *clients.values()]:
            pair.close()


# --- rule lines that nobody sane writes ---------------------------------------------------------------

HOSTILE = [
    b"~" + b"x" * 70000, b"~\x00", b"~a\x00b", b"&\x00", b">\x00\xff", b"(", b")", b"()", b"(()", b"(+get", b"+get)", b"(  )", b"(\t)", b"(\"", b"(\"~a b\")",
    b"('~a'b)", b"(\"\\x00\")", b"(~a\x00)", b"(" + b"+get " * 2000 + b")", b"+" + b"x" * 5000, b"+|", b"+||", b"+get||", b"+config||get", b"+|get", b"-|",
    b"+@", b"-@", b"@read", b"+@read@", b"+ get", b"+get ", b" +get", b"+get\x00x", b"on\x00", b"ON ", b"%", b"%%", b"%R", b"%RW", b"%RWR~x", b"%R~", b"%~", b"%W~\xff\xfe",
    b"~[", b"~\\", b"~*\x00", b"~ ", b"~\t", b"&a b", b"&[", b"#", b"!", b"<", b">", b"#" + b"0" * 63, b"#" + b"0" * 64, b"#" + b"0" * 65, b"#" + b"g" * 64, b"!" + b"0" * 64,
    b"allkeys\n", b"+get\n", b"+select|\x00", b"+select|a|b", b"+acl|setuser|x", b"*", b"~*", b"&*", b"nopass", b"\x80", b"", b"(%R~a %W~a)", b"(+@all -@all ~* &*)",
    b"+sEt", b"-CONFIG|GeT", b"(-@all)", b"(allkeys ~a)", b"(&* &a)", b"(on)", b"((+get))", b"(+get)(+set)",
]  # fmt: skip


def hostile_rules(servers):
    admin = Pair(servers)
    try:
        start_over(admin)
        for i, rule in enumerate(HOSTILE):
            admin.compare([b"ACL", b"SETUSER", b"h", rule], rule[:80])
            admin.compare([b"ACL", b"GETUSER", b"h"], rule[:80])
            other = HOSTILE[(i * 7 + 3) % len(HOSTILE)]
            admin.compare([b"ACL", b"SETUSER", b"h%d" % (i % 5), rule, other, b"+get"], (rule[:80], other[:80]))
            admin.compare([b"ACL", b"LIST"], (rule[:80], other[:80]))
        for name in (b"", b" ", b"a b", b"a\x00", b"\n", b"\xff", b"(", b"x" * 10000):
            admin.compare([b"ACL", b"SETUSER", name, b"on"], name[:20])
            admin.compare([b"ACL", b"GETUSER", name], name[:20])
            admin.compare([b"ACL", b"DELUSER", name], name[:20])
    finally:
        admin.close()


HOSTILE_FILES = [
    b"", b"\n\n\n", b"user", b"user ", b"user a", b"user a\nuser a", b"USER a on", b"foo a on", b"user  a on", b"user a  on", b"user\ta on", b"\tuser a on\t",
    b"user a on\r\nuser b off\r\n", b"user a on # no comment", b"# no comment\nuser a on", b"user a +nosuch", b"user a +nosuch -nosuch +@nosuch foo bar ~a",
    b"user a foo bar\nuser b bar foo", b"user a (+get", b"user a (+get\nuser b on", b"user a (+get ~x) (+set\t~y)", b"user a ( +get )", b"user a (\"~a b\")", b"user a )",
    b"user default off", b"user default on nopass\nuser default off", b"user a on nopass ~* +@all\nuser b on >p ~* &* -@all +get", b"user \xff on", b"user a ~\xff", b"user a\x00b on",
    b"user a ~a\x00b", b"user a " + b"+get " * 3000, b"user " + b"x" * 9000 + b" on", b"user a ~" + b"y" * 9000, b"".join(b"user u%d on >p%d ~k%d +get\n" % (i, i, i) for i in range(300)),
    b"user a \"+get\"", b"user a on;user b on", b"\xef\xbb\xbfuser a on", b"user a #zz", b"user a <p", b"user a allkeys ~x", b"user a &* &x", b"user a +config|get|x +get|", b"user a on\n\x0buser b on",
    b"user a reset on\nuser b (~a)x", b"user a %~x %Q~x", b"user a sanitize-payload skip-sanitize-payload nopass resetpass clearselectors",
]  # fmt: skip


def hostile_files(servers):
    """What ACL LOAD says of a file, and the users that come of it; what SAVE writes is taken by both."""
    admin = Pair(servers)
    try:
        for text in HOSTILE_FILES:
            for server in servers:
                with open(os.path.join(server.folder, "users.acl"), "wb") as f:
                    f.write(text)
            for words in ("ACL LOAD", "ACL USERS", "ACL LIST"):
                admin.compare(words_of(words), (text[:200], words))
            for side in admin.sides:  # the default user may be off; this connection is it
                side.call("ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*", "&*")
            admin.compare(words_of("ACL SAVE"), (text[:200], "ACL SAVE"))
            admin.compare(words_of("ACL LOAD"), (text[:200], "ACL LOAD of what SAVE wrote"))
            admin.compare(words_of("ACL LIST"), (text[:200], "ACL LIST of what SAVE wrote"))
    finally:
        admin.close()


def main():
    options = program.parser("access control on redis-server and on Pollux", rounds=(2, 100), commands=250).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        with program.started(options, cores) as servers:
            filed = []
            for server in servers:
                filed.append(type(server)(dict(server.options, aclfile="users.acl"), start=False))
                with open(os.path.join(filed[-1].folder, "users.acl"), "wb"):
                    pass
                filed[-1].start()
                filed[-1].wait_ready()
            tests = [(f"scenario {name!r}", lambda t=text: play_scenario(servers, t)) for name, text in SCENARIOS.items()]
            tests += [("hostile rules", lambda: hostile_rules(servers)), ("hostile files", lambda: hostile_files(filed))]
            yield servers + filed, tests + program.seeds(options, lambda seed: play_round(servers, seed, options.commands))
            for server in filed:
                server.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
