"""Kernel clients behind a relay that loses, doubles, reorders and delays frames: every byte arrives as it was sent."""

import json
import os

import pytest

import lossy
import pollux

BYTES = 1_000_000_000 if pollux.FULL else 4 << 20
THROUGHPUT = os.path.join(pollux.ROOT, "tests", "relay", "throughput")
WIRES = [name for name in os.environ.get("POLLUX_WIRES", "socket,tap,xdp").split(",") if name in lossy.WIRES]


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("relay", [
    ["--loss", "1"],
    ["--loss", "0.2", "--duplicate", "1", "--reorder", "2", "--delay-us", "200", "--jitter-us", "50"],
], ids=["loss", "everything"])
def test_every_byte(name, relay):
    try:
        wire = lossy.WIRES[name](relay=relay, cores=1)
    except pollux.Skip as reason:
        pytest.skip(str(reason))
    try:
        with wire.enter(), pollux.Client(wire.connect(timeout=120)) as client:
            assert lossy.exchange(client, BYTES) >= BYTES // lossy.BLOCK * lossy.BLOCK
        did = wire.relay.close()
        wire.relay = None
        assert sum(did["lost"]) > 0, did
        assert wire.healthy()
    finally:
        wire.close()


def test_throughput_runs():
    """The comparison with Linux's stack works; what it measures is looked at by people."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    done = pollux.run(THROUGHPUT, "--bytes", "300000", "--rounds", "1", "--rtt-ms", "0", "--json", timeout=120)
    (row,) = json.loads(done.stdout)
    assert row["bytes"] == 300000
    assert row["linux_mbit"] > 0 and row["ours_mbit"] > 0
