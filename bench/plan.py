"""What a comparison measures: axes, the cells of each group, how many keys fit, and how long it takes.

Nothing here runs or asks anything: numbers in, lists out.
"""

import dataclasses
import itertools

# As tables have them, and as pollux-bench calls them.
OPERATIONS = {"set": ("SET", "set"), "get": ("GET", "get"), "mix": ("1:10 mix", "mixed")}
MIX = "1:10"
DISTRIBUTIONS = ("uniform", "zipfian")
PARTS = ("throughput", "memory", "latency", "idle")

OVERHEAD_BYTES = 130  # per key, beside its value, of the server that needs most
MEMORY_SHARE = 0.6  # of the free memory that all filled servers together may take
MEMORY_LEAST = 32 << 20  # of keys and values; with less, what a server takes for itself would be counted as theirs
FILL_PIPELINE = 64

# For estimates alone: how fast a slow server is filled, and what a measurement takes besides its seconds.
FILL_KEYS_PER_SECOND, FILL_BYTES_PER_SECOND = 400e3, 400e6
SECONDS_BESIDES, SECONDS_BESIDES_MEMIF, SECONDS_TO_START = 0.1, 1.3, 0.6


@dataclasses.dataclass(frozen=True, order=True)
class Data:
    """What servers are filled with."""

    keys: int
    size: int

    def words(self):
        return ["--keys", str(self.keys), "--data-size", str(self.size)]

    def weighs(self):
        """Whether it is large beside what a server takes for itself."""
        return self.keys * (self.size + 16) >= MEMORY_LEAST


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One thing to measure, on every system."""

    data: Data
    distribution: str
    connections: int
    operation: str
    pipeline: int

    def test(self):
        return OPERATIONS[self.operation][1]

    def batch(self):
        """What cells have in common that one call of pollux-bench can measure."""
        return (self.data, self.distribution, self.connections, self.pipeline)

    def redis_benchmark_can(self):
        return self.operation != "mix" and self.distribution == "uniform"

    def group(self):
        """What cells of one table have in common."""
        return (self.data, self.distribution, self.connections)


def words(batch):
    """For pollux-bench: cells of one batch."""
    one = batch[0]
    distribution = [] if one.distribution == "uniform" else ["--key-distribution", one.distribution]
    ratio = ["--ratio", MIX] if any(cell.operation == "mix" for cell in batch) else []
    return ["--test", ",".join(cell.test() for cell in batch), *ratio, *one.data.words(), *distribution,
            "--connections", str(one.connections), "--pipeline", str(one.pipeline)]


# --- options ---------------------------------------------------------------------------------------


def number(text):
    """A count or size: 1000, 64k (of 1000), 1ki or 16kib (of 1024), 10m."""
    scales = {"k": 1000, "m": 1000000, "ki": 1024, "mi": 1 << 20}
    digits = text.strip().lower().removesuffix("b")
    letters = digits.lstrip("0123456789.")
    digits = digits[:len(digits) - len(letters)]
    if (letters and letters not in scales) or not digits:
        raise ValueError(f"{text}: not a number; write 1000, 10k, 1m or 16KiB")
    value = float(digits) * scales.get(letters, 1)
    if value < 1 or value != int(value):
        raise ValueError(f"{text}: not a whole number of at least 1")
    return int(value)


def items(text, parse):
    """A list with commas; no item twice."""
    found = list(dict.fromkeys(parse(item.strip()) for item in text.split(",") if item.strip()))
    if not found:
        raise ValueError(f"'{text}': name at least one")
    return found


def names(text, allowed):
    def one(item):
        if item not in allowed:
            raise ValueError(f"no {item}; there are {', '.join(allowed)}")
        return item
    return items(text, one)


# --- the plan --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Axes:
    """The first value of each is where the other axes are varied."""

    operations: tuple = ("set", "get", "mix")
    pipelines: tuple = (1, 16, 64)
    connections: tuple = (50, 500)
    sizes: tuple = (64, 1024, 16384)
    keys: tuple = (1000000, 10000, 10000000)
    distributions: tuple = DISTRIBUTIONS


def round_down(n):
    """The largest of 1, 2, 5, 10, 20, 50 … that is not above n."""
    power = 10 ** (len(str(int(n))) - 1)
    return max(step * power for step in (1, 2, 5) if step * power <= n)


def fit(data, systems, memory):
    """As many of the keys as all filled servers together can hold in `memory` bytes."""
    most = memory * MEMORY_SHARE / max(1, systems) / (data.size + OVERHEAD_BYTES)
    return data if data.keys <= most else Data(round_down(max(1, most)), data.size)


def cells_of(axes, systems, memory, full=False):
    """The cells in the order in which they are measured, and a plain line for each set of keys that did not fit.

    Every operation with every pipeline at the first value of the other axes; then each other axis alone, with
    the first two operations and pipelines. `full`: all combinations.
    """
    fitted, lines = {}, {}

    def data_of(keys, size):
        wanted = Data(keys, size)
        fitted[wanted] = fit(wanted, systems, memory)
        if fitted[wanted] != wanted:
            lines[wanted] = (f"values of {size_text(size)} with {keys_text(keys)} keys: with {keys_text(fitted[wanted].keys)} "
                             f"instead, which {systems} servers at once can hold here")
        return fitted[wanted]

    def cells(operations, pipelines, connections, size, keys, distribution):
        return [Cell(data_of(keys, size), distribution, connections, operation, pipeline)
                for operation, pipeline in itertools.product(operations, pipelines)]

    base = {"connections": axes.connections[0], "size": axes.sizes[0], "keys": axes.keys[0],
            "distribution": axes.distributions[0]}
    if full:
        found = [cell for connections, size, keys, distribution
                 in itertools.product(axes.connections, axes.sizes, axes.keys, axes.distributions)
                 for cell in cells(axes.operations, axes.pipelines, connections, size, keys, distribution)]
    else:
        found = cells(axes.operations, axes.pipelines, **base)
        for name, values in (("connections", axes.connections), ("distribution", axes.distributions),
                             ("size", axes.sizes), ("keys", axes.keys)):
            for value in values[1:]:
                found += cells(axes.operations[:2], axes.pipelines[:2], **{**base, name: value})
    return list(dict.fromkeys(found)), list(lines.values())


def by_data(cells):
    """[(data, its cells)], in the order in which they first appear: servers are filled once for each."""
    found = {}
    for cell in cells:
        found.setdefault(cell.data, []).append(cell)
    return list(found.items())


def by_group(cells):
    found = {}
    for cell in cells:
        found.setdefault(cell.group(), []).append(cell)
    return list(found.items())


def by_batch(cells):
    found = {}
    for cell in cells:
        found.setdefault(cell.batch(), []).append(cell)
    return list(found.values())


def keys_pair(cells):
    """The cells of the fewest and of the most keys that differ in nothing else: [(few, many)]."""
    found = {}
    for cell in cells:
        found.setdefault((cell.operation, cell.pipeline, cell.connections, cell.distribution, cell.data.size), []).append(cell)
    pairs = [(min(same), max(same)) for same in found.values()]
    return [(few, many) for few, many in pairs if few.data.keys < many.data.keys]


def start_seconds(data, systems):
    """Of starting and filling all `systems`."""
    fill = max(data.keys / FILL_KEYS_PER_SECOND, data.keys * data.size / FILL_BYTES_PER_SECOND)
    return len(systems) * (fill + SECONDS_TO_START)


def batch_seconds(batch, systems, seconds, warmup):
    """Of one round of a batch over all `systems`."""
    total = 0
    for system in systems:
        total += len(batch) * (seconds + warmup) + (SECONDS_BESIDES_MEMIF if system.wire == "memif" else SECONDS_BESIDES)
        if system.redis_benchmark:
            total += sum(seconds + SECONDS_BESIDES for cell in batch if cell.redis_benchmark_can())
    return total


# --- in words --------------------------------------------------------------------------------------


def size_text(size):
    for scale, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= scale and size % scale == 0:
            return f"{size // scale} {unit}"
    return f"{size} B"


def keys_text(keys):
    for scale, unit in ((1000000, "million"), (1000, "thousand")):
        if keys >= scale and keys * 10 % scale == 0:
            return f"{keys / scale:g} {unit}"
    return str(keys)


def group_text(group):
    data, distribution, connections = group
    return f"{connections} connections, {keys_text(data.keys)} keys, values of {size_text(data.size)}, {distribution}"


def column_text(cell):
    return f"{OPERATIONS[cell.operation][0]} P={cell.pipeline}"


def time_text(seconds):
    seconds = int(seconds + 0.5)
    if seconds < 100:
        return f"{seconds} s"
    if seconds < 6000:
        return f"{(seconds + 30) // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
