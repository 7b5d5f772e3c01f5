"""pollux-bench --cluster: against a scripted cluster whose redirections are known, and a real one."""

import signal
import subprocess

import pytest

import pollux
from scripted import SLOTS, Cluster, slot_of
from test_bench_scripted import Report, bench, clean, one_line, texts


def nodes(report):
    """Requests that each node answered, by its address."""
    return {node["name"]: node["requests"] for node in report.test["nodes"]}


def key(number):
    return b"key:%012d" % number


# --- known redirections ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline, threads", [(1, 1), (16, 2)])
def test_each_request_at_its_node(pipeline, threads):
    """With a map that is right no request is redirected, and the drawing of keys is not bent."""
    with Cluster(3) as cluster:
        report = bench(cluster, "--fill", "--keys", "500", "--test", "mixed", "--requests", "5000", "--connections", "4",
                       "--pipeline", str(pipeline), "--threads", str(threads), "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(5000)
        assert (report.test["moved"], report.test["asked"]) == (0, 0)
        assert cluster.moved == 0
        assert cluster.requests == 5500
        told = nodes(report)
        assert sum(told.values()) == 5000
        fill = [sum(slot_of(key(k)) * 3 // SLOTS == n for k in range(500)) for n in range(3)]
        for n in range(3):
            assert told[cluster.text(n).decode()] + fill[n] == cluster.served[n]
        # Uniform keys: each node's share is that of its keys.
        for n in range(3):
            assert abs(cluster.served[n] - fill[n] - 10 * fill[n]) < 5 * (10 * fill[n]) ** 0.5


def test_keys_are_those_without_a_cluster():
    """The same seed draws the same keys, whoever has them."""
    drawn = []
    for n in (1, 3):
        with Cluster(n) as cluster:
            report = bench(cluster, "--keys", "1000", "--test", "set", "--requests", "2000", "--connections", "2", "--seed",
                           "7")
            assert report.code == 0, report.stderr
            drawn.append({k for node in cluster.nodes for k in node.keys})
    assert drawn[0] == drawn[1]


def test_stale_map_is_mended():
    with Cluster(2, told=[0] * SLOTS) as cluster:
        report = bench(cluster, "--keys", "200", "--test", "set", "--requests", "4000", "--connections", "2",
                       "--pipeline", "4", "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(4000)
        wrong = sum(cluster.owner[slot_of(key(k))] != 0 for k in range(200))
        # Each slot of the other node is learned once; what was under way to it meanwhile comes back, too.
        assert wrong <= cluster.moved < 2 * wrong
        assert report.test["moved"] == cluster.moved
        assert cluster.requests == 4000 + cluster.moved
        assert nodes(report) == {cluster.text(n).decode(): cluster.served[n] for n in range(2)}


def test_slots_that_move_under_load():
    """Ownership changes while requests of the slot are under way: nothing is lost, doubled or wrong."""
    cluster = Cluster(2)

    def script(request):
        if request.number % 100 == 0:
            with request.server.lock:
                slot = slot_of(key(request.number % 300))
                cluster.owner[slot] ^= 1
                for node in cluster.nodes:  # the keys go along
                    node.keys = cluster.nodes[0].keys

    for node in cluster.nodes:
        node.script = script
        node.keys = cluster.nodes[0].keys
    with cluster:
        report = bench(cluster, "--fill", "--keys", "300", "--test", "mixed", "--requests", "20000", "--connections", "3",
                       "--pipeline", "8", "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(20000)
        assert report.test["moved"] > 10


def test_ask_leaves_the_map():
    """ASK is followed with ASKING, for this request only."""
    cluster = Cluster(2)
    mine = [k for k in range(100) if cluster.owner[slot_of(key(k))] == 0]
    for k in mine[::2]:
        cluster.migrating[slot_of(key(k))] = 1
    with cluster:
        report = bench(cluster, "--fill", "--keys", "100", "--test", "mixed", "--requests", "3000", "--connections", "2",
                       "--pipeline", "3", "--verify")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(3000)
        filled = len(mine[::2])
        assert report.test["asked"] == cluster.asked - filled
        assert report.test["asked"] > 300
        assert report.test["moved"] == cluster.moved == 0


def test_node_that_nobody_told_of():
    """MOVED to a node that CLUSTER SLOTS did not have: connections are made to it."""
    with Cluster(3, told=[slot // (SLOTS // 2) for slot in range(SLOTS)]) as cluster:
        report = bench(cluster, "--keys", "300", "--test", "set", "--requests", "3000", "--connections", "5")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(3000)
        assert nodes(report)[cluster.text(2).decode()] == cluster.served[2] > 500


@pytest.mark.parametrize("text", ["TRYAGAIN Multiple keys request during rehashing of slot",
                                  "CLUSTERDOWN Hash slot not served"])
def test_try_again(text):
    """Counted by text, and tried again until it is answered."""
    def script(request):
        return b"-%s\r\n" % text.encode() if 500 <= request.number < 540 else None

    with Cluster(2, script) as cluster:
        report = bench(cluster, "--keys", "100", "--test", "set", "--requests", "3000", "--connections", "2")
        assert report.code == 0, report.stderr
        assert report.counts() == clean(3000)
        assert texts(report) == {text: 80}
        assert cluster.requests == 3080


def test_try_again_for_ever():
    text = "CLUSTERDOWN The cluster is down"
    with Cluster(2, lambda request: b"-%s\r\n" % text.encode()) as cluster:
        report = bench(cluster, "--keys", "100", "--test", "set", "--requests", "50", "--connections", "2", "--stall", "1")
        assert report.code == 1
        assert report.counts() == clean(50, errors=50)
        assert texts(report) == {text: cluster.requests}
        assert cluster.requests > 50 * 5


def test_moved_in_a_circle():
    """Two nodes that send each request to the other: it is given up after a bounded number of times."""
    cluster = Cluster(2)

    def script(request):
        other = 1 - cluster.nodes.index(request.server)
        return b"-MOVED %d %s\r\n" % (slot_of(request.key), cluster.text(other))

    for node in cluster.nodes:
        node.script = script
    with cluster:
        report = bench(cluster, "--keys", "100", "--test", "set", "--requests", "50", "--connections", "2")
        assert report.code == 1
        assert report.counts() == clean(50, errors=50)
        assert cluster.requests <= 50 * 20


@pytest.mark.parametrize("line", ["MOVED", "MOVED 1", "MOVED 99999 127.0.0.1:1", "MOVED 1 127.0.0.1:0", "ASK x y",
                                  "MOVED 1 not.a.name.example:6379"])
def test_hostile_redirections_are_errors(line):
    def script(request):
        return b"-%s\r\n" % line.encode() if request.number == 100 else None

    with Cluster(2, script) as cluster:
        report = bench(cluster, "--keys", "100", "--test", "set", "--requests", "1000", "--connections", "2")
        assert report.code == 1
        assert report.counts() == clean(1000, errors=2)
        assert texts(report) == {line: 2}


def test_moved_to_nobody():
    with Cluster(1) as gone:
        where = gone.text(0)

    def script(request):
        return b"-MOVED %d %s\r\n" % (slot_of(request.key), where) if request.number == 100 else None

    with Cluster(2, script) as cluster:
        report = bench(cluster, "--keys", "100", "--test", "set", "--requests", "1000", "--connections", "2")
        assert report.code == 1
        one_line(report, "refused")
        assert where.decode() in report.stderr


def test_no_cluster():
    with Cluster(1) as cluster:
        cluster.nodes[0].cluster = None
        report = bench(cluster, "--test", "set", "--requests", "10")
        assert report.code == 1
        one_line(report, "leave out --cluster")


# --- a real cluster -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_nodes():
    try:
        cluster = pollux.RedisCluster(3)
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    yield cluster
    healthy, tails = cluster.healthy(), [node.tail(10) for node in cluster.nodes]
    cluster.close()
    assert healthy, "\n".join(tails)


@pytest.fixture
def real(real_nodes):
    for n in range(3):
        assert real_nodes.call(n, "FLUSHALL") == b"+OK"
    return real_nodes


def start(cluster, *words):
    port = str(cluster.nodes[0].port)
    return subprocess.Popen([pollux.program("pollux-bench"), "-p", port, "--cluster", "--json", "--quiet", *words],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


def finish(process, timeout=30):
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
        process.wait()
    return Report(subprocess.CompletedProcess([], process.returncode, out, err))


def calls(cluster, node, command):
    for line in cluster.call(node, "INFO", "commandstats").decode().splitlines():
        if line.startswith(f"cmdstat_{command}:calls="):
            return int(line.split("=")[1].split(",")[0])
    return 0


def test_real_cluster(real):
    report = finish(start(real, "--fill", "--keys", "10000", "--test", "mixed", "--requests", "30000", "--connections", "5",
                          "--pipeline", "8", "--threads", "2", "--verify"))
    assert report.code == 0, report.stderr
    assert report.counts() == clean(30000)
    told = nodes(report)
    assert set(told) == {f"127.0.0.1:{node.port}" for node in real.nodes}
    assert sum(told.values()) == 30000
    assert min(told.values()) > 5000
    owners = real.owners()
    for n in range(3):
        assert real.call(n, "DBSIZE") == sum(owners[slot_of(key(k))] == n for k in range(10000))


def migrate(real, slot, keys, target, under_load):
    """Moves a slot as redis-cli does, and stays between its steps until the load has been there."""
    source = real.owners()[slot]
    assert real.call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", real.ids[source]) == b"+OK"
    assert real.call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", real.ids[target]) == b"+OK"
    asked = calls(real, target, "asking")
    moved = real.call(source, "MIGRATE", "127.0.0.1", real.nodes[target].port, "", 0, 5000, "KEYS", *keys)
    assert moved == b"+OK", moved
    pollux.wait_for(lambda: not under_load() or calls(real, target, "asking") > asked, "the load to be asked elsewhere")
    real.set_slot(slot, target)


def test_slots_migrate_under_load(real):
    """MOVED and ASK of a real server, by hand and by redis-cli: no error, nothing lost, nothing wrong."""
    load = start(real, "--fill", "--keys", "5000", "--test", "mixed", "--duration", "60", "--connections", "4",
                 "--pipeline", "4", "--verify")

    def under_load():
        return load.poll() is None

    by_slot = {}
    for k in range(5000):
        by_slot.setdefault(slot_of(key(k)), []).append(key(k))
    slots = sorted(by_slot)[:10]
    try:
        pollux.wait_for(lambda: sum(real.call(n, "DBSIZE") for n in range(3)) >= 5000, "the filling")
        for slot in slots:
            migrate(real, slot, by_slot[slot], 1, under_load)
        assert under_load(), "the load ended before slots had moved"
        pollux.run("redis-cli", "--cluster", "reshard", f"127.0.0.1:{real.nodes[0].port}", "--cluster-from", real.ids[2],
                   "--cluster-to", real.ids[0], "--cluster-slots", "100", "--cluster-yes")
        assert under_load(), "the load ended before redis-cli did"
        load.send_signal(signal.SIGINT)
    except BaseException:
        load.kill()
        raise
    report = finish(load)
    one_line(report, "interrupted")
    assert report.counts() == clean(report.test["requests"])
    assert report.test["moved"] >= 10 and report.test["asked"] >= 10
    told = nodes(report)
    assert sum(told.values()) == report.test["requests"] > 1000
    assert all(told.values())


@pytest.mark.parametrize("words", [
    ("--test", "mset"),  # ten keys with a common hash tag
    ("--test", "ycsb-f", "--fill"),  # two commands of one key, sent together
    ("--test", "ping"),  # no key
    ("--test", "mixed", "-3", "--fill"),
    ("--command", "INCR c:{sequence}"),  # keys that are not known before they are written
    ("--command", "EVAL \"return redis.call('SET', KEYS[1], 1)\" 1 k:{key}"),  # not the first word
    ("--test", "mixed", "--fill", "--rate", "2000"),
])
def test_all_kinds_of_commands(real, words):
    report = finish(start(real, "--keys", "300", "--requests", "1000", "--connections", "2", "--pipeline", "3", *words))
    assert (report.code, report.stderr) == (0, "")
    assert report.counts() == clean(1000)
    assert len(nodes(report)) == 3 and min(nodes(report).values()) > 100


def test_what_cannot_stay_together_is_refused(real):
    report = finish(start(real, "--command", "SET a{key} 1 ; SET b{key} 2", "--requests", "10"))
    assert report.code == 1
    one_line(report, "different slots")


def test_churn(real):
    report = finish(start(real, "--test", "churn", "--requests", "200", "--keys", "100", "--connections", "2", "--fill"))
    assert (report.code, report.stderr) == (0, "")
    assert report.test["requests"] == 200
    assert 190 <= report.test["connects"] <= 200
