"""Clients that people use, each with what they use it for: pipelines, transactions, scripts, channels, waiting
commands, being told of changes. On one core and on two. test_clients.py has them over every wire."""

import asyncio
import os
import shutil
import tempfile
import threading

import pytest
import redis
import redis.asyncio

import pollux


@pytest.fixture(scope="module", params=[1, 2], ids=["1core", "2cores"])
def server(request):
    if request.param > len(os.sched_getaffinity(0)):
        pytest.skip(f"needs {request.param} CPUs")
    server = pollux.Server({"cores": ",".join(map(str, range(request.param)))})
    server.wait_ready()
    yield server
    assert server.alive(), server.tail()
    server.close()


@pytest.fixture
def client(server):
    with redis.Redis(server.host, server.port, decode_responses=True, socket_timeout=pollux.PATIENCE_S) as client:
        client.flushall()
        yield client


def blocked(client):
    pollux.wait_for(lambda: client.info("clients")["blocked_clients"] == 1, "a client that waits")


def test_redis_py_transactions(client):
    with client.pipeline() as pipe:
        assert pipe.set("a", 1).incr("a").mget("a", "b").hset("h", "f", "v").hgetall("h").execute() == [
            True, 2, ["2", None], 1, {"f": "v"},
        ]  # fmt: skip

        def double(p):
            value = int(p.get("a"))
            p.multi()
            p.set("a", 2 * value)

        assert client.transaction(double, "a") == [True] and client.get("a") == "4"
        pipe.watch("a")
        client.set("a", 5)
        pipe.multi()
        pipe.incr("a")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    with client.pipeline() as pipe, pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        pipe.set("a", 1).lpush("a", 1).execute()


def test_redis_py_scripts(client):
    script = client.register_script("return {redis.call('incrby', KEYS[1], ARGV[1]), redis.call('get', KEYS[2])}")
    client.set("other", "x")
    assert script(keys=["n", "other"], args=[5]) == [5, "x"]
    client.script_flush()  # it is loaded again
    assert script(keys=["n", "other"], args=[5]) == [10, "x"]
    with client.pipeline() as pipe:
        script(keys=["n", "other"], args=[1], client=pipe)
        assert pipe.get("n").execute() == [[11, "x"], "11"]
    with pytest.raises(redis.ResponseError, match="my own"):
        client.eval("return redis.error_reply('my own')", 0)


def test_redis_py_channels(client):
    with client.pubsub() as channels:
        channels.subscribe("news")
        channels.psubscribe("n?ws*")
        assert [channels.get_message(timeout=pollux.PATIENCE_S)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        assert client.publish("news", "hello") == 2
        got = [channels.get_message(timeout=pollux.PATIENCE_S) for _ in range(2)]
        assert sorted((m["type"], m["data"]) for m in got) == [("message", "hello"), ("pmessage", "hello")]
        assert client.pubsub_channels() == ["news"] and client.pubsub_numpat() == 1
    pollux.wait_for(lambda: client.pubsub_numpat() == 0, "the subscriber to be gone")


def test_redis_py_waiting(client):
    results = {}

    def wait(name, *words, **keywords):
        results[name] = getattr(client, name)(*words, **keywords)

    for name, words, keywords, fill, wanted in (
        ("blpop", (["l1", "l2"], pollux.PATIENCE_S), {}, ("rpush", "l2", "x"), ("l2", "x")),
        ("bzpopmin", ("z", pollux.PATIENCE_S), {}, ("zadd", "z", {"m": 1.5}), ("z", "m", 1.5)),
        ("xread", ({"s": "$"},), {"block": 1000 * pollux.PATIENCE_S}, ("xadd", "s", {"f": "v"}), [["s", [("1-1", {"f": "v"})]]]),
    ):
        thread = threading.Thread(target=wait, args=(name, *words), kwargs=keywords)
        thread.start()
        blocked(client)
        options = {"id": "1-1"} if name == "xread" else {}
        getattr(client, fill[0])(*fill[1:], **options)
        thread.join()
        assert results[name] == wanted


def test_redis_py_tracking(server, client):
    with redis.Redis(server.host, server.port, decode_responses=True, single_connection_client=True) as reads:
        with client.pubsub() as told:
            told.subscribe("__redis__:invalidate")
            assert told.get_message(timeout=pollux.PATIENCE_S)["type"] == "subscribe"
            identity = next(c["id"] for c in client.client_list() if c["cmd"] == "subscribe")
            assert reads.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", identity)
            reads.mget("k1", "k2")
            client.mset({"k1": 1, "k2": 2, "k3": 3})
            got = [told.get_message(timeout=pollux.PATIENCE_S)["data"] for _ in range(2)]
            assert sorted(got) == [["k1"], ["k2"]]
            client.flushall()
            assert told.get_message(timeout=pollux.PATIENCE_S)["data"] is None
            assert str(reads.client_getredir()) == identity


def test_redis_py_asyncio(server):
    async def use():
        client = redis.asyncio.Redis(host=server.host, port=server.port, decode_responses=True)
        await client.flushall()
        await asyncio.gather(*(client.set(f"k{i}", i) for i in range(200)))
        assert await client.mget([f"k{i}" for i in range(200)]) == [str(i) for i in range(200)]
        async with client.pipeline(transaction=True) as pipe:
            assert await pipe.incr("n").incr("n").execute() == [1, 2]
        script = client.register_script("return redis.call('get', KEYS[1])")
        assert await script(keys=["n"]) == "2"
        waiter = asyncio.create_task(client.blpop("list", timeout=pollux.PATIENCE_S))
        while (await client.info("clients"))["blocked_clients"] != 1:
            await asyncio.sleep(0.001)
        await client.rpush("list", "x")
        assert await waiter == ("list", "x")
        async with client.pubsub() as channels:
            await channels.subscribe("news")
            while not await channels.get_message(timeout=1):
                pass
            assert await client.publish("news", "hello") == 1
            message = None
            while not message:
                message = await channels.get_message(ignore_subscribe_messages=True, timeout=1)
            assert message["data"] == "hello"
        await client.close()
        await client.connection_pool.disconnect()

    asyncio.run(asyncio.wait_for(use(), pollux.PATIENCE_S))


def test_hiredis(server):
    program = os.path.join(pollux.BUILD, "tests", "clients", "hiredis-client")
    if not os.path.exists(program):
        pytest.skip("built without libhiredis-dev")
    pollux.run(program, server.host, str(server.port), timeout=120)


NODE = {
    "ioredis": """
        const Redis = require('ioredis');
        const open = () => new Redis(PORT, 'HOST', {maxRetriesPerRequest: 1});
        const a = open(), b = open(), c = open();
        (async () => {
            await a.flushall();
            const replies = await a.multi().set('k', 'v').get('k').incr('n').exec();
            check(replies.map(r => r[1]), ['OK', 'v', 1]);
            const p = a.pipeline();
            for (let i = 0; i < 1000; i++) p.incr('n');
            check((await p.exec())[999][1], 1001);
            a.defineCommand('addTo', {numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1])"});
            check(await a.addTo('n', 9), 1010);
            const message = new Promise(done => b.on('message', (channel, text) => done([channel, text])));
            await b.subscribe('news');
            check(await a.publish('news', 'hello'), 1);
            check(await message, ['news', 'hello']);
            const waits = c.blpop('list', 30);
            await a.rpush('list', 'x');
            check(await waits, ['list', 'x']);
            const hears = open(), id = await hears.client('ID');
            const told = new Promise(done => hears.on('message', (channel, keys) => done([channel, keys])));
            await hears.subscribe('__redis__:invalidate');
            await c.client('TRACKING', 'ON', 'REDIRECT', id);
            await c.get('k');
            await a.set('k', 'w');
            check((await told)[0], '__redis__:invalidate');
            for (const r of [a, b, c, hears]) r.disconnect();
            process.exit(0); // one that listens keeps it alive
        })().catch(e => { console.error(e); process.exit(1); });
    """,
    "redis": """
        const { createClient } = require('redis');
        const open = async () => { const c = createClient({url: 'redis://HOST:PORT'}); await c.connect(); return c; };
        (async () => {
            const a = await open(), b = await open(), c = await open();
            await a.flushAll();
            check(await a.multi().set('k', 'v').get('k').incr('n').exec(), ['OK', 'v', 1]);
            const many = await Promise.all(Array.from({length: 1000}, () => a.incr('n')));
            check(many[999], 1001);
            check(await a.eval("return redis.call('incrby', KEYS[1], ARGV[1])", {keys: ['n'], arguments: ['9']}), 1010);
            await a.hSet('h', {f: '1', g: '2'});
            check({...await a.hGetAll('h')}, {f: '1', g: '2'});
            const message = new Promise(done => b.subscribe('news', (text, channel) => done([channel, text])));
            while (await a.publish('news', 'hello') !== 1) {}
            check(await message, ['news', 'hello']);
            const waits = c.blPop('list', 30);
            await a.rPush('list', 'x');
            const got = await waits;
            check([got.key, got.element], ['list', 'x']);
            await c.watch('k');
            await a.set('k', 'w');
            let failed = false;
            try { await c.multi().get('k').exec(); } catch (e) { failed = true; }
            check(failed, true);
            // Its own cache, which listens to what the server tells.
            const cached = createClient({url: 'redis://HOST:PORT', RESP: 3, clientSideCache: {ttl: 0, maxEntries: 0}});
            await cached.connect();
            check(await cached.get('k'), 'w');
            check(await cached.get('k'), 'w');
            await a.set('k', 'x');
            while (await cached.get('k') !== 'x') {}
            for (const r of [a, b, c, cached]) r.destroy ? r.destroy() : await r.disconnect();
        })().catch(e => { console.error(e); process.exit(1); });
    """,
}


@pytest.mark.skipif(not pollux.FULL, reason="with --full only: fetches clients from npm")
@pytest.mark.parametrize("package", sorted(NODE))
def test_node(server, package):
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        fetched = pollux.run("npm", "install", "--no-audit", "--no-fund", package, cwd=folder, check=False, timeout=300)
        if fetched.returncode != 0:
            pytest.skip(f"npm cannot fetch {package}")
        script = os.path.join(folder, "test.js")
        with open(script, "w", encoding="utf-8") as file:
            file.write("const check = (got, wanted) => require('assert').deepStrictEqual(got, wanted);\n")
            file.write(NODE[package].replace("PORT", str(server.port)).replace("HOST", server.host))
        pollux.run("node", script, cwd=folder, timeout=120)
