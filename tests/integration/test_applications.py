"""What others build on Redis: queues of jobs, locks, limits, sessions, messages between servers, each as its library
does it (long Lua programs, streams, waiting commands, channels), and the whole test suite of a client library.
With --full only: libraries come from npm, the suite from Debian's golang-github-gomodule-redigo-dev."""

import os
import re
import shutil
import stat
import subprocess

import pytest

import pollux

pytestmark = pytest.mark.skipif(not pollux.FULL, reason="with --full only: fetches applications from npm")

CORES = [1, 2]
GO_SOURCES = "/usr/share/gocode"
GO_SUITE = "github.com/gomodule/redigo/redis"

HEAD = """
const assert = require('assert');
const at = {host: 'HOST', port: PORT};
const sleep = ms => new Promise(done => setTimeout(done, ms));
const until = async (condition, what) => {
    for (const end = Date.now() + PATIENCE; !await condition(); await sleep(5))
        if (Date.now() > end) throw new Error('waited in vain: ' + what);
};
(async () => {
    BODY
    process.exit(0); // some libraries keep it alive
})().catch(e => { console.error(e); process.exit(1); });
"""

# Packages, and what is done with them.
APPLICATIONS = {
    "bullmq": (["bullmq", "ioredis"], """
        const {Queue, Worker, QueueEvents, FlowProducer} = require('bullmq');
        const connection = {...at, maxRetriesPerRequest: null};
        const queue = new Queue('work', {connection}), events = new QueueEvents('work', {connection});
        await events.waitUntilReady();
        let done = 0, failed = 0;
        events.on('completed', () => done++);
        events.on('failed', () => failed++);
        for (let i = 0; i < 30; i++) await queue.add('sum', {a: i, b: 1});
        await queue.addBulk(Array.from({length: 30}, (_, i) => ({name: 'sum', data: {a: i, b: 2}, opts: {priority: 1 + i % 5}})));
        await queue.add('late', {a: 1, b: 1}, {delay: 50});
        await queue.add('again', {a: 1, b: 1}, {attempts: 3, backoff: {type: 'exponential', delay: 10}});
        await queue.add('bad', {});
        for (let i = 0; i < 2; i++) await queue.add('once', {a: 1, b: 1}, {jobId: 'same'});
        const work = async job => {
            if (job.name === 'bad' || (job.name === 'again' && job.attemptsMade < 2)) throw new Error(job.name);
            await job.updateProgress(50);
            await job.log('a line');
            return job.data.a + job.data.b;
        };
        const worker = new Worker('work', work, {connection, concurrency: 5, limiter: {max: 1000, duration: 1000}});
        await until(() => done === 63 && failed === 1, 'all jobs');
        const counts = await queue.getJobCounts();
        assert.deepEqual([counts.completed, counts.failed, counts.waiting, counts.active], [63, 1, 0, 0]);
        assert.equal((await queue.getJob('same')).returnvalue, 2);
        assert.equal((await queue.getJobLogs('same')).count, 1);
        await worker.close();
        const children = [1, 2, 3].map(i => ({name: 'child', queueName: 'children', data: {i}}));
        const flow = await new FlowProducer({connection}).add({name: 'parent', queueName: 'work', data: {}, children});
        new Worker('children', async job => job.data.i * 10, {connection});
        new Worker('work', async job => Object.values(await job.getChildrenValues()).sort(), {connection});
        await until(async () => await flow.job.getState() === 'completed', 'a job that waits for others');
        assert.deepEqual((await queue.getJob(flow.job.id)).returnvalue, [10, 20, 30]);
        assert.equal((await queue.clean(0, 1000, 'completed')).length, 64);
        await queue.obliterate({force: true});
    """),
    "bull": (["bull"], """
        const Queue = require('bull'), queue = new Queue('work', {redis: at});
        await queue.isReady();
        let done = 0, heard = 0, failed = 0;
        queue.on('completed', () => done++);
        queue.on('failed', () => failed++);
        queue.on('global:completed', () => heard++);
        queue.process('*', 4, async job => {
            if (job.data.fails && job.attemptsMade < 1) throw new Error('again');
            await job.progress(10);
        });
        for (let i = 0; i < 40; i++) await queue.add('job', {i}, {priority: 1 + i % 3});
        await queue.add('late', {}, {delay: 50});
        await queue.add('again', {fails: true}, {attempts: 2});
        await queue.add('repeated', {}, {repeat: {every: 50, limit: 2}});
        await until(() => done === 44 && heard === 44, 'all jobs');
        assert.equal(failed, 1);
        await queue.obliterate({force: true});
    """),
    "bee-queue": (["bee-queue"], """
        const Queue = require('bee-queue'), queue = new Queue('work', {redis: at, activateDelayedJobs: true});
        await queue.ready();
        let done = 0, sum = 0;
        queue.process(5, async job => { job.reportProgress(1); return job.data.i * 2; });
        for (let i = 0; i < 40; i++)
            (await queue.createJob({i}).save()).on('succeeded', result => { done++; sum += result; });
        (await queue.createJob({i: 100}).delayUntil(Date.now() + 50).save()).on('succeeded', () => done++);
        await until(() => done === 41, 'all jobs');
        assert.equal(sum, 1560);
        assert.equal((await queue.checkHealth()).waiting, 0);
    """),
    "locks": (["redlock@5.0.0-beta.2", "redis-semaphore", "ioredis"], """
        const Redis = require('ioredis'), {default: Redlock} = require('redlock'), {Semaphore} = require('redis-semaphore');
        const redis = new Redis(at), locks = new Redlock([redis], {retryCount: 1000, retryDelay: 5, retryJitter: 5});
        let inside = 0, most = 0, count = 0;
        const enter = async () => { most = Math.max(most, ++inside); await sleep(2); inside--; count++; };
        await Promise.all(Array.from({length: 10}, () => locks.using(['one', 'other'], 5000, enter)));
        assert.deepEqual([most, count], [1, 10]);
        let lock = await locks.acquire(['a'], 1000);
        lock = await lock.extend(60000);
        assert.ok(await redis.pttl('a') > 1000);
        await assert.rejects(new Redlock([redis], {retryCount: 0}).acquire(['a'], 1000));
        await lock.release();
        assert.equal(await redis.exists('a'), 0);
        most = 0;
        await Promise.all(Array.from({length: 10}, async () => {
            const semaphore = new Semaphore(redis, 'three', 3, {acquireTimeout: PATIENCE, retryInterval: 5});
            await semaphore.acquire();
            await enter();
            await semaphore.release();
        }));
        assert.ok(most <= 3);
    """),
    "limits and sessions": (["rate-limiter-flexible", "rate-limit-redis", "connect-redis@7", "express-session", "ioredis"], """
        const redis = new (require('ioredis'))(at), {RateLimiterRedis} = require('rate-limiter-flexible');
        const limit = new RateLimiterRedis({storeClient: redis, points: 5, duration: 60, keyPrefix: 'limit'});
        const tries = await Promise.allSettled(Array.from({length: 12}, () => limit.consume('user')));
        assert.equal(tries.filter(t => t.status === 'fulfilled').length, 5);
        await limit.block('other', 60);
        await assert.rejects(limit.consume('other').catch(() => { throw new Error('refused'); }));
        const {RedisStore: Hits} = require('rate-limit-redis');
        const hits = new Hits({sendCommand: (...words) => redis.call(...words)});
        hits.init({windowMs: 60000});
        await hits.increment('k');
        assert.equal((await hits.increment('k')).totalHits, 2);
        await hits.resetKey('k');
        assert.equal((await hits.increment('k')).totalHits, 1);
        const Sessions = require('connect-redis').default, sessions = new Sessions({client: redis, ttl: 60});
        const call = (name, ...words) =>
            new Promise((done, not) => sessions[name](...words, (error, value) => error ? not(error) : done(value)));
        for (const id of ['a', 'b']) await call('set', id, {cookie: {}, id});
        assert.equal((await call('get', 'a')).id, 'a');
        assert.deepEqual((await call('ids')).sort(), ['a', 'b']);
        await call('destroy', 'a');
        assert.equal(await call('length'), 1);
    """),
    "socket.io": (["socket.io", "socket.io-client", "@socket.io/redis-adapter", "@socket.io/redis-streams-adapter", "ioredis"], """
        const {Server} = require('socket.io'), client = require('socket.io-client'), Redis = require('ioredis');
        const channels = require('@socket.io/redis-adapter'), streams = require('@socket.io/redis-streams-adapter');
        for (const adapter of [() => channels.createAdapter(new Redis(at), new Redis(at)),
                               () => streams.createAdapter(new Redis(at), {blockTimeInMs: 100})]) {
            const servers = [], clients = [], got = [0, 0, 0];
            for (let i = 0; i < 3; i++) {
                const http = require('http').createServer(), server = new Server(http, {adapter: adapter()});
                await new Promise(done => http.listen(0, done));
                clients.push(client('http://127.0.0.1:' + http.address().port));
                clients[i].on('hello', () => got[i]++);
                clients[i].on('ask', answer => answer(i));
                const here = await new Promise(done => server.once('connection', done));
                if (i) here.join('room');
                servers.push(server);
            }
            await until(async () => await servers[0].of('/').adapter.serverCount() === 3, 'servers that know each other');
            servers[0].emit('hello');
            await until(() => got.join() === '1,1,1', 'a word to all');
            servers[0].to('room').emit('hello');
            await until(() => got.join() === '1,2,2', 'a word to a room');
            assert.equal((await servers[0].in('room').fetchSockets()).length, 2);
            assert.deepEqual((await servers[0].timeout(PATIENCE).emitWithAck('ask')).sort(), [0, 1, 2]);
            clients.forEach(c => c.close());
            servers.forEach(s => s.close());
        }
    """),
}  # fmt: skip


def open_server(cores):
    if cores > len(os.sched_getaffinity(0)):
        pytest.skip(f"needs {cores} CPUs")
    return pollux.Server({"cores": ",".join(map(str, range(cores)))}).wait_ready()


@pytest.fixture(scope="module", params=CORES, ids=[f"{n}core" for n in CORES])
def server(request):
    server = open_server(request.param)
    yield server
    assert server.alive(), server.tail()
    server.close()


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Folders with an application's packages, each fetched once."""
    folders = {}

    def fetch(name):
        if not shutil.which("npm") or not shutil.which("node"):
            pytest.skip("npm is not installed")
        if name not in folders:
            folder = str(tmp_path_factory.mktemp("npm"))
            done = pollux.run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps",
                              *APPLICATIONS[name][0], cwd=folder, check=False, timeout=300)  # fmt: skip
            folders[name] = folder if done.returncode == 0 else None
        if not folders[name]:
            pytest.skip(f"npm cannot fetch {name}")
        return folders[name]

    return fetch


@pytest.mark.parametrize("name", APPLICATIONS)
def test_application(server, fetched, name):
    folder = fetched(name)
    pollux.run("redis-cli", "-h", server.host, "-p", str(server.port), "flushall")
    script = HEAD.replace("BODY", APPLICATIONS[name][1])
    for word, value in (("HOST", server.host), ("PORT", server.port), ("PATIENCE", 1000 * pollux.PATIENCE_S)):
        script = script.replace(word, str(value))
    path = os.path.join(folder, "application.js")
    with open(path, "w", encoding="utf-8") as file:
        file.write(script)
    pollux.run("node", path, cwd=folder, timeout=120)


@pytest.fixture(scope="module")
def redigo(tmp_path_factory):
    """The test suite of redigo as a program."""
    if not shutil.which("go") or not os.path.isdir(os.path.join(GO_SOURCES, "src", GO_SUITE)):
        pytest.skip("golang-go or golang-github-gomodule-redigo-dev is not installed")
    folder = tmp_path_factory.mktemp("go")
    program = str(folder / "redigo.test")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": GO_SOURCES, "GOCACHE": str(folder / "cache")}
    pollux.run("go", "test", "-vet=off", "-c", "-o", program, GO_SUITE, env=environment, timeout=300)
    return program


def outcomes(program, start, folder):
    """Names of the tests that passed and of those that failed. `start` is the program that it takes for a server."""
    ran = subprocess.run(
        [program, "-test.v", "-redis-server", str(start), "-redis-port", str(pollux.free_port())],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return [set(re.findall(rf"^--- {what}: (\w+)", ran.stdout, re.M)) for what in ("PASS", "FAIL")]


@pytest.mark.parametrize("cores", CORES)
def test_suite_of_redigo(redigo, tmp_path, cores):
    if cores > len(os.sched_getaffinity(0)):
        pytest.skip(f"needs {cores} CPUs")
    start = tmp_path / "server"
    start.write_text(
        f'#!/bin/sh\nexec {pollux.program("pollux-server")} "$@" --runtime-dir {tmp_path} '
        f"--cores {','.join(map(str, range(cores)))}\n"
    )
    start.chmod(start.stat().st_mode | stat.S_IXUSR)
    wanted, _ = outcomes(redigo, shutil.which("redis-server"), tmp_path)
    passed, failed = outcomes(redigo, start, tmp_path)
    assert len(wanted) > 50 and wanted <= passed, f"failed on Pollux alone: {sorted(failed & wanted)}"
