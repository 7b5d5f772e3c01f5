"""bench/side-by-side: its plan, its arithmetic, its tables and pages without servers; one small run with them."""

import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys

import pytest

import pollux

BENCH = os.path.join(pollux.ROOT, "bench")
SCRIPT = os.path.join(BENCH, "side-by-side")
sys.path.insert(0, BENCH)

import machine  # noqa: E402
import plan  # noqa: E402
import plots  # noqa: E402
import sides  # noqa: E402
import tables  # noqa: E402


def load_script():
    loader = importlib.machinery.SourceFileLoader("side_by_side", SCRIPT)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("side_by_side", loader))
    loader.exec_module(module)
    return module


script = load_script()
GIB = 1 << 30
SMALL = plan.Data(1000000, 64)


def cell(operation="set", pipeline=1, data=SMALL, connections=50, distribution="uniform"):
    return plan.Cell(data, distribution, connections, operation, pipeline)


# --- the plan --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, value", [("1", 1), ("10k", 10000), ("1m", 1000000), ("16KiB", 16384), ("16ki", 16384),
                                         ("1.5k", 1500), (" 64B ", 64), ("1MiB", 1048576)])
def test_numbers(text, value):
    assert plan.number(text) == value


@pytest.mark.parametrize("text", ["", "k", "0", "-1", "1.5", "ten", "1x", "1..5", "5kk"])
def test_bad_numbers(text):
    with pytest.raises(ValueError):
        plan.number(text)


def test_each_axis_is_varied_alone():
    cells, lines = plan.cells_of(plan.Axes(), 6, 100 * GIB)
    assert lines == [] or all("16 KiB" in line for line in lines)
    base = cells[:9]
    assert {c.group() for c in base} == {(SMALL, "uniform", 50)}
    assert [(c.operation, c.pipeline) for c in base] == [(o, p) for o in ("set", "get", "mix") for p in (1, 16, 64)]
    for c in cells[9:]:
        assert c.operation in ("set", "get") and c.pipeline in (1, 16)
        assert sum((c.connections != 50, c.distribution != "uniform", c.data.keys != 1000000 and c.data.size == 64,
                    c.data.size != 64)) == 1
    assert len(cells) == 9 + 4 * 6 == len(set(cells))


def test_full_is_every_combination():
    axes = plan.Axes(("set", "get"), (1, 16), (50, 500), (64, 1024), (1000, 2000), ("uniform", "zipfian"))
    cells, lines = plan.cells_of(axes, 6, 100 * GIB, full=True)
    assert len(set(cells)) == len(cells) == 2 ** 6 and not lines


def test_what_does_not_fit_is_made_smaller_and_told():
    assert plan.fit(SMALL, 6, 100 * GIB) == SMALL
    less = plan.fit(plan.Data(1000000, 16384), 6, 20 * GIB)
    assert less == plan.Data(100000, 16384)
    assert 6 * less.keys * less.size < plan.MEMORY_SHARE * 20 * GIB
    cells, lines = plan.cells_of(plan.Axes(keys=(1000000,), sizes=(64, 16384)), 6, 20 * GIB)
    assert plan.Data(100000, 16384) in {c.data for c in cells}
    assert len(lines) == 1 and "16 KiB" in lines[0] and "100 thousand" in lines[0]
    # Two sets that shrink to the same one are measured once.
    cells, lines = plan.cells_of(plan.Axes(sizes=(16384,), keys=(1000000, 10000000)), 6, 20 * GIB, full=True)
    assert len(set(cells)) == len(cells) and len(lines) == 2 and len(plan.by_data(cells)) == 1


def test_rounding_down():
    assert [plan.round_down(n) for n in (1, 2, 4, 5, 9.9, 19, 131072, 500000)] == [1, 2, 2, 5, 5, 10, 100000, 500000]


def test_few_and_many_keys_are_paired():
    cells = [cell("get", 16, plan.Data(keys, 64)) for keys in (1000000, 10000, 10000000)] + [cell("get", 1)]
    assert plan.keys_pair(cells) == [(cell("get", 16, plan.Data(10000, 64)), cell("get", 16, plan.Data(10000000, 64)))]
    assert plan.keys_pair([cell("get", 1), cell("get", 16)]) == []


def test_words_for_the_generator():
    cells = [cell(operation, pipeline, distribution="zipfian", connections=500)
             for operation in ("get", "mix") for pipeline in (1, 16)]
    batches = plan.by_batch(cells)
    assert [[c.operation for c in batch] for batch in batches] == [["get", "mix"]] * 2
    assert " ".join(plan.words(batches[1])) == (
        "--test get,mixed --ratio 1:10 --keys 1000000 --data-size 64 --key-distribution zipfian --connections 500 "
        "--pipeline 16")
    assert "--key-distribution" not in plan.words([cell()])
    assert not cell("mix").redis_benchmark_can() and not cell(distribution="zipfian").redis_benchmark_can()
    assert cell("get").redis_benchmark_can()


def test_times_in_words():
    assert [plan.time_text(s) for s in (0.4, 99, 100, 1170, 10800)] == ["0 s", "99 s", "2 min", "20 min", "3 h 00 min"]


def test_a_default_run_takes_about_twenty_minutes_and_a_quick_one_less_than_one():
    def expected(*words):
        _, a = script.parse([*words, "--quiet"])
        comparison = script.Comparison(a, a.systems, {})
        comparison.expect()
        return comparison.progress.expected
    assert 600 < expected() < 1800  # how many keys of what size fit depends on the machine
    assert expected("--quick") < 60
    assert expected("--full") > 3600


# --- options ---------------------------------------------------------------------------------------


def test_quick_is_a_profile_that_can_be_changed():
    _, a = script.parse(["--quick", "--pipelines", "1,64", "--seconds", "0.3"])
    assert [s.name for s in a.systems] == ["redis", "socket", "memif"]
    assert a.axes == plan.Axes(("set", "get"), (1, 64), (50,), (64,), (1000000,), ("uniform",))
    assert (a.rounds, a.seconds, a.parts, a.limit_s) == (3, 0.3, ("throughput",), 50)
    _, a = script.parse(["--sizes", "1KiB,16KiB", "--keys", "10k", "--systems", "socket,redis"])
    assert a.axes.sizes == (1024, 16384) and a.axes.keys == (10000,) and a.axes.pipelines == (1, 16, 64)
    assert [s.name for s in a.systems] == ["socket", "redis"] and a.limit_s is None


@pytest.mark.parametrize("words, says", [
    (["--pipelines", "1,x"], "--pipelines: x"),
    (["--operations", "set,del"], "no del; there are set, get, mix"),
    (["--systems", "keydb"], "no keydb"),
    (["--systems", ","], "name at least one"),
    (["--distributions", "normal"], "no normal"),
    (["--also", "valkey"], "NAME=COMMAND"),
    (["--also", "valkey=valkey-server"], "{port} must stand"),
    (["--also", "redis=x {port}"], "taken"),
    (["--also", "a=x {port}", "--also", "a=y {port}"], "same name"),
    (["--rounds", "0"], "--rounds"),
    (["--json", "/nowhere/at/all.json"], "a folder that exists"),
    (["--quick", "--full"], "not allowed"),
    (["--server-cpu", "0", "--generator-cpu", "0"], "must differ"),
    (["--generator-cpu", "4000"], "there are"),
])
def test_bad_options_end_in_one_line(words, says, capsys):
    with pytest.raises(SystemExit) as end:
        script.place(*script.parse(words))
    assert end.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_help_shows_defaults(capsys):
    with pytest.raises(SystemExit):
        script.parse(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    for default in ("(1,16,64; --quick: 1,16)", "(50,500; --quick: 50)", "(uniform,zipfian; --quick: uniform)",
                    "(1; --quick: 0.5)", "(adaptive)", "(3)"):
        assert default in out


def test_what_cannot_run_here_is_left_out(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found, left_out = sides.available(list(sides.SYSTEMS.values()))
    assert "socket" in [s.name for s in found]
    assert {left_out[name] for name in ("memif", "xdp", "redis-veth")} == {"it needs root"}
    monkeypatch.setattr(sides.shutil, "which", lambda name: None)
    assert "config/install-packages bench" in sides.SYSTEMS["memcached"].needs()
    assert sides.also("one=/no/such --port {port}").needs() == "/no/such is not a program"


# --- arithmetic and tables -------------------------------------------------------------------------


def results(*names):
    return tables.Results([sides.SYSTEMS[name] for name in names])


def add(r, name, of, *rates, client="pollux-bench", **more):
    for rate in rates:
        r.add(sides.SYSTEMS[name], client, of, {"requests_per_second": float(rate), **more})


def test_ratios_are_of_medians_to_the_better_client():
    r = results("redis", "socket", "memif", "redis-veth", "xdp")
    add(r, "redis", cell(), 100000, 90000, 140000)
    add(r, "redis", cell(), 130000, 120000, 110000, client="redis-benchmark")
    add(r, "socket", cell(), 180000, 1, 300000)
    add(r, "memif", cell(), 1704000, 1704000, 1704000)
    add(r, "redis-veth", cell(), 50000)
    add(r, "xdp", cell(), 200000)
    assert r.best("redis", cell()) == ("redis-benchmark", [130000, 120000, 110000])
    assert r.rate("socket", cell()) == 180000
    assert r.ratio(sides.SYSTEMS["redis"], cell()) is None
    assert r.ratio(sides.SYSTEMS["xdp"], cell()) == 4  # to Redis on the same wire
    assert r.ratio_lines() == ["ratio SET P=1 socket: 1.5", "ratio SET P=1 memif: 14.2", "ratio SET P=1 xdp: 4.0"]
    assert tables.spread([90, 100, 120]) == 15
    assert r.ratio(sides.SYSTEMS["memif"], cell("get")) is None


def test_a_table():
    r = results("redis", "memcached", "socket", "memif")
    add(r, "redis", cell(), 100000, 100000)
    add(r, "redis", cell(), 120000, 130000, client="redis-benchmark")
    add(r, "socket", cell(), 240000, 260000)
    add(r, "memif", cell(), 2500000, 2500000, bottleneck="the generator was busy")
    add(r, "socket", cell("get", 16), 1200)
    table = r.throughput_table(cell().group(), [cell(), cell("get", 16)])
    assert table.text() == """\
Thousand requests/s: 50 connections, 1 million keys, values of 64 B, uniform
          redis-server  Pollux, kernel sockets     Pollux, memif
SET P=1       125* ±4%            250 2.0x ±4%  2,500† 20.0x ±0%
GET P=16             -                     1.2                 -
* with redis-benchmark, which found more than pollux-bench here.
† the generator was the limit: the server can do more.
"""
    assert table.markdown().splitlines()[2:5] == [
        "|  | redis-server | Pollux, kernel sockets | Pollux, memif |", "| --- | ---: | ---: | ---: |",
        "| SET P=1 | 125* ±4% | 250 2.0x ±4% | 2,500† 20.0x ±0% |"]


def test_many_keys_beside_few():
    r = results("redis", "socket")
    for keys, redis, socket in ((10000, 200, 1000), (10000000, 100, 900)):
        add(r, "redis", cell("get", 16, plan.Data(keys, 64)), redis)
        add(r, "socket", cell("get", 16, plan.Data(keys, 64)), socket)
    assert r.keys_table().rows == [["GET P=16, 10 million / 10 thousand", "0.50", "0.90"]]
    assert results("redis").keys_table() is None


def latency_of(rate, wanted, p99):
    return {"requests_per_second": rate, "rate_wanted": wanted,
            "latency_us": {"p50": 10, "p99": p99, "p99.9": 200, "max": 999}}


def test_latencies_stand_beside_the_probe():
    r = results("redis", "socket")
    r.probe = machine.jitter([[{"ns": 10 ** 9, "gaps": [10 ** 6]}, {"ns": 10 ** 9, "gaps": []}]])
    r.latency["redis", "get", "own"] = [latency_of(50000, 50000, p99) for p99 in (20, 30, 90)]
    r.latency["socket", "get", "own"] = [latency_of(60000, 90000, 50)]
    (table,) = r.latency_tables()
    assert table.rows[0] == ["redis-server", "50", "10.0", "30.0", "200", "999"]
    assert table.rows[1][1] == "60‡" and "did not keep up" in table.notes[0]
    assert table.rows[2][0] == tables.PROBE_TITLE and table.rows[2][5] == "1,000"


def test_jitter_is_the_waiting_of_a_random_arrival():
    # 1 ms away in each of 100 ms: at a random moment the chance to wait for longer than x us is (1000 - x) / 100000.
    j = machine.jitter([[{"ns": 10 ** 9, "gaps": [10 ** 6] * 10}, {"ns": 10 ** 9, "gaps": []}]])
    assert j["lost_percent"] == [1.0, 0.0] and j["longest_us"] == [1000, 0] and j["gaps_per_second"] == [10, 0]
    assert j["latency_us"]["p50"] == 0 and j["latency_us"]["p99"] == 0
    assert j["latency_us"]["p99.9"] == pytest.approx(900, rel=1e-6)
    # Both CPUs count: twice the gaps, over two runs.
    run = [{"ns": 10 ** 9, "gaps": [10 ** 6] * 10}] * 2
    j = machine.jitter([run, run])
    assert j["latency_us"]["p99"] == pytest.approx(500, rel=1e-6)
    assert j["seconds"] == 2
    quiet = machine.jitter([[{"ns": 10 ** 9, "gaps": []}] * 2])
    assert quiet["latency_us"] == {"p50": 0, "p99": 0, "p99.9": 0, "max": 0}


def test_the_probe_spins_on_its_cpu():
    found = machine.spin(min(os.sched_getaffinity(0)), 0.02) if os.fork() == 0 else None
    if found is not None:  # the child: its affinity is no concern of the tests that follow
        os._exit(0 if found["ns"] >= 0.02 * 1e9 and all(gap > machine.GAP_NS for gap in found["gaps"]) else 1)
    assert os.wait()[1] == 0


def test_figures_of_redis_benchmark():
    text = ('"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",'
            '"p99_latency_ms","max_latency_ms"\n'
            '"SET","143266.47","0.217","0.080","0.207","0.319","0.407","1.199"\n')
    assert sides.redis_benchmark_figures(text, "set") == {
        "requests_per_second": 143266.47, "latency_us": {"p50": 207.0, "p99": 407.0, "max": 1199.0}}
    with pytest.raises(StopIteration):
        sides.redis_benchmark_figures("", "set")


def test_the_page_says_all_there_is_to_say():
    r = results("redis", "memif")
    add(r, "redis", cell(), 100000)
    add(r, "memif", cell(), 1420000)
    r.memory["redis", SMALL] = 168.4
    r.left_out, r.lines = {"xdp": "it needs root"}, ["values of 16 KiB with fewer keys"]
    r.probe = machine.jitter([[{"ns": 10 ** 9, "gaps": [10 ** 6]}, {"ns": 10 ** 9, "gaps": []}]])
    page = tables.results_page(r, {"CPU": "A CPU", "kernel": "6.1"}, {"memcached": "1.6"}, "2026-01-02",
                               "bench/side-by-side --results x.md", {"rounds": "3"}, ["plots/memory.svg"])
    for text in ("2026-01-02", "sudo bench/side-by-side --results x.md", "| CPU | A CPU |", "| kernel | 6.1 |",
                 "| memcached | 1.6 |", "| SET P=1 | 14.2 |", "Jitter probe: in 1.0 s", "0.10 % and 0.00 %", "| 168 |",
                 "![memory](plots/memory.svg)", "- xdp: it needs root", "- values of 16 KiB with fewer keys", "1,420 14.2x"):
        assert text in page, text
    assert page.index("14.2") < page.index("## Machine and versions") < page.index("## What could not be measured here")


def test_plots_quote_what_they_are_given():
    r = results("redis", "socket")
    add(r, "redis", cell(), 100000)
    add(r, "socket", cell(), 5000)
    found = plots.scripts(r)
    assert list(found) == ["throughput-1"]
    assert '"SET P=1" 100 5\n' in found["throughput-1"] and "set yrange [1:]" in found["throughput-1"]
    text = plots.bars("it's", "us", ['a "b"'], [("x", [None])], True)
    assert "set title 'it''s'" in text and "- \"a 'b'\"\n\"x\" ?\n" in text


# --- a whole run, with sides that are not servers --------------------------------------------------


class FakeSide:
    """What sides.Side is to a comparison: notes who runs when."""

    log, at_once, broken = [], 0, None

    class Server:
        def __init__(self):
            self.bytes = 1 << 20

        def resident(self):
            return self.bytes

        def pids(self):
            return []

    class Wire:
        def healthy(self):
            return True

    def __init__(self, system, settings):
        self.system, self.server, self.wire = system, self.Server(), self.Wire()

    def running(self):
        side = self

        class Running:
            def __enter__(self):
                FakeSide.at_once += 1
                assert FakeSide.at_once == 1, "two servers run at once"
                return side

            def __exit__(self, *_):
                FakeSide.at_once -= 1
        return Running()

    def bench(self, *words, timeout=0):
        assert FakeSide.at_once == 1
        options = dict(zip(words, words[1:]))
        if "--fill" in words:
            self.server.bytes += 100 * int(options["--keys"])
            FakeSide.log.append((self.system.name, "fill"))
            return {"fill": {"requests_per_second": 1}, "get": {"requests_per_second": 1}}
        if self.system.name == FakeSide.broken:
            raise sides.Failed("it broke")
        FakeSide.log.append((self.system.name, options["--test"], options["--pipeline"], options.get("--rate")))
        rate = {"redis": 100000, "socket": 300000, "memif": 1000000}[self.system.name]
        return {options["--test"]: {"requests": 1, "requests_per_second": float(options.get("--rate", rate)), "misses": 0,
                                    "latency_us": {p: 1.0 for p in tables.PERCENTILES}}}

    def redis_benchmark(self, test, *_):
        FakeSide.log.append((self.system.name, "redis-benchmark", test))
        return {"requests_per_second": 200000.0}

    def cpu_seconds(self):
        return 0.0

    def close(self):
        FakeSide.log.append((self.system.name, "close"))


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(sides, "Side", FakeSide)
    monkeypatch.setattr(machine, "probe", lambda cpus, seconds: [{"ns": 10 ** 9, "gaps": []} for _ in cpus])
    FakeSide.log, FakeSide.at_once, FakeSide.broken = [], 0, None

    def run(*words):
        _, a = script.parse(["--quiet", "--operations", "set", "--pipelines", "1", "--connections", "50", "--sizes", "64",
                             "--keys", "1m", "--distributions", "uniform", "--systems", "redis,socket,memif", *words])
        a.server_cpu, a.generator_cpu = 0, 1
        comparison = script.Comparison(a, a.systems, {})
        comparison.run()
        return comparison
    return run


def test_rounds_alternate_and_one_runs_at_a_time(fake, capsys):
    fake("--parts", "throughput", "--rounds", "2")
    first = [("redis", "set", "1", None), ("redis", "redis-benchmark", "set"), ("socket", "set", "1", None),
             ("memif", "set", "1", None)]
    second = [first[3], first[2], first[0], first[1]]
    assert FakeSide.log == ([(name, "fill") for name in ("redis", "socket", "memif")] + first + second
                            + [(name, "close") for name in ("memif", "socket", "redis")])
    assert capsys.readouterr().out.splitlines()[-2:] == ["ratio SET P=1 socket: 1.5", "ratio SET P=1 memif: 5.0"]


def test_latency_is_at_half_of_ones_own_maximum_and_at_the_same_load(fake):
    comparison = fake("--parts", "latency,memory", "--rounds", "1")
    rates = [entry for entry in FakeSide.log if len(entry) == 4 and entry[3]]
    assert rates == [("redis", "set", "16", "50000"), ("socket", "set", "16", "150000"), ("memif", "set", "16", "500000"),
                     ("redis", "set", "16", "50000"), ("socket", "set", "16", "50000"), ("memif", "set", "16", "50000")]
    # Memory is that of the server, whatever its wire.
    assert comparison.results.memory == {("redis", SMALL): 100.0, ("socket", SMALL): 100.0}
    assert comparison.results.probe is not None


def test_what_fails_is_told_and_the_rest_goes_on(fake):
    FakeSide.broken = "socket"
    comparison = fake("--parts", "throughput", "--rounds", "2")
    assert comparison.results.ratio_lines() == ["ratio SET P=1 memif: 5.0"]
    assert len(comparison.results.lines) == 1 and "it broke" in comparison.results.lines[0]
    assert comparison.failed


def test_wrong_replies_are_no_measurement(fake, monkeypatch):
    good = FakeSide.bench
    monkeypatch.setattr(FakeSide, "bench", lambda self, *words, **k: {
        name: {**figures, "requests": 9, "misses": 3} for name, figures in good(self, *words, **k).items()})
    comparison = fake("--parts", "throughput", "--rounds", "1")
    assert comparison.results.rounds == {}
    assert "3 misses among 9 replies" in comparison.results.lines[0]


def test_a_quick_run_stops_when_its_time_is_over(fake, monkeypatch):
    clock = iter(range(0, 10 ** 6, 20))
    monkeypatch.setattr(script.Progress, "elapsed", lambda self: float(next(clock)))
    comparison = fake("--quick", "--rounds", "3")
    assert len(comparison.results.rounds[("memif", "pollux-bench", cell())]) < 3
    assert "the time was over" in comparison.results.lines[0]


def test_figures_are_written_as_json(fake, tmp_path):
    comparison = fake("--parts", "throughput", "--rounds", "2")
    found = json.loads(json.dumps(comparison.results.json()))
    memif = next(one for one in found["throughput"] if one["system"] == "memif")
    assert (memif["ratio"], memif["pipeline"], memif["requests_per_second"], len(memif["rounds"])) == (5.0, 1, 1000000.0, 2)
    comparison.a.results, comparison.a.json = str(tmp_path / "r.md"), str(tmp_path / "r.json")
    script.write(comparison, "bench/side-by-side")
    assert json.loads((tmp_path / "r.json").read_text())["machine"]["CPU"]
    assert "# Pollux beside other servers" in (tmp_path / "r.md").read_text()


# --- with servers ----------------------------------------------------------------------------------


def small_run(tmp_path, *words):
    """A run over sockets whose servers keep their files below `tmp_path`."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs 2 CPUs")
    return subprocess.Popen(
        [SCRIPT, "--systems", "redis,socket", "--operations", "set,get", "--pipelines", "1,16", "--connections", "10",
         "--sizes", "64", "--keys", "1k", "--distributions", "uniform", "--rounds", "1", "--seconds", "0.1", "--warmup", "0",
         *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)})


def ended(process, seconds):
    """Its output, when it has ended; it does not outlive the test."""
    try:
        return process.communicate(timeout=seconds)
    except BaseException:
        process.terminate()
        process.communicate(timeout=60)
        raise


def left_behind(tmp_path):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if str(tmp_path).encode() in file.read():
                        found.append(entry)
            except OSError:
                continue
    return found + os.listdir(tmp_path)


def test_a_small_run(tmp_path):
    page = tmp_path.parent / f"{tmp_path.name}.md"
    process = small_run(tmp_path, "--parts", "throughput", "--results", str(page))
    out, errors = ended(process, 120)
    assert process.returncode == 0, out + errors
    lines = out.splitlines()[-4:]
    for line, start in zip(lines, ("SET P=1", "SET P=16", "GET P=1", "GET P=16")):
        assert re.fullmatch(rf"ratio {start} socket: \d+\.\d", line), out
    assert "Jitter probe" in out and "redis-server" in page.read_text()
    assert left_behind(tmp_path) == []


def test_interrupt(tmp_path):
    process = small_run(tmp_path, "--seconds", "30", "--parts", "throughput")
    try:
        pollux.wait_for(lambda: len(os.listdir(tmp_path)) == 2 or process.poll() is not None, "two servers")
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, errors = ended(process, 60)
    assert process.returncode == 130 and "interrupted" in errors
    assert left_behind(tmp_path) == []
