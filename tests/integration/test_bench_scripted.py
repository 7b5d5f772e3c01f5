"""pollux-bench against a server that misbehaves in known ways: it must report exactly that."""

import json
import math
import shutil
import subprocess
import time

import pytest

import pollux
from scripted import Memcache, Scripted


class Report:
    """What pollux-bench told: the JSON of its last test, its exit code and its lines for people."""

    def __init__(self, done):
        self.code, self.stderr = done.returncode, done.stderr
        try:
            self.json = json.loads(done.stdout)
            self.tests = self.json["tests"]
        except ValueError:
            self.json, self.tests = None, []

    @property
    def test(self):
        assert self.tests, self.stderr
        return self.tests[-1]

    def counts(self):
        return {kind: self.test[kind] for kind in ("requests", "misses", "errors", "wrong", "disconnects")}


def texts(report):
    """How often the server said what in its errors."""
    return {error["text"]: error["count"] for error in report.test["errors_by_text"]}


def bench(server, *words, timeout=30):
    return Report(pollux.run(pollux.program("pollux-bench"), *server.where, "--json", "--quiet", *words,
                             timeout=timeout, check=False))


def clean(requests, **others):
    """The counts of a test in which nothing but `others` was odd."""
    return {"requests": requests, "misses": 0, "errors": 0, "wrong": 0, "disconnects": 0, **others}


def one_line(report, text):
    assert report.stderr.startswith("pollux-bench: ") and report.stderr.count("\n") == 1, report.stderr
    assert text in report.stderr


# --- what is right --------------------------------------------------------------------------------------


def test_nothing_odd():
    with Scripted() as server:
        report = bench(server, "--fill", "--keys", "100", "--test", "mixed", "--requests", "2000", "--connections", "5",
                       "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(2000)
        assert server.requests == 2100
        assert server.counts[b"SET"] + server.counts[b"GET"] == 2100
        assert report.stderr == ""


def test_replies_cut_anywhere():
    """A reply that arrives in two pieces, cut at each place in turn, is the same reply."""

    def script(request):
        reply = request.honest()
        if request.name == b"GET":
            cut = request.number % (len(reply) - 1) + 1
            request.connection.send(reply[:cut])
            return reply[cut:]
        return reply

    with Scripted(script) as server:
        report = bench(server, "--fill", "--keys", "10", "--test", "get", "--requests", "300", "--connections", "1",
                       "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(300)


def test_misses():
    def script(request):
        return b"$-1\r\n" if request.name == b"GET" and request.number % 4 == 0 else None

    with Scripted(script) as server:
        report = bench(server, "--fill", "--keys", "100", "--test", "get", "--requests", "1000", "--connections", "2",
                       "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(1000, misses=250)


def test_ways_to_a_server():
    """IPv6 and UNIX sockets; several threads; RESP3; who we are and which database we want."""
    with Scripted(host="::1") as server:
        report = bench(server, "--test", "set,get", "--requests", "500", "--threads", "2", "--connections", "5")
        assert (report.code, report.stderr) == (0, "")
        assert [test["requests"] for test in report.tests] == [500, 500]
        assert server.requests == 1000
    with Scripted(unix=True) as server:
        report = bench(server, "--fill", "--keys", "100", "--test", "get", "--requests", "500", "-3", "--verify",
                       "--user", "me", "-a", "secret", "--db", "7", "--connections", "3")
        assert (report.code, report.stderr) == (0, "")
        assert report.counts() == clean(500)
        for said in (words[0].upper() for words in server.hellos):
            assert said in (b"HELLO", b"AUTH", b"SELECT")
        for word in (b"me", b"secret", b"7", b"3"):
            assert sum(word in words for words in server.hellos) >= 3


def test_refused_passwords_are_one_line():
    def script(request):
        return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n" if request.name == b"AUTH" else None

    with Scripted(script, uncounted=()) as server:
        report = bench(server, "--test", "set", "--requests", "5", "-a", "guess")
        assert report.code == 1
        one_line(report, "WRONGPASS")


def test_the_server_cannot_write_to_the_terminal():
    def script(request):
        return b"-ERR \x1b[2J\xc2\x9b2J\xffgone\r\n" if request.name == b"AUTH" else None

    with Scripted(script, uncounted=()) as server:
        report = bench(server, "--test", "set", "--requests", "5", "-a", "guess")
        one_line(report, "-ERR ?[2J\\xc2\\x9b2J\\xffgone")


def test_churn_connects_anew():
    """Each batch on a connection of its own."""
    with Scripted() as server:
        report = bench(server, "--test", "set", "--requests", "100", "--connections", "2", "--pipeline", "2", "--churn")
        assert (report.code, report.stderr) == (0, "")
        assert report.counts()["requests"] == 100
        assert [k for k in server.connections if k.load > 2] == []
        assert len([k for k in server.connections if k.load]) == 50
        assert 48 <= report.test["connects"] <= 50


# --- what is wrong --------------------------------------------------------------------------------------


def test_wrong_values():
    """One byte of a value is enough, wherever it is."""

    def script(request):
        reply = bytearray(request.honest())
        if request.name == b"GET" and request.number % 10 == 0:
            at = 5 + request.number % 64
            reply[at] ^= 1
        return bytes(reply)

    with Scripted(script) as server:
        report = bench(server, "--fill", "--keys", "100", "--test", "get", "--requests", "1000", "--connections", "3",
                       "--pipeline", "4", "--verify")
        assert report.code == 1
        assert report.counts() == clean(1000, wrong=100)
        evidence = report.test["evidence"]
        assert 1 <= len(evidence) <= 8
        assert all("GET" in line and "key:" in line and "\n" not in line for line in evidence)


def test_swapped_replies():
    """Two neighbours of a pipeline change places: both are wrong."""
    swapped = 0

    def script(request):
        nonlocal swapped
        k = request.connection
        if request.name != b"GET":
            return None
        if k.held is not None:
            first, k.held = k.held, None
            return request.honest() + first
        if request.number % 20 == 1:
            k.held, k.held_key = request.honest(), request.key
            swapped += 1
            return b""
        return None

    with Scripted(script) as server:
        # Keys in order of their drawing never repeat at once among a thousand, or hardly ever.
        report = bench(server, "--fill", "--keys", "5000", "--test", "get", "--requests", "1000", "--connections", "1",
                       "--pipeline", "10", "--verify")
        assert report.code == 1
        assert swapped > 10
        assert report.counts() == clean(1000, wrong=2 * swapped)
        assert "key:" in report.test["evidence"][0]


def test_lost_reply():
    """All replies after the lost one are wrong, and the last never comes."""

    def script(request):
        return b"" if request.name == b"GET" and request.number == 5000 + 41 else None

    with Scripted(script) as server:
        report = bench(server, "--fill", "--keys", "5000", "--test", "get", "--requests", "100", "--connections", "1",
                       "--pipeline", "10", "--verify", "--stall", "0.5")
        assert report.code == 1
        assert report.counts() == clean(49, wrong=9)
        assert not report.test["finished"] and "--stall" in report.test["error"]
        one_line(report, "1 replies are missing")


def test_extra_reply():
    def script(request):
        return request.honest() * 2 if request.number == 50 else None

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--requests", "100", "--connections", "1")
        assert report.code == 1
        one_line(report, "nobody asked for")


def test_errors_are_told_by_text():
    def script(request):
        if request.number % 10 == 0:
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        if request.number % 25 == 1:
            return b"-READONLY You can't write against a read only replica.\r\n"
        return None

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--requests", "1000", "--connections", "4", "--keys", "100")
        assert report.code == 1
        assert report.counts() == clean(1000, errors=140)
        assert texts(report) == {"OOM command not allowed when used memory > 'maxmemory'.": 100,
                                 "READONLY You can't write against a read only replica.": 40}


def test_errors_that_differ_in_figures_are_one():
    with Scripted(lambda request: b"-ERR request %d came at 10.0.0.%d:99\r\n" % (request.number, request.number % 9)) as server:
        report = bench(server, "--test", "set", "--requests", "300", "--connections", "1")
        assert report.code == 1
        assert report.counts() == clean(300, errors=300)
        assert texts(report) == {"ERR request 1 came at 10.0.0.1:99": 300}


def test_errors_of_very_many_texts():
    """What is told apart is bounded, what is counted is not."""

    def script(request):
        return b"-ERR %s\r\n" % bytes([ord("a") + request.number % 26, ord("a") + request.number // 26 % 26])

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--requests", "600", "--connections", "1")
        assert report.code == 1
        assert report.counts() == clean(600, errors=600)
        assert 8 <= len(texts(report)) <= 64
        assert sum(texts(report).values()) + report.test["other_errors"] == 600


def test_an_endless_error():
    """The end of an overlong line is not kept, but waited for."""

    def script(request):
        return b"-ERR " + b"x" * 100000 + b"\r\n" if request.number == 5 else None

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--requests", "100", "--connections", "1")
        assert report.code == 1
        assert report.counts() == clean(100, errors=1)
        assert len(next(iter(texts(report)))) < 1000


def test_an_endless_reply():
    """Bytes that never become a reply are a stall, and seen as soon as one, however fast they come."""

    def script(request):
        while True:
            request.connection.send(b"*1\r\n" * 10000)

    with Scripted(script, uncounted=()) as server:
        begin = time.monotonic()
        report = bench(server, "--test", "get", "--requests", "100", "--connections", "3", "--stall", "0.5")
        assert report.code == 1
        one_line(report, "no reply for 0.5 s (--stall): 3 replies are missing on 3 of 3 connections")
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize("reply, kind", [
    (b":1\r\n", "wrong"),
    (b"$2\r\nOK\r\n", "wrong"),
    (b"+QUEUED\r\n", "wrong"),
    (b"$-1\r\n", "wrong"),
    (b"-ERR no\r\n", "errors"),
])
def test_other_replies(reply, kind):
    def script(request):
        return reply if request.number == 7 else None

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--requests", "100", "--connections", "1")
        assert report.code == 1
        assert report.counts() == clean(100, **{kind: 1})


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\n\n", b"$x\r\n", b"$9\n", b"\0\0\0\0\r\n"])
def test_not_resp(garbage):
    def script(request):
        return garbage if request.number == 20 else None

    with Scripted(script) as server:
        report = bench(server, "--test", "get", "--requests", "100", "--connections", "1")
        assert report.code == 1
        one_line(report, "does not speak RESP")


# --- memcached's text protocol --------------------------------------------------------------------------


def memcache(server, *words):
    return bench(server, "--protocol", "memcache", *words)


def test_memcache():
    def script(request):
        return b"END\r\n" if request.name == b"GET" and request.number % 10 == 0 else None

    with Scripted(script, Memcache) as server:
        report = memcache(server, "--fill", "--keys", "100", "--test", "get,mixed,get", "--requests", "1000", "--connections",
                          "3", "--pipeline", "5", "--verify")
        assert (report.code, report.stderr) == (0, "")
        assert [test["requests"] for test in report.tests][1:] == [1000] * 3
        assert report.counts() == clean(1000, misses=100)


@pytest.mark.skipif(not shutil.which("memcached"), reason="memcached is not installed")
def test_real_memcached():
    with pollux.Memcached() as server:
        for size in ("0", "64", "100-3000"):
            report = memcache(server, "--fill", "--keys", "300", "--test", "get,mixed,get", "--requests", "3000",
                              "--data-size", size, "--connections", "4", "--pipeline", "7", "--threads", "2", "--verify")
            assert (report.code, report.stderr) == (0, "")
            assert [test["requests"] for test in report.tests[-3:]] == [3000] * 3
            assert report.counts() == clean(3000)


def test_memcache_replies_cut_anywhere():
    def script(request):
        reply = request.honest()
        cut = request.number % (len(reply) - 1) + 1
        request.connection.send(reply[:cut])
        return reply[cut:]

    with Scripted(script, Memcache) as server:
        report = memcache(server, "--fill", "--keys", "10", "--test", "get", "--requests", "300", "--connections", "1",
                          "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(300)


def test_memcache_odd_replies():
    odd = {  # number of the request: what is said to it
        110: b"SERVER_ERROR out of memory storing object\r\n",
        120: b"CLIENT_ERROR bad command line format\r\n",
        130: b"ERROR\r\n",
        140: b"VALUE key:999999999999 0 64\r\n%s\r\nEND\r\n" % (b"x" * 64),
        150: b"STORED\r\n",
    }
    with Scripted(lambda request: odd.get(request.number), Memcache) as server:
        report = memcache(server, "--fill", "--keys", "100", "--test", "get", "--requests", "100", "--connections", "1",
                          "--verify")
        assert report.code == 1
        assert report.counts() == clean(100, errors=3, wrong=2)
        assert texts(report) == {odd[n].decode().strip(): 1 for n in (110, 120, 130)}


def test_memcache_wrong_values():
    def script(request):
        reply = bytearray(request.honest())
        if request.name == b"GET" and request.number % 20 == 0:
            reply[-8 - request.number % 50] ^= 1
        return bytes(reply)

    with Scripted(script, Memcache) as server:
        report = memcache(server, "--fill", "--keys", "100", "--test", "get", "--requests", "1000", "--connections", "2",
                          "--verify")
        assert report.code == 1
        assert report.counts() == clean(1000, wrong=50)


def test_not_memcache():
    with Scripted() as server:  # Redis does not know these commands
        report = memcache(server, "--test", "get", "--requests", "10", "--connections", "1", "--stall", "1")
        assert report.code == 1
        one_line(report, "memcached")


# --- connections ----------------------------------------------------------------------------------------


def test_reset():
    def script(request):
        if request.number == 500:
            request.connection.reset()

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--requests", "10000", "--connections", "3", "--keys", "100")
        assert report.code == 1
        assert report.test["disconnects"] == 1
        one_line(report, "reset")


def test_close_after_half_a_reply():
    def script(request):
        if request.number == 300:
            request.connection.send(b"$64\r\nkey:")
            request.connection.close()

    with Scripted(script) as server:
        report = bench(server, "--fill", "--keys", "100", "--test", "get", "--requests", "10000", "--connections", "1")
        assert report.code == 1
        one_line(report, "server closed connection 0")
        assert report.counts()["requests"] == 199


def test_never_answers():
    with Scripted(lambda request: b"") as server:
        begin = time.monotonic()
        report = bench(server, "--test", "set", "--requests", "100", "--connections", "2", "--stall", "0.5")
        assert report.code == 1
        one_line(report, "--stall")
        assert time.monotonic() - begin < 10


def test_never_says_anything():
    """Not even to those who only want to know what it is."""
    with Scripted(lambda request: b"", uncounted=()) as server:
        begin = time.monotonic()
        report = bench(server, "--test", "set", "--requests", "100", "--connections", "2", "--stall", "0.5")
        assert report.code == 1
        one_line(report, "--stall")
        assert time.monotonic() - begin < 10


def test_slow_accept():
    with Scripted(accepting=lambda index: time.sleep(0.1)) as server:
        report = bench(server, "--test", "set", "--requests", "1000", "--connections", "4")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(1000)


def test_refused():
    with Scripted() as server:
        where = server.where
    done = pollux.run(pollux.program("pollux-bench"), *where, "--requests", "1", check=False)
    assert done.returncode == 1
    assert done.stderr == f"pollux-bench: connection to 127.0.0.1:{where[-1]} refused: does a server listen there?\n"
    done = pollux.run(pollux.program("pollux-bench"), "-s", "/nonexistent/socket", check=False)
    assert done.returncode == 1
    assert "connection to /nonexistent/socket refused" in done.stderr


def test_results_that_cannot_be_written_fail():
    """A file that cannot be made is told before anything is sent; a full disk at the end."""
    with Scripted() as server:
        report = bench(server, "--test", "set", "--requests", "10", "--csv", "/nonexistent/a.csv")
        assert report.code == 1 and server.requests == 0
        one_line(report, "--csv /nonexistent/a.csv: cannot be written: No such file or directory")
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([pollux.program("pollux-bench"), *server.where, "--test", "set", "--requests", "10"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (1, "pollux-bench: standard output: cannot be written\n")


# --- times ----------------------------------------------------------------------------------------------
#
# What the script knows of each request bounds what may be reported from below, on any machine. A busy machine
# adds delays of its own, so the bounds from above hold in one of some attempts only.

ATTEMPTS = 4
STALL_S = 0.5
RATE = 250


def percentile(values, percent):
    """As a histogram counts: the smallest value that `percent` of all do not exceed."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def latency(report, which, percent):
    return report.test[which][f"p{percent:g}" if percent < 100 else "max"] / 1e6


def attempts(measure):
    """`measure` returns pairs of what was reported and what it must stay below."""
    for _ in range(ATTEMPTS):
        pairs = measure()
        if all(seen < most for seen, most in pairs):
            return
    raise AssertionError(f"reported, and the most that it may be: {pairs}")


def test_known_delays_closed_loop():
    """Each reply is late by a known time: the percentiles are those of the list of these times."""

    def measure():
        took = []

        def script(request):
            late = 0.1 if request.number % 50 == 0 else 0.03 if request.number % 5 == 0 else 0
            took.append(request.connection.pause(late) if late else 0)

        with Scripted(script) as server:
            report = bench(server, "--test", "set", "--requests", "200", "--connections", "1")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(200)
        pairs = []
        for percent in (50, 90, 99, 99.9, 100):
            lowest, seen = percentile(took, percent), latency(report, "latency_us", percent)
            assert lowest <= seen * 1.01
            pairs.append((seen, lowest + 0.02))
        return pairs

    attempts(measure)


def stalled(*words):
    """Two seconds of load on a server that stops for half a second in the middle. Returns the report and when
    each request came and was answered, by the script's clock."""
    times = []

    def script(request):
        came = time.monotonic()
        if request.number == 100:
            request.connection.pause(STALL_S)
        times.append((came, time.monotonic()))

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--duration", "2", "--warmup", "0", "--connections", "1", *words)
        assert report.code == 0, report.stderr
        assert report.counts() == clean(len(times))
        assert server.requests > 100, "the machine is too slow for this test"
        assert latency(report, "latency_us", 100) >= STALL_S
        return report, times


def test_open_loop_sees_a_stall_in_every_request_it_delays():
    """Every request's latency counts from the moment at which it was meant to be sent: the percentiles are those
    of what the script knows of each request."""

    def measure():
        report, times = stalled("--rate", str(RATE), "--arrivals", "even", "--pipeline", "1")
        unsent = report.test["unsent"]
        assert abs(len(times) + unsent - 2 * RATE) <= 2
        # The first was meant to be sent when it came, or a little earlier; the others at even distances. Those
        # that never left are late, too, nobody knows how much.
        late = [answered - times[0][0] - i / RATE for i, (_, answered) in enumerate(times)]
        assert sum(late_s > STALL_S / 2 for late_s in late) > 0.4 * STALL_S * RATE
        assert latency(report, "service_us", 100) >= STALL_S
        pairs = []
        for percent in (50, 90, 95, 99, 99.9, 100):
            seen = latency(report, "latency_us", percent)
            assert seen * 1.01 + 0.001 >= percentile(late + [0] * unsent, percent)
            pairs.append((seen, percentile(late, percent) + 0.05))
        # Only one request was written to the server that stood still, and waited there.
        return pairs + [(unsent, 1), (latency(report, "service_us", 95), STALL_S / 2)]

    attempts(measure)


def test_poisson_arrivals_see_it_too():
    """About 125 of about 500 requests are delayed, by 0 to 0.5 s each, evenly."""
    report, times = stalled("--rate", str(RATE), "--arrivals", "poisson", "--pipeline", "1")
    requests = len(times) + report.test["unsent"]
    assert abs(requests - 2 * RATE) < 5 * (2 * RATE) ** 0.5
    for percent in (90, 95):
        # Of those that came during the stall the n-th waited until its end: at least STALL_S - n / RATE, with
        # five standard deviations of their number to spare.
        slower = (100 - percent) / 100 * requests
        assert latency(report, "latency_us", percent) > STALL_S - (slower + 5 * slower**0.5) / RATE


def test_closed_loop_sees_a_stall_once():
    """What the open loop is there for: the same stall is one slow request of a closed loop."""

    def measure():
        report, _ = stalled("--pipeline", "1")
        return [(latency(report, "latency_us", 99), STALL_S / 2)]

    attempts(measure)


def test_open_loop_beyond_what_the_server_can_do():
    """A server that answers at most 100 requests a second is asked for 1000: the rest is told as unsent."""
    with Scripted(lambda request: request.connection.pause(0.01) and None) as server:
        report = bench(server, "--test", "set", "--duration", "1", "--warmup", "0", "--rate", "1000", "--arrivals", "even",
                       "--connections", "1", "--pipeline", "1")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(server.requests)
        assert 10 < server.requests <= 210
        assert abs(server.requests + report.test["unsent"] - 1000) <= 2
        # Those that never left count with the time that they waited.
        assert latency(report, "latency_us", 50) > 0.5
