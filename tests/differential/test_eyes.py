#!/usr/bin/python3
"""What watches the server at work, on redis-server 7.0.15 and on Pollux: MONITOR's lines and SLOWLOG's entries are
the same to the byte but for times and addresses, LATENCY's replies have one shape, and INFO has Redis's fields, or
a reason stands here, and its counters count the same. With one core and with two.

usage: test_eyes.py [--cores 0 --cores 0,1] [--peer redis]
"""

import contextlib
import os
import re
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import pollux
import program
from program import Difference
from raw import Connection
from rounds import Servers

# Commands by client: what MONITOR shows of them is compared. A word in {} is bytes in Latin-1.
SEEN = [
    "0 SET a 1", "1 GET a", "0 set A {\"\\\n\r\t\a\b\x01\x1f\x7f\x80\xff } {}", "1 SELECT 3", "1 GET a", "0 SELECT 99",
    "1 NOSUCH x", "1 GET", "0 PING", "0 MGET a b c d e f g h", "1 MSET a 1 b 2 c 3 d 4", "0 DEL a b c d",
    "0 MULTI", "0 SET a 1", "0 SELECT 1", "0 GET a", "0 DBSIZE", "0 KEYS *", "0 SELECT 0", "0 EXEC",
    "0 MULTI", "0 SET a 1", "0 DISCARD", "0 MULTI", "0 SET a", "0 EXEC", "0 EXEC", "0 DISCARD", "0 MULTI", "0 EXEC",
    "0 WATCH a", "1 SELECT 0", "1 SET a 2", "0 MULTI", "0 GET a", "0 EXEC", "0 WATCH a", "0 UNWATCH",
    "0 AUTH x", "0 AUTH a b", "0 HELLO 2 AUTH default x", "0 HELLO 2 AUTH default", "0 HELLO 2 SETNAME bob",
    "0 CONFIG GET port", "0 CONFIG SET hz 10", "0 CONFIG HELP", "0 CONFIG RESETSTAT", "0 DEBUG SLEEP 0", "0 CLIENT LIST",
    "0 CLIENT ID", "0 CLIENT SETNAME x", "0 CLIENT KILL ID 999999", "0 INFO server", "0 COMMAND COUNT", "0 TIME",
    "0 SLOWLOG LEN", "0 LATENCY LATEST", "0 ECHO x", "0 MEMORY USAGE a", "0 DBSIZE", "0 KEYS nothing", "0 SCAN 0",
    "0 OBJECT HELP", "0 OBJECT ENCODING a", "0 RANDOMKEY", "0 MIGRATE 127.0.0.1 1 nokey 0 10 AUTH secret",
    "0 MIGRATE 127.0.0.1 1 nokey 0 10 AUTH2 user secret", "0 BLPOP l m 0.01", "0 LPUSH l 1", "0 BLPOP l m 0", "0 SORT l",
    "1 BLPOP waits 0", "0 RPUSH waits x", "1 PING", "0 SHUTDOWN ABORT", "0 FLUSHALL", "0 RESET", "0 FLUSHDB",
    "0 ACL WHOAMI", "0 ACL SETUSER u >p", "0 ACL CAT", "0 EVAL {return 1} 0",
    "0 EVAL {redis.call('set',KEYS[1],'v') redis.call('select','5') return redis.pcall('get',KEYS[1])} 1 k",
    "0 EVAL {return redis.call('nosuch')} 0", "0 EVALSHA nosuch 0", "0 SCRIPT EXISTS x",
    "0 MULTI", "0 EVAL {return redis.call('get',KEYS[1])} 1 k", "0 EXEC", "0 SELECT 0",
    "0 PUBLISH a b", "0 SPUBLISH a b", "0 CLIENT NO-EVICT ON",
]  # fmt: skip

# What a client in MONITOR may do itself, with its replies and lines mixed.
OWN = [
    "PING", "GET a", "SET a b", "KEYS *", "DBSIZE", "SELECT 2", "SELECT 0", "MONITOR", "PING again", "MULTI", "PING", "GET a",
    "DISCARD", "MULTI", "ECHO x", "EXEC", "HELLO 3", "PING three", "HELLO 2", "COMMAND COUNT", "CLIENT SETNAME me",
]  # fmt: skip

SLOW = [
    "SET a 1", "GET a", "PING " + "x" * 128, "PING " + "x" * 129, "PING " + "x" * 20000, "MGET " + " ".join("k%d" % i for i in range(31)),
    "MGET " + " ".join("k%d" % i for i in range(32)), "MGET " + " ".join("k%d" % i for i in range(100)),
    "MULTI", "SET a 1", "GET a", "DBSIZE", "EXEC", "BLPOP none 0.01", "SELECT 0", "GET", "NOSUCH", "CLIENT SETNAME bob", "PING",
    "AUTH x", "AUTH a b", "HELLO 2 AUTH default x", "HELLO 2 AUTH default", "ACL SETUSER u >p on", "ACL WHOAMI",
    "CONFIG SET requirepass {}", "CONFIG SET masterauth s maxmemory 0", "CONFIG SET masteruser {}", "CONFIG SET MASTERAUTH {}",
    "MIGRATE 127.0.0.1 1 nokey 0 10 AUTH secret", "MIGRATE 127.0.0.1 1 nokey 0 10 COPY AUTH2 a secret",
    "KEYS *", "DBSIZE", "SCAN 0", "RANDOMKEY", "FLUSHALL", "OBJECT HELP", "INFO server", "DEBUG SLEEP 0", "CONFIG GET maxmemory",
    "EVAL {return redis.call('set','a',string.rep('x',200))} 0", "MULTI", "EVAL {redis.call('get','a') redis.call('strlen','b')} 0",
    "EXEC", "RPUSH l 1 2 3", "LRANGE l 0 -1", "SORT l", "LPOP l 2", "MSET a 1 b 2 c 3", "DEL a b c", "SLOWLOG LEN",
]  # fmt: skip


def words_of(line):
    """Splits at blanks; what stands in braces is one word."""
    words = re.findall(r"\{([^}]*)\}|(\S+)", line.replace("\n", "\0"))
    return [(a or b).replace("\0", "\n").encode("latin-1") for a, b in words]


def same(what, redis, other):
    if redis != other:
        at = next((i for i, (a, b) in enumerate(zip(redis, other)) if a != b), min(len(redis), len(other)))
        raise Difference(f"{what}, at {at}:\n  redis:  {redis[at : at + 3]}\n  pollux: {other[at : at + 3]}")


def connect(server, n=1):
    return [Connection(server.host, server.port) for _ in range(n)]


# --- MONITOR -----------------------------------------------------------------------------------------


def shown(line, clients):
    """A line without its time, and with the number of the client for its address."""
    match = re.fullmatch(rb"\+(\d+)\.(\d{6}) \[(\d+) ([^\]]*)\] (.*)", line, re.DOTALL)
    if not match:
        raise Difference(f"not a line of MONITOR: {line!r}")
    seconds, _, db, who, rest = match.groups()
    return (db, clients.get(who, who), rest), int(seconds)


def lines_until(connection, last):
    lines = []
    while not lines or last not in lines[-1]:
        lines.append(connection._line())
    return lines


def monitored(servers):
    """The commands of several clients, in order, as several monitors see them."""
    script = SEEN
    results = []
    for server in servers:
        clients, watchers = connect(server, 2), connect(server, 5)
        for w in watchers:
            if w.call("MONITOR") != b"OK":
                raise Difference("MONITOR is not answered with OK")
        names = {("%s:%d" % c.socket.getsockname()[:2]).encode(): i for i, c in enumerate(clients)}
        waiting = False
        for line in script:
            who, words = int(line[0]), words_of(line[2:])
            clients[who].send([words])
            if words[:2] == [b"BLPOP", b"waits"]:
                waiting = True
                other = clients[0]
                pollux.wait_for(lambda: other.call("CLIENT", "LIST").count(b"cmd=blpop") == 1, "a client waits")
                continue
            clients[who].read()
            if waiting and words[0] == b"RPUSH":
                clients[1].read()
                waiting = False
        clients[0].call("ECHO", "the last one")
        seen = []
        for w in watchers:
            found = [shown(line, names) for line in lines_until(w, b"the last one")]
            seen.append([f[0] for f in found if b'"CLIENT" "LIST"' not in f[0][2]])
        for other in seen[1:]:
            same("two monitors of one server", seen[0], other)
        results.append(seen[0])
        for c in clients + watchers:
            c.close()
    same("MONITOR", *results)


def own_commands(servers):
    """A client in MONITOR: what it may not do, what it sees of itself, and how that ends."""
    texts = []
    script = OWN
    for server in servers:
        c = connect(server)[0]
        c.call("SET", "a", "1")
        c.call("MONITOR")
        c.send([words_of(line) for line in script] + [[b"RESET"], [b"PING", b"over"], [b"QUIT"]])
        text = b"".join(iter(lambda c=c: c.socket.recv(65536), b""))
        text = re.sub(rb"\+\d+\.\d{6} \[(\d+) [^\]]*\]", rb"+[\1]", text)
        text = re.sub(rb":2\d\d\r\n", b":count\r\n", re.sub(rb"(id\r\n):\d+", rb"\1:0", text))
        texts.append(text.split(b"\r\n"))
        other = connect(server)[0]
        texts[-1] += [other.call("MULTI"), other.call("MONITOR"), other.call("EXEC")]
        flags = connect(server, 2)
        flags[0].call("MONITOR")
        texts[-1].append(re.findall(rb"flags=O ", flags[1].call("CLIENT", "LIST")))
        texts[-1].append(re.findall(rb"flags=(\w+)", flags[1].call("CLIENT", "LIST", "TYPE", "normal")).count(b"O"))
        for f in flags:
            f.close()
    same("a monitor's own commands", *texts)


def order_of_cores(servers):
    """Commands that one client sends are seen in its order, wherever their keys live, and none is lost."""
    for server in servers:
        watchers, clients = connect(server, 2), connect(server, 4)
        for w in watchers:
            w.call("MONITOR")
        for turn in range(20):
            for i, c in enumerate(clients):
                c.send([[b"SET", b"key%d" % (turn * 50 + n), b"%d-%d" % (i, turn * 50 + n)] for n in range(50)])
        for c in clients:
            for _ in range(1000):
                c.read()
        for w in watchers:  # lines of a core whose mailbox is full come later
            found = re.findall(rb'"(\d)-(\d+)"', b" ".join(w._line() for _ in range(4000)))
            for i in range(4):
                same(f"the order of client {i}", list(range(1000)), [int(n) for who, n in found if int(who) == i])


# --- SLOWLOG -----------------------------------------------------------------------------------------


def slow_entries(servers):
    """With a threshold of 0 every command stands in the log, trimmed and without its secrets."""
    script = SLOW
    results = []
    for server in servers:
        c, other = connect(server, 2)
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000")
        c.call("SLOWLOG", "RESET")
        for line in script:
            c.call(*words_of(line))
        other.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        entries = c.call("SLOWLOG", "GET", "-1")
        ids = [e[0] for e in entries]
        if ids != sorted(set(ids), reverse=True):
            raise Difference(f"ids of the slow log: {ids}")
        if any(not 0 <= e[2] < 10**7 or abs(e[1] - int(c.call("TIME")[0])) > 60 for e in entries):
            raise Difference("times of the slow log")
        mine = b"%s:%d" % (c.socket.getsockname()[0].encode(), c.socket.getsockname()[1])
        results.append([(e[3], b"mine" if e[4] == mine else e[4], e[5]) for e in reversed(entries)])
        for n, wanted in ((b"3", 3), (b"0", 0), (b"-1", len(entries))):
            same(f"SLOWLOG GET {n}", [wanted], [len(c.call("SLOWLOG", "GET", n))])
        same("SLOWLOG GET", [10, ids[:10]], [len(c.call("SLOWLOG", "GET")), [e[0] for e in c.call("SLOWLOG", "GET")]])
        same("SLOWLOG LEN", [len(entries)], [c.call("SLOWLOG", "LEN")])
        c.call("CONFIG", "SET", "masterauth", "", "masteruser", "")
    same("SLOWLOG", *results)


def slow_limits(servers):
    """The limit counts over all cores, numbers go on after RESET, and a threshold keeps quick commands out."""
    for server in servers:
        clients = connect(server, 4)
        c = clients[0]
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "5")
        c.call("SLOWLOG", "RESET")  # a core on which nothing slow happens keeps what it had
        for i in range(40):
            clients[i % 4].call("SET", f"key{i}", "v")
        same("SLOWLOG LEN", [5], [c.call("SLOWLOG", "LEN")])
        entries = c.call("SLOWLOG", "GET", "100")
        names = [e[3][1] for e in entries if e[3][0] == b"SET"]
        same("the newest of all cores", [b"key%d" % i for i in range(39, 39 - len(names), -1)], names)
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        last = entries[0][0]
        same("RESET", [b"OK", 0, []], [c.call("SLOWLOG", "RESET"), c.call("SLOWLOG", "LEN"), c.call("SLOWLOG", "GET")])
        c.call("CONFIG", "SET", "slowlog-log-slower-than", "100000", "slowlog-max-len", "128")
        for i in range(64):
            clients[i % 4].call("SET", f"key{i}", "v")
        c.call("DEBUG", "SLEEP", "0.2")
        entries = c.call("SLOWLOG", "GET")
        same("what is slow", [[b"DEBUG", b"SLEEP", b"0.2"]], [e[3] for e in entries])
        if entries[0][0] <= last or not 200_000 <= entries[0][2] < 5_000_000:
            raise Difference(f"the slow one: {entries[0]}, after {last}")
        c.call("SLOWLOG", "RESET")


def slow_errors(servers):
    results = []
    for server in servers:
        c = connect(server)[0]
        results.append([c.call(*words_of(line)) for line in (
            "SLOWLOG", "SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG GET 99999999999999999999", "SLOWLOG GET 1 2", "SLOWLOG LEN x",
            "SLOWLOG RESET x", "SLOWLOG FOO", "MONITOR x")])
    same("errors", *results)


# --- LATENCY -----------------------------------------------------------------------------------------

THRESHOLD = "latency-monitor-threshold"


def latency_errors(servers):
    results = []
    for server in servers:
        c = connect(server)[0]
        results.append([c.call(*words_of(line)) for line in (
            "LATENCY", "LATENCY FOO", "LATENCY HISTORY", "LATENCY HISTORY command", "LATENCY HISTORY nosuch", "LATENCY GRAPH",
            "LATENCY GRAPH nosuch", "LATENCY GRAPH command", "LATENCY LATEST", "LATENCY LATEST x", "LATENCY RESET",
            "LATENCY RESET nosuch command", "LATENCY DOCTOR x", "LATENCY HELP x", "LATENCY HISTOGRAM nosuch config|nosuch")])
        helps = [c.call(name, "HELP") for name in ("LATENCY", "SLOWLOG")]
        results[-1] += [(h[0].split(b".")[0].split(b" [")[0], h[-2]) for h in helps]
    same("errors", *results)


def latency_events(servers):
    """A slow command is an event; the worst of a second is kept; RESET forgets. Below the threshold nothing is."""
    for server in servers:
        c = connect(server)[0]
        c.call("DEBUG", "SLEEP", "0.01")
        same("without a threshold", [[]], [c.call("LATENCY", "LATEST")])
        c.call("CONFIG", "SET", THRESHOLD, "5")
        for seconds in ("0.03", "0.02", "0.001"):
            c.call("DEBUG", "SLEEP", seconds)
        events = {e[0]: e for e in c.call("LATENCY", "LATEST")}
        name, when, last, worst = events[b"command"]
        now = int(c.call("TIME")[0])
        if not (0 <= now - when <= 5 and 20 <= last <= worst and 30 <= worst < 5000):
            raise Difference(f"{events}")
        turn = events.get(b"turn")  # of the machine's, but not of a command that has been told
        if turn and turn[3] >= 30:
            raise Difference(f"the pause of a command was told as one of a turn, too: {events}")
        history = c.call("LATENCY", "HISTORY", "command")
        if not 1 <= len(history) <= 2 or history[-1] != [when, last] or max(ms for _, ms in history) != worst:
            raise Difference(f"{history}, {events}")
        graph = c.call("LATENCY", "GRAPH", "command").split(b"\n")
        if not re.fullmatch(rb"command - high \d+ ms, low \d+ ms \(all time high \d+ ms\)", graph[0]) or graph[1] != b"-" * 80:
            raise Difference(f"{graph}")
        if b"command: " not in c.call("LATENCY", "DOCTOR"):
            raise Difference("DOCTOR does not speak of the commands")
        known_events = set(events)
        c.call("CONFIG", "SET", THRESHOLD, "0")
        same("RESET", [1, 0], [c.call("LATENCY", "RESET", "command", "nosuch"), c.call("LATENCY", "RESET", "command")])
        rest = {e[0] for e in c.call("LATENCY", "LATEST")}
        if not known_events - {b"command"} <= rest or b"command" in rest:
            raise Difference(f"{rest}, {known_events}")
        same("RESET of all", [len(rest), []], [c.call("LATENCY", "RESET"), c.call("LATENCY", "LATEST")])


CALLS = ["GET a", "SET a 1", "MGET a b c d e f", "CLIENT ID", "COMMAND COUNT", "COMMAND", "CONFIG GET port", "BLPOP none 0.01",
         "KEYS *", "LPUSH l 1", "SORT l", "INCR a", "INCR l", "GET", "NOSUCH", "OBJECT HELP", "MULTI", "PING", "GET a", "EXEC",
         "EVAL {return redis.call('get','a')} 0"]  # fmt: skip


def histograms(servers):
    """Calls are counted as Redis counts them, under limits that are Redis's, whatever way they went."""
    script = CALLS
    counts = []
    limits = {int((1024 << i) * (1 + 1 / 128)) // 1000 for i in range(34)} | {((1024 << i) + (8 << i) - 1) // 1000 for i in range(34)}
    for server in servers:
        c, three = connect(server, 2)
        three.call("HELLO", "3")
        c.call("CONFIG", "RESETSTAT")
        for line in script:
            c.call(*words_of(line))
        c.send([[b"GET", b"k%d" % i] for i in range(1000)])
        for _ in range(1000):
            c.read()
        found = {}
        for name, (_, calls, _, usec) in pairs(c.call("LATENCY", "HISTOGRAM")):
            numbers = list(pairs(usec))
            if [n for _, n in numbers] != sorted({n for _, n in numbers}) or numbers[-1][1] != calls:
                raise Difference(f"{name}: {numbers}, {calls} calls")
            if not {limit for limit, _ in numbers} <= limits:
                raise Difference(f"{name}: {numbers}")
            found[name] = calls
        for name in (b"hello", b"latency|histogram"):
            found.pop(name, None)
        maps = three.call("LATENCY", "HISTOGRAM", "get", "command", "config|get", "set|x", "nosuch", "GET")
        found["asked for"] = {name: list(m) + [m[b"calls"]] for name, m in maps.items()}
        found["in RESP2"] = sorted(c.call("LATENCY", "HISTOGRAM", "config", "get")[::2])
        c.call("CONFIG", "SET", "latency-tracking", "no")
        c.call("GET", "a")
        found["not tracked"] = dict(pairs(c.call("LATENCY", "HISTOGRAM", "get")[1]))[b"calls"]
        c.call("CONFIG", "SET", "latency-tracking", "yes")
        c.call("CONFIG", "RESETSTAT")
        found["reset"] = c.call("LATENCY", "HISTOGRAM", "get")
        counts.append(found)
    for name in sorted(set(counts[0]) | set(counts[1]), key=str):
        same(f"calls of {name}", [counts[0].get(name)], [counts[1].get(name)])


def pairs(items):
    return zip(items[::2], items[1::2])


def percentiles(servers):
    """INFO latencystats: the same commands, the percentiles that are asked for, rising."""
    names = []
    script = CALLS
    for server in servers:
        c = connect(server)[0]
        c.call("CONFIG", "RESETSTAT")
        for line in script:
            c.call(*words_of(line))
        for asked, labels in (("50 99 99.9", ["p50", "p99", "p99.9"]), ("0 12.5 99.999 100", ["p0", "p12.5", "p99.999", "p100"]),
                              ("", [])):
            c.call("CONFIG", "SET", "latency-tracking-info-percentiles", asked)
            stats = info(c, "latencystats")["Latencystats"]
            for name, text in stats.items():
                shown_ = [part.split("=") for part in text.split(",")] if text else []
                values = [float(value) for _, value in shown_]
                if [label for label, _ in shown_] != labels or values != sorted(values):
                    raise Difference(f"{name}:{text}")
                if any(not re.fullmatch(r"\d+\.\d{3}", value) for _, value in shown_):
                    raise Difference(f"{name}:{text}")
        c.call("CONFIG", "SET", "latency-tracking-info-percentiles", "50 99 99.9")
        names.append(sorted(n for n in stats if "known" not in n))
    same("names of latencystats", *names)


# --- INFO --------------------------------------------------------------------------------------------

# Fields of Redis that Pollux has not, by section, with the reason.
LACKING = {
    "Memory": {"lazyfreed_objects": "what is freed in steps is counted as memory until it is gone, not as objects"},
    "Persistence": {
        "current_cow_peak current_cow_size current_cow_size_age current_fork_perc current_save_keys_processed "
        "current_save_keys_total rdb_last_cow_size aof_last_cow_size": "nothing forks, so nothing is copied on write",
        "rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec rdb_saves rdb_last_load_keys_expired rdb_last_load_keys_loaded "
        "aof_last_rewrite_time_sec aof_current_rewrite_time_sec aof_last_bgrewrite_status aof_rewrites "
        "aof_rewrites_consecutive_failures aof_last_write_status": "there are no files of the data set yet",
        "module_fork_in_progress module_fork_last_cow_size": "there are no modules",
    },
    "Stats": {
        "active_defrag_hits active_defrag_misses active_defrag_key_hits active_defrag_key_misses total_active_defrag_time "
        "current_active_defrag_time": "the allocator moves nothing",
        "io_threaded_reads_processed io_threaded_writes_processed": "there are no threads for input and output",
        "migrate_cached_sockets": "MIGRATE keeps no connections",
        "slave_expires_tracked_keys": "there are no replicas that could be written to",
        "reply_buffer_shrinks reply_buffer_expands": "idle connections have no reply buffer",
    },
}
# Fields of Pollux that Redis 7.0 has not.
OURS = {
    "server_name", "server_mode", "pollux_version", "acl_access_denied_auth", "acl_access_denied_cmd", "acl_access_denied_key",
    "acl_access_denied_channel", "client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections",
}  # fmt: skip
# The same on both sides, as long as nobody uses what they tell of.
CONSTANT = re.compile(r"redis_version|redis_mode|arch_bits|atomicvar_api|hz|configured_hz|maxclients|blocked_clients|tracking_.*|"
                      r"clients_in_timeout_table|cluster_.*|maxmemory.*|mem_(cluster|aof|not|repl|total|clients_slaves).*|"
                      r"loading|async_loading|.*_in_progress|rdb_last_bgsave_status|aof_enabled|aof_rewrite.*|sync_.*|"
                      r".*repl_.*bytes|.*repl_kbps|evicted_.*|pubsub.*|latest_fork_usec|total_forks|unexpected_.*|"
                      r"role|connected_slaves|master_failover_state|master_replid2|second_repl_offset|number_of_.*|"
                      r"expired_stale_perc|.*_children|lazyfree_pending_objects|active_defrag_running")


def info(connection, *sections):
    found, now = {}, None
    for line in connection.call("INFO", *sections).decode().splitlines():
        if line.startswith("# "):
            now = found.setdefault(line[2:], {})
        elif line:
            name, value = line.split(":", 1)
            now[name] = value
    return found


def kind(value):
    for pattern, name in ((r"-?\d+", "number"), (r"-?\d+\.\d+%?", "fraction"), (r"\d+(\.\d+)?[BKMGT]", "bytes"),
                          (r"(\w+=[^,]*,?)+", "list")):
        if re.fullmatch(pattern, value):
            return name
    return "text"


def info_fields(servers):
    """All sections, with Redis's fields in Redis's order, of the same kind; those that nothing moves have its values."""
    pair = [connect(server)[0] for server in servers]
    for c in pair:
        c.call("FLUSHALL")
        c.call("CONFIG", "RESETSTAT")
        c.call("SCRIPT", "FLUSH")
        c.call("SET", "k", "v")
        c.call("GET")
    redis, ours = [info(c, "everything") for c in pair]
    same("sections", list(redis), [s for s in ours if s != "Pollux"])
    for section, fields in redis.items():
        lacking = {name for names in LACKING.get(section, {}) for name in names.split()}
        if not lacking <= set(fields):
            raise Difference(f"{section}: Redis has not {lacking - set(fields)}")
        if lacking & set(ours[section]) and "Pollux" in ours:
            raise Difference(f"{section}: Pollux has {lacking & set(ours[section])} now")
        names = [name for name in fields if name not in lacking]
        missing = [name for name in names if name not in ours[section] and section not in ("Commandstats", "Latencystats")]
        extra = set(ours[section]) - set(fields) - OURS
        if missing or extra and section not in ("Commandstats", "Latencystats"):
            raise Difference(f"{section}: missing {missing}, beyond Redis's {extra}")
        for name in names:
            other = ours[section].get(name, fields[name])
            if kind(fields[name]) != kind(other) and fields[name] and other and name != "redis_build_id":
                raise Difference(f"{section}, {name}: {fields[name]!r} and {other!r}")
            if CONSTANT.fullmatch(name):
                same(f"{section}, {name}", [fields[name]], [other])
            keys = [re.findall(r"(\w+)=", text) for text in (fields[name], other)]
            if section != "Latencystats":
                same(f"{section}, {name}", *keys)
    for asked in ([], ["default"], ["all"], ["everything"], ["server", "CPU"], ["KEYSPACE", "all"], ["commandstats", "latencystats"],
                  ["nosuch"], ["nosuch", "errorstats"], ["modules"]):  # fmt: skip
        same(f"INFO {asked}", *[[s for s in info(c, *asked) if s != "Pollux"] for c in pair])


SESSION = [
    "SET a 1", "GET a", "GET none", "MGET a b none", "EXISTS a none", "LPUSH a 1", "GET", "NOSUCH", "NOSUCH x", "CONFIG NOSUCH",
    "CONFIG SET nosuch 1", "CLIENT KILL ID x", "INCR a", "INCRBY a x", "SET p 1 PX 1", "EVAL {return redis.call('get','a')} 0",
    "EVALSHA x 0", "MULTI", "SET a 1", "INCR a x", "EXEC", "MULTI", "LPUSH a 1", "GET a", "EXEC", "EXEC", "DISCARD", "MULTI", "WATCH a", "DISCARD", "AUTH a b",
    "HELLO 9", "SETRANGE a x y", "BLPOP none 0.01", "TOUCH a none", "TYPE a", "STRLEN none", "DEL a none", "OBJECT ENCODING none",
    "RENAME none x", "EXPIRE none 1", "SORT none", "HGET h f", "RESTORE x 0 bad", "SELECT 99",
]  # fmt: skip
COUNTERS = ("total_commands_processed", "keyspace_hits", "keyspace_misses", "expired_keys", "evicted_keys", "total_error_replies",
            "rejected_connections", "unexpected_error_replies", "pubsub_channels", "pubsub_patterns", "number_of_cached_scripts",
            "number_of_functions", "number_of_libraries", "dump_payload_sanitizations")


def info_counts(servers):
    """One session, the same counters on both sides: of commands, of errors, of keys."""
    script = SESSION
    results = []
    for server in servers:
        c = connect(server)[0]
        c.call("FLUSHALL")
        library = "#!lua name=counted\nfor i = 1, 3 do redis.register_function('f' .. i, function() end) end"
        assert c.call("FUNCTION", "LOAD", "REPLACE", library) == b"counted"
        c.call("CONFIG", "SET", "sanitize-dump-payload", "yes")
        c.call("CONFIG", "RESETSTAT")
        for line in script:
            c.call(*words_of(line))
        pollux.wait_for(lambda c=c: int(info(c, "stats")["Stats"]["expired_keys"]) == 1, "a key expires")
        c.call("SET", "fills", b"x" * 1000)
        c.call("CONFIG", "SET", "maxmemory", "100")
        c.call("SET", "too", "much")
        c.call("CONFIG", "SET", "maxmemory", "0")
        found = info(c, "everything")
        everything = {**found["Stats"], **found["Memory"]}
        result = {name: everything[name] for name in COUNTERS if name != "total_commands_processed"}
        result.update({f"error {name}": text for name, text in found["Errorstats"].items()})
        for name, text in found["Commandstats"].items():
            if name != "cmdstat_info":
                numbers = dict(part.split("=") for part in text.split(","))
                result[name] = {n: numbers[n] for n in ("calls", "rejected_calls", "failed_calls")}
        calls = sum(int(dict(p.split("=") for p in text.split(","))["calls"]) for text in found["Commandstats"].values())
        if int(everything["total_commands_processed"]) != calls:
            raise Difference(f"{everything['total_commands_processed']} commands, {calls} calls")
        c.call("CONFIG", "RESETSTAT")
        after = info(c, "everything")
        result["reset"] = (list(after["Errorstats"]), sorted(after["Commandstats"]),
                           [after["Stats"][n] for n in ("keyspace_hits", "keyspace_misses", "expired_keys", "total_error_replies")])
        results.append(result)
    for name in sorted(set(results[0]) | set(results[1])):
        same(name, [results[0].get(name)], [results[1].get(name)])


def info_channels(servers):
    """A channel counts once, however many are subscribed to it and wherever."""
    results = []
    for server in servers:
        c = connect(server)[0]
        listeners = connect(server, 4)
        for i, listener in enumerate(listeners):
            listener.send([[b"SUBSCRIBE", b"all", b"own%d" % i], [b"PSUBSCRIBE", b"a*", b"b%d*" % (i % 2)], [b"SSUBSCRIBE", b"s%d" % (i // 2)]])
            for _ in range(5):
                listener.read()
        stats = info(c, "stats")["Stats"]
        results.append([stats[name] for name in ("pubsub_channels", "pubsub_patterns", "pubsubshard_channels")])
        for listener in listeners:
            listener.close()
    same("channels", *results)


# --- memory ------------------------------------------------------------------------------------------


def memory_stats(connection):
    reply = connection.call("MEMORY", "STATS")
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2])
    stats = {name.decode(): value for name, value in pairs}
    for name, value in stats.items():
        if name.startswith("db."):
            inner = value.items() if isinstance(value, dict) else zip(value[::2], value[1::2])
            stats[name] = {k.decode(): v for k, v in inner}
    return stats


def memory_fields(servers):
    """MEMORY STATS has Redis's fields in Redis's order, of one type, in either protocol; db.N where there are keys."""
    for protocol in (2, 3):
        seen = []
        for server in servers:
            c = connect(server)[0]
            c.call("HELLO", protocol)
            c.call("FLUSHALL")
            empty = list(memory_stats(c))
            for i in range(1000):
                c.call("SET", f"k{i}", "v", *(("EX", 1000) if i % 2 else ()))
            assert c.call("SELECT", 3) == b"OK"
            c.call("SET", "k", "v")
            stats = memory_stats(c)
            seen.append([empty, list(stats), {n: type(v) for n, v in stats.items()},
                         {n: list(v) for n, v in stats.items() if n.startswith("db.")}])
            main, expires = stats["db.0"]["overhead.hashtable.main"], stats["db.0"]["overhead.hashtable.expires"]
            assert 1000 * 8 < main < 16384 * 64 * 2 and 0 < expires < 16384 * 64, stats["db.0"]
            assert stats["db.3"]["overhead.hashtable.main"] and not stats["db.3"]["overhead.hashtable.expires"], stats
            assert stats["db.0"]["overhead.hashtable.slot-to-keys"] == 0
            c.call("FLUSHALL")
            same("empty again", empty, list(memory_stats(c)))
            for words in ("DOCTOR", "MALLOC-STATS"):
                assert len(c.call("MEMORY", words)) > 20
            assert c.call("MEMORY", "PURGE") == b"OK"
        for mine, other in zip(*seen):
            same(f"MEMORY STATS, RESP{protocol}", [mine], [other])


def memory_relations(servers):
    """What is made of other figures is made of them as in Redis, and the figures tell of what is held."""
    for server in servers:
        c, other = connect(server, 2)
        c.call("FLUSHALL")
        c.call("SCRIPT", "FLUSH")
        c.call("FUNCTION", "FLUSH")

        def figures(c=c):
            return {n: int(v) for n, v in info(c, "memory")["Memory"].items() if re.fullmatch(r"-?\d+", v)}

        def check(c=c):
            text = info(c, "memory")["Memory"]
            m = {n: int(v) for n, v in text.items() if re.fullmatch(r"-?\d+", v)}
            assert m["used_memory"] == m["used_memory_overhead"] + m["used_memory_dataset"], m
            assert m["used_memory_startup"] < m["used_memory_overhead"], m
            share = 100 * m["used_memory_dataset"] / (m["used_memory"] - m["used_memory_startup"])
            assert abs(float(text["used_memory_dataset_perc"].rstrip("%")) - share) < 0.02, (text, share)
            assert m["used_memory_scripts"] == m["used_memory_scripts_eval"] + m["used_memory_functions"], m
            assert m["used_memory_vm_total"] == m["used_memory_vm_eval"] + m["used_memory_vm_functions"], m
            assert m["allocator_frag_bytes"] == m["allocator_active"] - m["allocator_allocated"], m
            s = memory_stats(c)
            listed = sum(s[n] for n in ("startup.allocated", "replication.backlog", "clients.slaves", "clients.normal",
                                        "cluster.links", "aof.buffer", "lua.caches", "functions.caches"))
            listed += sum(sum(v.values()) for n, v in s.items() if n.startswith("db."))
            assert listed <= s["overhead.total"] <= s["total.allocated"] <= s["peak.allocated"], (listed, s)
            assert s["dataset.bytes"] == s["total.allocated"] - s["overhead.total"], s
            net = s["total.allocated"] - s["startup.allocated"]
            assert abs(float(s["dataset.percentage"]) - 100 * s["dataset.bytes"] / net) < 0.01, s
            assert s["keys.bytes-per-key"] == (net // s["keys.count"] if s["keys.count"] else 0), s
            assert s["startup.allocated"] == m["used_memory_startup"], (s, m)
            return m

        before = check()
        c.call("SET", "big", b"x" * 3_000_000)
        now = check()
        assert now["used_memory_dataset"] - before["used_memory_dataset"] > 2_900_000, (before, now)
        c.call("DEL", "big")
        pollux.wait_for(lambda: figures()["used_memory"] < before["used_memory"] + 2_000_000, "the value to be gone")
        for i in range(50):
            c.call("EVAL", f"return {i} --" + "x" * 10_000, 0)
        c.call("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() end) --" + "x" * 100_000)
        now = check()
        assert (now["number_of_cached_scripts"], now["number_of_libraries"], now["number_of_functions"]) == (50, 1, 1), now
        assert now["used_memory_scripts_eval"] > 500_000 and now["used_memory_functions"] > 100_000, now
        assert now["used_memory"] - before["used_memory"] > 600_000, (before, now)
        c.call("SCRIPT", "FLUSH")
        c.call("FUNCTION", "FLUSH")
        before = figures()
        for i in range(100):
            c.call("ACL", "SETUSER", f"user-{i}", "on", *(f"~{i}:{k}:*" for k in range(50)))
        assert figures()["used_memory"] - before["used_memory"] > 100 * 50 * 10, (before, figures())
        c.call("ACL", "DELUSER", *(f"user-{i}" for i in range(100)))
        # A query of which one argument is there, and the other is not.
        before = figures()
        other.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000000\r\n" + b"x" * 3_000_000)
        pollux.wait_for(lambda: figures()["used_memory"] - before["used_memory"] > 2_500_000, "the query to be counted")
        check()
        other.close()
        pollux.wait_for(lambda: figures()["used_memory"] - before["used_memory"] < 1_000_000, "the query to be gone")


def memory_bound(servers):
    """maxmemory bounds used_memory less mem_not_counted_for_evict: by evicting, and by refusing to write."""
    for server in servers:
        c = connect(server)[0]
        c.call("FLUSHALL")

        def counted(c=c):
            m = info(c, "memory")["Memory"]
            return int(m["used_memory"]) - int(m["mem_not_counted_for_evict"])

        for i in range(300):
            c.call("SET", f"first:{i}", "x" * 1000)
        limit = counted() + 300_000
        try:
            c.call("CONFIG", "SET", "maxmemory", str(limit), "maxmemory-policy", "allkeys-random")
            for i in range(2000):
                c.call("SET", f"k:{i}", "x" * 1000)
            pollux.wait_for(lambda: counted() <= limit + 4096, "keys to be evicted")
            assert 200 < c.call("DBSIZE") < 1000 and counted() > limit - 250_000, (c.call("DBSIZE"), counted(), limit)
            c.call("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", str(counted() + 100_000))
            replies = [c.call("SET", f"more:{i}", "x" * 1000) for i in range(200)]
            assert replies[:20] == [b"OK"] * 20 and replies[-1].startswith(b"OOM"), replies
            c.call("CONFIG", "SET", "maxmemory", "1")
            c.call("FLUSHALL")
            # What was flushed is freed in steps, and what comes meanwhile is not refused.
            pollux.wait_for(lambda: c.call("SET", "k", "v").startswith(b"OOM"), "writes to be refused")
        finally:
            c.call("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")


TESTS = [memory_fields, memory_relations, memory_bound, info_channels, latency_errors, latency_events, histograms, percentiles, info_fields, info_counts, monitored, own_commands, order_of_cores, slow_entries, slow_limits, slow_errors]


def main():
    options = program.parser(__doc__.split("\n")[0]).parse_args()

    @contextlib.contextmanager
    def tests_of(cores):
        servers = Servers(cores, options.peer).servers
        yield servers, [(test.__name__, lambda t=test: t(servers)) for test in TESTS]
        for server in servers:
            server.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
