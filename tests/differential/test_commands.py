#!/usr/bin/python3
"""The same random commands to redis-server 7.0.15 and to Pollux: the replies must be equal to the byte,
and so must be the keys in the end. What may differ is in known.py, and in SAME of a family.

A round is a run of commands from one seed, over connections of both protocols, pipelined, and the
comparison of all keys afterwards. It counts as one test. A family is a file family_NAME.py with
COMMANDS, SAME and METADATA, CONTENT where it makes values of a type, LIMITS: directives that a round
sets, with what they may be set to, BEFORE: commands before which others are sent, and UNSPOILED: commands and
words (bytes) whose command must have just the arguments it is given, lest it waits for ever or draws.

usage: test_commands.py [--seed N] [--rounds N] [--commands N] [--cores 0 --cores 0,1] [--families a,b]
                        [--peer redis] [--no-shrink]
"""

import contextlib
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import checks
import program
from rounds import Families, Servers, play_round


def on_fresh_pair(servers, protocol, check):
    servers.connect()
    check(*servers.pairs[protocol])


def main():
    parser = program.parser("the same random commands to redis-server and to Pollux", rounds=(10, 300), commands=2000)
    parser.add_argument("--families", default=None, help="names, separated by commas; all without it")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for fewer commands that differ")
    options = parser.parse_args()
    names = options.families.split(",") if options.families else sorted(
        name[len("family_") : -len(".py")] for name in os.listdir(HERE) if name.startswith("family_")
    )
    families = Families(names)

    @contextlib.contextmanager
    def tests_of(cores):
        servers = Servers(cores, options.peer)
        tests = [(check.__name__, lambda c=check, p=protocol: on_fresh_pair(servers, p, c))
                 for check in checks.SCRIPTED for protocol in (0, 1)]
        tests += [(f"metadata of {name}", lambda n=name: on_fresh_pair(servers, 1, lambda *pair: checks.metadata(n, *pair)))
                  for name in families.metadata]
        patience_s = 0 if options.no_shrink else 60
        yield servers.servers, tests + program.seeds(
            options, lambda seed: play_round(servers, families, seed, options.commands, patience_s))
        servers.close()

    return program.run(options, tests_of)


if __name__ == "__main__":
    sys.exit(main())
