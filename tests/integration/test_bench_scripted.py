"""pollux-bench against a server that misbehaves in known ways: it must report exactly that."""

import json
import time

import pytest

import pollux
from scripted import Scripted

# What the machine may add to a time, when everything on it is busy at once.
SLACK_S = 0.25


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


def test_lost_reply():
    """All replies after the lost one are wrong, and the last never comes."""

    def script(request):
        return b"" if request.name == b"GET" and request.number == 5000 + 41 else None

    with Scripted(script) as server:
        report = bench(server, "--fill", "--keys", "5000", "--test", "get", "--requests", "100", "--connections", "1",
                       "--pipeline", "10", "--verify", "--stall", "0.5")
        assert report.code == 1
        assert report.counts() == clean(49, wrong=9)
        one_line(report, "--stall")


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
        one_line(report, "closed a connection")
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
    assert done.stderr.count("\n") == 1 and "refused" in done.stderr


# --- times ----------------------------------------------------------------------------------------------


def percentile(sorted_values, percent):
    """As a histogram counts: the smallest value that `percent` of all do not exceed."""
    rank = max(1, -(-len(sorted_values) * percent // 100))
    return sorted_values[int(rank) - 1]


def test_known_delays_closed_loop():
    """Each reply is late by a known time: the percentiles are those of the list of these times."""
    took = []

    def script(request):
        late = 0.1 if request.number % 50 == 0 else 0.03 if request.number % 5 == 0 else 0
        took.append(request.connection.pause(late) if late else 0)

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--requests", "200", "--connections", "1")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(200)
        took.sort()
        for percent in (50, 90, 99, 99.9):
            lowest, seen = percentile(took, percent), report.test["latency_us"][f"p{percent}"] / 1e6
            assert lowest <= seen * 1.001 and seen < lowest + SLACK_S, percent
        assert took[-1] <= report.test["latency_us"]["max"] / 1e6


STALL_S = 0.5


def stalled(*words):
    """Even arrivals for two seconds at a server that stops for half a second in the middle."""
    took = []

    def script(request):
        if request.number == 400:
            with request.server.lock:
                took.append(request.connection.pause(STALL_S))

    with Scripted(script) as server:
        report = bench(server, "--test", "set", "--duration", "2", "--warmup", "0", *words)
        assert report.code == 0, report.stderr
        assert len(took) == 1
        return report, took[0]


def latency(report, which, percent):
    return report.test[which][f"p{percent:g}" if percent < 100 else "max"] / 1e6


@pytest.mark.parametrize("arrivals", ["even", "poisson"])
def test_open_loop_sees_a_stall_in_every_request_it_delays(arrivals):
    """At 500 a second a stall of half a second delays 250 of 1000 requests, by 0 to 0.5 s each."""
    report, took = stalled("--rate", "500", "--arrivals", arrivals, "--connections", "1", "--pipeline", "1")
    spread = 0.2 if arrivals == "poisson" else 0.05  # of the number of arrivals within the stall
    requests = report.counts()["requests"]
    assert report.counts() == clean(requests)
    assert abs(requests - 1000) <= (5 * 1000**0.5 if arrivals == "poisson" else 2)
    assert latency(report, "latency_us", 100) >= took
    for percent in (90, 99):
        # The stall's latencies are uniform: of the 1000 slowest first, the n-th waited took - n / rate.
        waited = took - (1 + spread) * (100 - percent) / 100 * requests / 500
        assert waited <= latency(report, "latency_us", percent) <= took + SLACK_S
    assert latency(report, "latency_us", 50) < STALL_S / 2
    # Only one request was written to the server that stood still.
    assert latency(report, "service_us", 100) >= took
    assert latency(report, "service_us", 99) < STALL_S / 2


def test_closed_loop_sees_a_stall_once():
    """What the open loop is there for: the same stall is one slow request of a closed loop."""
    report, took = stalled("--connections", "1", "--pipeline", "1")
    assert latency(report, "latency_us", 100) >= took
    assert latency(report, "latency_us", 99) < STALL_S / 2


def test_open_loop_beyond_what_the_server_can_do():
    """A server that answers 100 requests a second is asked for 1000: the rest is told as unsent or late."""
    with Scripted(lambda request: request.connection.pause(0.01) and None) as server:
        report = bench(server, "--test", "set", "--duration", "2", "--warmup", "0", "--rate", "1000", "--connections", "1",
                       "--pipeline", "1")
        assert report.code == 0, report.stderr
        # By the end requests are nearly as late as the test is long.
        assert 50 < report.counts()["requests"] <= 210
        assert latency(report, "latency_us", 100) > 1.5
        assert report.test["unsent"] >= 2000 - 2 * 100 - 50
