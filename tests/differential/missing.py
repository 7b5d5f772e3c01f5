"""Commands of Redis 7.0.15 that are not here, by what they wait for. The name of a container alone stands for
all its subcommands. test_server.py holds this to COMMAND LIST of both: nothing else is missing, and nothing
stands here that exists. Commands on keys are never a reason."""

MISSING = {
    "clustering": ["asking", "cluster", "readonly", "readwrite"],
    "files of the data set": ["bgrewriteaof", "bgsave", "lastsave", "save"],
    "replication": ["failover", "psync", "replconf", "replicaof", "role", "slaveof", "sync", "wait"],
}  # fmt: skip

# Those of them that COMMAND tells keys of.
WITH_KEYS = set()


def names():
    return {name for group in MISSING.values() for name in group}


def stands_for(name):
    """The name under which a missing command or subcommand stands in MISSING, if it does."""
    return next((n for n in (name, name.split("|")[0]) if n in names()), None)
