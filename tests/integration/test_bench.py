"""pollux-bench: our own client, its checks, and the wire that only it can use."""

import json

import pytest

import pollux


@pytest.fixture(params=["socket", "memif"])
def bench_wire(request):
    try:
        wire = pollux.WIRES[request.param]()
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    yield wire
    alive, tail = wire.healthy(), wire.server.tail()
    wire.close()
    assert alive, tail


def test_every_value_is_right(bench_wire):
    """Values of all sizes come back as they were written, with shallow and deep pipelines."""
    for size, keys, pipeline in ((0, 100, 1), (1, 100, 7), (64, 5000, 16), (1400, 1000, 3), (20000, 200, 4)):
        tests, code, errors = bench_wire.bench(
            "--fill", "--verify", "--keys", str(keys), "--data-size", str(size), "--pipeline", str(pipeline),
            "--test", "get,mixed,get", "--requests", "5000",
        )
        assert code == 0, errors
        assert tests["fill"]["requests"] == keys
        for name in ("get", "mixed"):
            assert tests[name]["requests"] == 5000
            assert [tests[name][kind] for kind in ("misses", "errors", "wrong", "disconnects")] == [0, 0, 0, 0]
            assert 0 < tests[name]["latency_us"]["p50"] <= tests[name]["latency_us"]["max"]


def test_many_connections(bench_wire):
    tests, code, errors = bench_wire.bench("--connections", "1000", "--test", "set,get", "--requests", "50000", "--keys", "1000")
    assert code == 0, errors
    assert tests["get"]["requests"] == 50000


def test_missing_keys_are_told(bench_wire):
    tests, code, _ = bench_wire.bench("--test", "get", "--requests", "1000", "--keys", "1000")
    assert code == 0
    assert tests["get"]["misses"] == 1000


def test_wrong_values_are_told():
    """--verify is not satisfied by just any value of the right length."""
    wire = pollux.Wire()
    try:
        with pollux.Client(wire.connect()) as c:
            c.call("SET", "key:000000000000", "x" * 64)
        tests, code, _ = wire.bench("--test", "get", "--requests", "10", "--keys", "1", "--verify")
        assert tests["get"]["wrong"] == 10
        assert code == 1
    finally:
        wire.close()


def test_no_server_is_one_line():
    done = pollux.run(pollux.program("pollux-bench"), "-p", str(pollux.free_port()), "--requests", "1", check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "refused" in done.stderr


def test_connections_come_and_go():
    """A hundred thousand connections and more are set up and torn down; then all is back where it was: connections,
    clients, registered flows, and the frames of both pools but for the few that a stack keeps at hand."""
    try:
        wire = pollux.MemifWire()
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    spare = 64 + 2048  # the stack's own, and what lies in the port's rings
    try:
        tests, code, errors = wire.bench("--churn", "--connections", "100", "--test", "ping", "--requests", "150000")
        assert code == 0, errors
        assert tests["ping"]["connects"] >= 149000
        assert tests["ping"]["errors"] == tests["ping"]["disconnects"] == 0

        def settled():
            core = wire.nic()[0]
            counters = core["counters"]
            return (counters["tcp_accepted"] == counters["tcp_closed"] and counters["tcp_accepted"] >= 150000
                    and core["registered"] == 0 and core["rx_pool_free"] >= core["rx_pool_size"] - spare
                    and core["tx_pool_free"] >= core["tx_pool_size"] - spare)

        pollux.wait_for(settled, "connections and frames being back")
        done = pollux.run(pollux.program("polluxctl"), "-p", str(wire.port), "--runtime-dir", wire.server.folder, "--json",
                          "connections")
        assert "ESTABLISHED" not in done.stdout
    finally:
        wire.close()


def test_plain_copy():
    """The probe that bulk transfers are compared with moves frames, and says how fast; what cannot be is refused."""
    try:
        pollux.MemifWire().close()
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    for words, payload in (((), 1448), (("--payload", "100"), 100)):
        done = pollux.run(pollux.program("pollux-wire"), "--no-huge", "--seconds", "0.2", *words, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["payload"] == payload and found["frames_per_second"] > 1000
        assert found["gbit_per_second"] == pytest.approx(found["frames_per_second"] * payload * 8 / 1e9, rel=0.1)
    for words in (("--payload", "1449"), ("--seconds", "0"), ("--cpu", "1"), ("more",)):
        done = pollux.run(pollux.program("pollux-wire"), *words, check=False)
        assert done.returncode == 2 and done.stderr.startswith("Usage:")
