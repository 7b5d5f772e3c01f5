"""What the programs of this folder have in common: their options, and how they run their tests."""

import argparse
import contextlib

import pollux

CORES = ["0", "0,1"]
SHOWN = 3000  # letters of what went wrong


class Difference(Exception):
    """What Redis does otherwise; `at`: the number of the command."""

    def __init__(self, text, at=None):
        super().__init__(text)
        self.at = at


def parser(description, rounds=None, commands=None):
    """`rounds`: how many by default, and with --full; `commands` of a round."""
    options = argparse.ArgumentParser(description=description)
    if rounds:
        options.add_argument("--seed", type=int, default=1, help="of the first round; each further one has the next")
        options.add_argument("--rounds", type=int, default=rounds[pollux.FULL])
    if commands:
        options.add_argument("--commands", type=int, default=commands, help="of a round")
    options.add_argument("--cores", action="append", help="cores of Pollux, as its option; more than one: each in turn")
    options.add_argument("--peer", choices=("pollux", "redis"), default="pollux", help="who is compared with Redis")
    return options


def seeds(options, play):
    """A test for each round: `play` of its seed."""
    return [(f"seed {s}", lambda s=s: play(s)) for s in range(options.seed, options.seed + options.rounds)]


@contextlib.contextmanager
def started(options, cores, settings=None, **ours):
    """redis-server and Pollux, or redis-server twice, ready; `settings` for both, `ours` for Pollux."""
    other = pollux.Redis(settings) if options.peer == "redis" else pollux.Server({**(settings or {}), "cores": cores, **ours})
    servers = [pollux.Redis(settings), other]
    try:
        for server in servers:
            server.wait_ready()
        yield servers
    finally:
        for server in servers:
            server.close()


def run(options, tests_of):
    """Plays what `tests_of(cores)`, a context, gives: the servers, and tests as (name, function). The exit status."""
    pollux.close_on_signals()
    passed = failed = skipped = 0
    for cores in options.cores or CORES:
        try:
            with tests_of(cores) as (servers, tests):
                print(f"cores {cores}: {len(tests)} tests", flush=True)
                for name, test in tests:
                    try:
                        test()
                        passed += 1
                    except Exception as error:  # whatever a reply of the wrong shape leads to
                        failed += 1
                        print(f"FAILED: cores {cores}, {name}: {type(error).__name__}: {str(error)[:SHOWN]}", flush=True)
                        ended = [server for server in servers if not server.alive()]
                        for server in ended:
                            print(f"a server has ended:\n{server.tail()}")
                        if ended:
                            break
        except pollux.Skip as reason:
            print(f"skipped: cores {cores}: {reason}")
            skipped += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
