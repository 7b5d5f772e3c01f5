"""Fixtures of the integration tests, and the counts at the end."""

import contextlib
import os
import resource
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib"))

import pollux  # noqa: E402

# redis: the same tests against Debian's Redis, to see that they ask for what Redis does.
KINDS = os.environ.get("POLLUX_WIRES", "socket,tap,xdp").split(",")
# Wires that only the tests run over that name them.
EXTRA = ["xdp-queues", "tap6", "xdp6"]
CORES = [1, 2]

_open = {}


def pytest_configure(config):
    # SystemExit would only fail the test that runs, and pytest go on with the next.
    pollux.close_on_signals(lambda code: pytest.exit("a signal came", returncode=code))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 16384:
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(16384, hard), hard))
    config.addinivalue_line("markers", "wires(*names): the wires that a test runs over")


def pytest_generate_tests(metafunc):
    if "wire_key" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("wires")
    kinds = [kind for kind in KINDS + [k for k in EXTRA if mark and k not in KINDS] if mark is None or kind in mark.args
             or kind == "redis" and "socket" in mark.args or kind == "xdp-queues" and "xdp" in mark.args]
    keys = [(kind, cores) for kind in kinds for cores in CORES if kind != "redis" or cores == 1]
    metafunc.parametrize("wire_key", keys, ids=[f"{kind}-{cores}core" for kind, cores in keys], scope="session")


@pytest.fixture(scope="session")
def wire_key(request):
    return request.param


def _close(key):
    wire = _open.pop(key, None)
    if wire and not isinstance(wire, Exception):
        wire.close()


@pytest.fixture
def wire(wire_key):
    """A server with the client's side entered: one per kind and number of cores, kept between tests."""
    for key in list(_open):
        if key != wire_key:
            _close(key)
    if wire_key not in _open:
        try:
            _open[wire_key] = pollux.WIRES[wire_key[0]](cores=wire_key[1])
        except (pollux.Skip, AssertionError) as reason:
            _open[wire_key] = reason  # the other tests of this wire need not try again
    wire = _open[wire_key]
    if isinstance(wire, pollux.Skip):
        pytest.skip(str(wire))
    if isinstance(wire, AssertionError):
        pytest.fail(str(wire), pytrace=False)
    healthy = False
    try:
        with wire.enter():
            yield wire
            with pollux.Client(wire.connect()) as client:
                assert client.call("FLUSHALL") == b"+OK"
                healthy = True
    except OSError as error:
        pytest.fail(f"the server does not answer after the test: {error}\n{wire.server.tail()}")
    finally:
        if not healthy or not wire.healthy():
            tail = wire.server.tail()
            _close(wire_key)
            if healthy:
                pytest.fail(f"the server ended during the test:\n{tail}")


@pytest.fixture
def client(wire):
    with pollux.Client(wire.connect()) as connected:
        yield connected


@pytest.hookimpl(trylast=True)  # after the fixtures of a test that a signal ended
def pytest_sessionfinish():
    for key in list(_open):
        _close(key)


def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    stats = reporter.stats
    failed = {report.nodeid for kind in ("failed", "error") for report in stats.get(kind, [])}
    passed = {report.nodeid for report in stats.get("passed", []) if report.when == "call"} - failed
    skipped = {report.nodeid for report in stats.get("skipped", [])}
    for report in stats.get("skipped", []):
        print(f"SKIPPED {report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else ''}")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
