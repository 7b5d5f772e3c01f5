"""What a comparison found: medians, ratios, tables, the page RESULTS.md. Nothing here measures."""

import dataclasses
import statistics

import plan

BETTER_CLIENT, GENERATOR_LIMIT, BEHIND = "*", "†", "‡"
KEEPS_UP = 0.95  # of the requests that were meant to be sent
PROBE_TITLE = "the machine alone (jitter probe)"


@dataclasses.dataclass
class Table:
    title: str
    header: list
    rows: list  # of lists of text, as long as the header
    notes: list = dataclasses.field(default_factory=list)

    def text(self):
        widths = [max(len(row[i]) for row in [self.header] + self.rows) for i in range(len(self.header))]
        lines = [self.title]
        for row in [self.header] + self.rows:
            lines.append("  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]).rstrip())
        return "\n".join(lines + self.notes) + "\n"

    def markdown(self):
        lines = [f"### {self.title}", "", "| " + " | ".join(self.header) + " |",
                 "| --- |" + " ---: |" * (len(self.header) - 1)]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in self.rows]
        return "\n".join(lines + [""] + [note + "\n" for note in self.notes])


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    """Half of the distance between the best and the worst, in percent of the median."""
    middle = median(values)
    return 50 * (max(values) - min(values)) / middle if middle else 0.0


def rate_text(rate):
    return f"{rate / 1e3:,.0f}" if rate >= 1e4 else f"{rate / 1e3:.1f}"


def time_us_text(us):
    return f"{us:,.0f}" if us >= 100 else f"{us:.1f}"


class Results:
    """Everything that was measured. `systems`, and `planned` cells: those of the run, in the order of the tables."""

    def __init__(self, systems, planned=()):
        self.systems, self.planned = list(systems), list(planned)
        self.rounds = {}  # (system's name, client, cell): [figures of each round]
        self.memory = {}  # (system's name, data): bytes per key
        self.latency = {}  # (system's name, operation, load): [figures of each round], load is "own" or "same"
        self.idle = {}  # system's name: percent of a CPU
        self.probe = None  # machine.jitter()
        self.left_out = {}  # system's name: why
        self.lines = []  # what could not be measured or was made smaller, one line each

    def add(self, system, client, cell, figures):
        self.rounds.setdefault((system.name, client, cell), []).append(figures)

    # --- figures

    def clients(self, name, cell):
        """{client: requests/s of each round}."""
        return {client: [figures["requests_per_second"] for figures in rounds]
                for (system, client, of), rounds in self.rounds.items() if (system, of) == (name, cell)}

    def best(self, name, cell):
        """(client, requests/s of each round) of the better client; (None, []) if there is none."""
        return max(self.clients(name, cell).items(), key=lambda item: median(item[1]), default=(None, []))

    def rate(self, name, cell):
        """Requests/s, the median of the rounds with the better client; None if it was not measured."""
        return median(self.best(name, cell)[1])

    def ratio(self, system, cell):
        """To the system that it is compared with; None where there is no such figure, or it would be 1."""
        if system.base == system.name:
            return None
        rate, base = self.rate(system.name, cell), self.rate(system.base, cell)
        return rate / base if rate and base else None

    def generator_limited(self, name, cell):
        rounds = self.rounds.get((name, "pollux-bench", cell), [])
        return sum(bool(figures.get("bottleneck")) for figures in rounds) * 2 > len(rounds)

    def cells(self):
        """Those of which there is a figure, in the order of the plan."""
        place = {cell: i for i, cell in enumerate(self.planned)}
        return sorted(dict.fromkeys(cell for _, _, cell in self.rounds), key=lambda cell: place.get(cell, len(place)))

    def measured(self, cells):
        found = set(self.cells())
        return [cell for cell in cells if cell in found]

    # --- tables

    def throughput_table(self, group, cells):
        systems = [s for s in self.systems if any(self.rate(s.name, cell) for cell in cells)]
        rows, marks = [], set()
        for cell in cells:
            row = [plan.column_text(cell)]
            for system in systems:
                client, rates = self.best(system.name, cell)
                if not rates:
                    row.append("-")
                    continue
                mark = BETTER_CLIENT if client == "redis-benchmark" else ""
                mark += GENERATOR_LIMIT if self.generator_limited(system.name, cell) and client == "pollux-bench" else ""
                marks.update(mark)
                ratio = self.ratio(system, cell)
                row.append(rate_text(median(rates)) + mark + (f" {ratio:.1f}x" if ratio else "")
                           + (f" ±{spread(rates):.0f}%" if len(rates) > 1 else ""))
            rows.append(row)
        notes = []
        if BETTER_CLIENT in marks:
            notes.append(f"{BETTER_CLIENT} with redis-benchmark, which found more than pollux-bench here.")
        if GENERATOR_LIMIT in marks:
            notes.append(f"{GENERATOR_LIMIT} the generator was the limit: the server can do more.")
        return Table(f"Thousand requests/s: {plan.group_text(group)}", [""] + [s.title for s in systems], rows, notes)

    def throughput_tables(self):
        return [self.throughput_table(group, cells) for group, cells in plan.by_group(self.cells())]

    def keys_table(self):
        """None when only one number of keys was measured."""
        pairs = plan.keys_pair(self.cells())
        if not pairs:
            return None
        rows = []
        for few, many in pairs:
            row = [f"{plan.column_text(many)}, {plan.keys_text(many.data.keys)} / {plan.keys_text(few.data.keys)}"]
            for system in self.systems:
                rates = self.rate(system.name, many), self.rate(system.name, few)
                row.append(f"{rates[0] / rates[1]:.2f}" if all(rates) else "-")
            rows.append(row)
        return Table("Throughput with many keys as a share of that with few", [""] + [s.title for s in self.systems], rows)

    def memory_table(self):
        systems = [s for s in self.systems if any(name == s.name for name, _ in self.memory)]
        if not systems:
            return None
        rows = [[f"{plan.keys_text(data.keys)} keys, values of {plan.size_text(data.size)}"]
                + [f"{self.memory[s.name, data]:,.0f}" if (s.name, data) in self.memory else "-" for s in systems]
                for data in dict.fromkeys(data for _, data in self.memory)]
        return Table("Resident bytes per key of 16 bytes, value included", [""] + [s.title for s in systems], rows)

    def latency_tables(self):
        found = []
        for operation, load in dict.fromkeys((operation, load) for _, operation, load in self.latency):
            what = "each at half of its own maximum" if load == "own" else "all at half of the maximum of the slowest"
            rows, notes = [], []
            for system in self.systems:
                rounds = self.latency.get((system.name, operation, load))
                if not rounds:
                    continue
                rate = median([r["requests_per_second"] for r in rounds])
                behind = rate < KEEPS_UP * (median([r.get("rate_wanted") or 0 for r in rounds]))
                if behind and not notes:
                    notes.append(f"{BEHIND} did not keep up with the rate, which was higher: times in a growing queue.")
                rows.append([system.title, rate_text(rate) + BEHIND * behind]
                            + [time_us_text(median([r["latency_us"][p] for r in rounds])) for p in PERCENTILES])
            if self.probe:
                rows.append([PROBE_TITLE, ""] + [time_us_text(self.probe["latency_us"][p]) for p in PERCENTILES])
            found.append(Table(f"Latency of {plan.OPERATIONS[operation][0]} in microseconds, open loop, {what}",
                               ["", "thousand requests/s"] + list(PERCENTILES), rows, notes))
        return found

    def idle_table(self):
        if not self.idle:
            return None
        systems = [s for s in self.systems if s.name in self.idle]
        return Table("CPU of a server without clients, percent of one", [""] + [s.title for s in systems],
                     [["all its processes"] + [f"{self.idle[s.name]:.2f}" for s in systems]])

    def tables(self):
        found = self.throughput_tables() + [self.keys_table(), *self.latency_tables(), self.memory_table(), self.idle_table()]
        return [table for table in found if table]

    def probe_text(self):
        if not self.probe:
            return "The jitter probe did not run."
        lost = " and ".join(f"{lost:.2f} %" for lost in self.probe["lost_percent"])
        longest = " and ".join(f"{time_us_text(us)} us" for us in self.probe["longest_us"])
        waits = self.probe["latency_us"]
        return (f"Jitter probe: in {self.probe['seconds']:.1f} s the server's and the generator's CPU were taken away for "
                f"{lost} of the time, at most {longest} at once; by that alone a request waits "
                f"{time_us_text(waits['p99'])} us at p99 and {time_us_text(waits['p99.9'])} us at p99.9. No latency below "
                "these says anything about a server.")

    def ratio_lines(self):
        """`ratio SET P=1 memif: 14.2`, of the first group that was measured."""
        groups = plan.by_group(self.cells())
        lines = []
        for cell in groups[0][1] if groups else []:
            for system in self.systems:
                ratio = self.ratio(system, cell)
                if ratio:
                    name = "MIX" if cell.operation == "mix" else plan.OPERATIONS[cell.operation][0]
                    lines.append(f"ratio {name} P={cell.pipeline} {system.name}: {ratio:.1f}")
        return lines

    def ratio_table(self):
        """The same as a table: what a reader looks for first."""
        groups = plan.by_group(self.cells())
        if not groups:
            return None
        group, cells = groups[0]
        systems = [s for s in self.systems if any(self.ratio(s, cell) for cell in cells)]
        if not systems:
            return None
        titles = {s.name: s.title for s in self.systems}
        rows = [[plan.column_text(cell)] + [f"{self.ratio(s, cell):.1f}" if self.ratio(s, cell) else "-" for s in systems]
                for cell in cells]
        return Table(f"Times as many requests/s: {plan.group_text(group)}",
                     [""] + [f"{s.title} / {titles[s.base]}" for s in systems], rows)

    # --- for programs

    def json(self):
        throughput = []
        for (name, client, cell), rounds in self.rounds.items():
            system = next(s for s in self.systems if s.name == name)
            rates = [figures["requests_per_second"] for figures in rounds]
            throughput.append({
                "system": name, "client": client, "operation": cell.operation, "pipeline": cell.pipeline,
                "connections": cell.connections, "keys": cell.data.keys, "size": cell.data.size,
                "distribution": cell.distribution, "requests_per_second": median(rates), "spread_percent": spread(rates),
                "ratio": self.ratio(system, cell), "compared_with": system.base, "rounds": rounds,
            })
        return {
            "systems": [{"name": s.name, "title": s.title, "wire": s.wire} for s in self.systems],
            "left_out": self.left_out,
            "throughput": throughput,
            "latency": [{"system": name, "operation": operation, "load": load, "rounds": rounds}
                        for (name, operation, load), rounds in self.latency.items()],
            "memory": [{"system": name, "keys": data.keys, "size": data.size, "bytes_per_key": value}
                       for (name, data), value in self.memory.items()],
            "idle_percent": self.idle,
            "jitter": self.probe,
            "notes": self.lines,
        }


PERCENTILES = ("p50", "p99", "p99.9", "max")

HOW = """\
- Servers are started as Debian ships them, without persistence: `redis-server --save "" --appendonly no`,
  `memcached -t 1` with memory enough to evict nothing.
- The server has one CPU, the generator another. All servers are filled with the same keys and stay up; those that are
  not measured are stopped (SIGSTOP).
- Rounds alternate between the systems, in reverse order every second round, because absolute figures drift. The median
  of the rounds counts; ± is half of the distance between the best and the worst round.
- `redis-server` gets the better of `redis-benchmark` and `pollux-bench` where both can do the work; all others are
  measured with `pollux-bench`. A ratio is one of medians.
- Systems *on veth* serve the same wire: one end of a veth pair, Redis on the kernel's stack and Pollux on its own over
  AF_XDP; the generator uses kernel sockets at the other end.
- memif is shared memory between two processes and stands for an ideal NIC; the generator brings a stack of its own.
- Latency is measured in an open loop with Poisson arrivals, from the moment at which a request was meant to be sent.
  The maximum is that of single requests (P=1) on the same connections.
"""


def bullets(pairs):
    return "\n".join(f"| {name} | {text} |" for name, text in pairs)


def results_page(results, machine, versions, date, command, settings, pictures=()):
    """RESULTS.md. `machine`, `versions` and `settings` are {what: text}; `command` repeats the run; `pictures` are
    paths from where the page lies."""
    parts = ["# Pollux beside other servers", "",
             f"Measured on {date} by one run of `{command}`. Figures of another machine will differ; ratios differ less.", ""]
    summary = results.ratio_table()
    if summary:
        parts += [summary.markdown()]
    parts += ["## Machine and versions", "", "| | |", "| --- | --- |",
              bullets([*machine.items(), *versions.items(), *settings.items()]), "",
              results.probe_text(), "",
              "## How to repeat it", "", "```", "config/install-packages build bench", "meson setup build -Dmarch=native",
              "ninja -C build", f"sudo {command}", "```", "",
              "`bench/side-by-side --help` tells what else can be asked; `--quick` takes a minute.", "",
              "## How it was measured", "", HOW, "## All figures", ""]
    parts += [table.markdown() for table in results.tables()]
    parts += [f"![{picture.rsplit('/', 1)[-1].removesuffix('.svg')}]({picture})\n" for picture in pictures]
    parts += ["## What could not be measured here", ""]
    missing = [f"- {name}: {reason}" for name, reason in results.left_out.items()] + [f"- {line}" for line in results.lines]
    parts += missing or ["Nothing was left out."]
    return "\n".join(parts).rstrip() + "\n"
