"""Plots of a comparison, by gnuplot: bars of every system."""

import math
import os
import shutil
import subprocess

import plan
import tables


def bars(title, unit, systems, rows, log):
    """A gnuplot script: a cluster of bars for each row (its name, and a figure or None for each system)."""

    def quote(text):
        return "'" + text.replace("'", "''") + "'"

    def word(text):
        return '"' + text.replace('"', "'") + '"'

    # A logarithmic axis begins well below the lowest bar, or it would not be seen.
    lowest = min((value for _, values in rows for value in values if value), default=1)
    scale = f"set logscale y 10\nset yrange [{10 ** math.floor(math.log10(lowest / 2)):g}:]" if log else "set yrange [0:]"
    lines = ["$figures << END_OF_FIGURES", " ".join(["-"] + [word(title) for title in systems])]
    lines += [" ".join([word(name)] + ["?" if value is None else f"{value:.6g}" for value in values]) for name, values in rows]
    return "\n".join(lines + [
        "END_OF_FIGURES",
        "set datafile missing '?'",
        "set style data histograms",
        "set style histogram clustered gap 1",
        "set style fill solid 0.9 border -1",
        "set boxwidth 0.9",
        "set grid ytics",
        "set key outside top center horizontal",
        f"set title {quote(title)}",
        f"set ylabel {quote(unit)}",
        scale,
        f"plot for [i=2:{len(systems) + 1}] $figures using i:xtic(1) title columnheader(i)",
    ]) + "\n"


def scripts(results):
    """{name of the file without its end: gnuplot script}."""
    found, titles = {}, [s.title for s in results.systems]
    for number, (group, cells) in enumerate(plan.by_group(results.cells()), 1):
        rows = [(plan.column_text(cell), [results.rate(s.name, cell) and results.rate(s.name, cell) / 1e3
                                          for s in results.systems]) for cell in cells]
        found[f"throughput-{number}"] = bars(plan.group_text(group), "thousand requests/s", titles, rows, True)
    for operation, load in dict.fromkeys((operation, load) for _, operation, load in results.latency):
        rows = []
        for percentile in ("p50", "p99", "p99.9"):
            values = [tables.median([r["latency_us"][percentile] for r in results.latency.get((s.name, operation, load), [])])
                      for s in results.systems]
            rows.append((percentile, values + [results.probe and results.probe["latency_us"][percentile] or None]))
        what = "each at half of its own maximum" if load == "own" else "all at the same rate"
        found[f"latency-{operation}-{load}"] = bars(f"{plan.OPERATIONS[operation][0]}, open loop, {what}", "us",
                                                    titles + [tables.PROBE_TITLE], rows, True)
    if results.memory:
        systems = [s for s in results.systems if any(name == s.name for name, _ in results.memory)]
        rows = [(f"{plan.keys_text(data.keys)} x {plan.size_text(data.size)}",
                 [results.memory.get((s.name, data)) for s in systems])
                for data in dict.fromkeys(data for _, data in results.memory)]
        found["memory"] = bars("Resident bytes per key", "bytes", [s.title for s in systems], rows, True)
    return found


def missing():
    """Why there can be no plots; None if there can."""
    return None if shutil.which("gnuplot") else "--plots: gnuplot is not installed (config/install-packages bench)"


def write(results, folder):
    """Writes an SVG for each plot, and returns their paths. OSError or CalledProcessError when it cannot."""
    os.makedirs(folder, exist_ok=True)
    paths = []
    for name, script in scripts(results).items():
        path = os.path.join(folder, name + ".svg")
        text = "set terminal svg size 1100,500 noenhanced background 'white'\nset output\n" + script
        svg = subprocess.run(["gnuplot"], input=text, capture_output=True, text=True, timeout=60, check=True).stdout
        with open(path, "w", encoding="utf-8") as file:
            file.write(svg)
        paths.append(path)
    return paths
