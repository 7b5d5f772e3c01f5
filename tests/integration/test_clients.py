"""Clients that people use, each over every wire."""

import os
import shutil
import tempfile

import pytest
import redis

import pollux


def redis_cli(wire, *words, **keywords):
    return pollux.run("redis-cli", "-h", wire.host, "-p", str(wire.port), *words, **keywords).stdout


def test_redis_cli(wire):
    assert redis_cli(wire, "ping") == "PONG\n"
    assert redis_cli(wire, "set", "greeting", "hello") == "OK\n"
    assert redis_cli(wire, "get", "greeting") == "hello\n"
    assert redis_cli(wire, "get", "missing") == "\n"
    assert redis_cli(wire, "incr", "counter") == "1\n"
    assert redis_cli(wire, "del", "greeting", "counter", "missing") == "2\n"
    assert redis_cli(wire, "-3", "hello", "3").startswith("server ")
    assert "unknown command" in redis_cli(wire, "nosuchcommand")


def test_redis_cli_pipe(wire):
    commands = b"".join(pollux.encode("SET", f"piped:{i}", f"value {i}") for i in range(20000))
    with tempfile.TemporaryFile() as file:
        file.write(commands)
        file.seek(0)
        out = redis_cli(wire, "--pipe", stdin=file)
    assert "errors: 0, replies: 20000" in out
    assert redis_cli(wire, "dbsize") == "20000\n"
    assert redis_cli(wire, "get", "piped:19999") == "value 19999\n"


def test_redis_cli_scan(wire, client):
    client.call("MSET", *(word for i in range(1000) for word in (f"scan:{i}", i)))
    found = redis_cli(wire, "--scan", "--pattern", "scan:*").split()
    assert sorted(found) == sorted(f"scan:{i}" for i in range(1000))


def test_redis_py(wire):
    with redis.Redis(wire.host, wire.port, socket_timeout=pollux.PATIENCE_S) as r:
        assert r.ping()
        assert r.set("a", b"\x00\r\n\xff") and r.get("a") == b"\x00\r\n\xff"
        assert r.mset({f"k{i}": i for i in range(100)})
        assert r.mget([f"k{i}" for i in range(100)] + ["none"]) == [b"%d" % i for i in range(100)] + [None]
        assert r.expire("a", 100) and 0 < r.ttl("a") <= 100
        assert r.incrby("n", 41) == 41 and r.incrbyfloat("n", 1.5) == 42.5
        assert r.append("text", "ab") == 2 and r.getrange("text", 0, 0) == b"a"
        assert r.delete(*[f"k{i}" for i in range(100)]) == 100
        with pytest.raises(redis.ResponseError, match="not an integer"):
            r.incr("a")
        pipe = r.pipeline(transaction=False)
        for i in range(2000):
            pipe.set(f"p{i}", i).get(f"p{i}")
        answers = pipe.execute()
        assert answers[0::2] == [True] * 2000
        assert answers[1::2] == [b"%d" % i for i in range(2000)]
        assert "redis_version" in r.info()
        assert r.client_id() > 0


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark(wire, pipeline):
    """hiredis: redis-benchmark runs to its end, without an error."""
    done = pollux.run(
        "redis-benchmark", "-h", wire.host, "-p", str(wire.port), "-n", "20000", "-c", "50", "-P", str(pipeline),
        "-r", "1000", "-d", "64", "-t", "ping,set,get,incr,mset", "--csv", "-e", timeout=120,
    )
    tests = [line.split(",")[0].strip('"') for line in done.stdout.splitlines()[1:]]
    assert [t for t in tests if not t.startswith(("PING", "SET", "GET", "INCR", "MSET"))] == []
    assert len(tests) == 6
    assert "Error from server" not in done.stdout + done.stderr


@pytest.mark.skipif(not pollux.FULL, reason="with --full only: fetches ioredis from npm")
@pytest.mark.wires("socket")
def test_ioredis(wire):
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        fetched = pollux.run("npm", "install", "--no-audit", "--no-fund", "ioredis", cwd=folder, check=False, timeout=300)
        if fetched.returncode != 0:
            pytest.skip("npm cannot fetch ioredis")
        script = os.path.join(folder, "test.js")
        with open(script, "w", encoding="utf-8") as file:
            file.write("""
                const Redis = require('ioredis');
                const r = new Redis(%d, '%s', {maxRetriesPerRequest: 1});
                (async () => {
                    await r.set('k', 'v');
                    if (await r.get('k') !== 'v') throw new Error('get');
                    const p = r.pipeline();
                    for (let i = 0; i < 1000; i++) p.incr('n');
                    const replies = await p.exec();
                    if (replies[999][1] !== 1000) throw new Error('pipeline');
                    r.disconnect();
                })().catch(e => { console.error(e); process.exit(1); });
            """ % (wire.port, wire.host))
        pollux.run("node", script, cwd=folder)
