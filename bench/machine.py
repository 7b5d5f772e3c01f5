"""The machine that a comparison runs on: what it is, what is installed, and how much it disturbs.

The jitter probe is two processes that spin, one on the server's CPU and one on the generator's, and
record only the gaps in which they did not run. What they lose no server could have used, so that no
percentile of a latency below it says anything about a server. Run as a program, this is one of the two:
`machine.py CPU SECONDS`.
"""

import datetime
import gc
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

GAP_NS = 10000  # shorter ones are the probe's own


def _output(*command):
    """The first line that a command writes, None if it cannot be run."""
    try:
        out = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.strip().split("\n")[0] or None


def _line(path, start):
    with open(path, encoding="utf-8", errors="replace") as file:
        return next((line.split(":", 1)[-1].split("=", 1)[-1].strip(' "\n') for line in file if line.startswith(start)), None)


def memory_available():
    """Bytes."""
    return int(_line("/proc/meminfo", "MemAvailable").split()[0]) * 1024


def siblings(cpu):
    """CPUs that share a core with this one, itself included."""
    try:
        with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return {cpu}
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def default_cpus():
    """(server's, generator's): two that do not share a core, if there are such. None: there is only one."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return None
    return cpus[0], next((cpu for cpu in cpus[1:] if cpu not in siblings(cpus[0])), cpus[1])


def describe():
    """{what: text} of the machine."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(re.search(r"MemTotal:\s+(\d+)", file.read())[1]) / (1 << 20)
    virtual = _output("systemd-detect-virt", "--vm")
    if virtual in (None, "none"):
        flags = _line("/proc/cpuinfo", "flags") or ""
        virtual = "yes" if " hypervisor" in flags else "none seen"
    return {
        "CPU": _line("/proc/cpuinfo", "model name") or platform.machine(),
        "CPUs": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "virtual machine": virtual,
        "kernel": platform.release(),
        "system": _line("/etc/os-release", "PRETTY_NAME") or "Linux",
    }


def versions(root, build, names):
    """{program: version} of Pollux and of the other systems of `names`."""
    found = {"Pollux": (_output(os.path.join(build, "pollux-server"), "--version") or "?").removeprefix("pollux-server ")}
    commit = _output("git", "-C", root, "describe", "--always", "--dirty")
    if commit:
        found["Pollux"] += f", commit {commit}"
    try:
        with open(os.path.join(build, "meson-info", "intro-buildoptions.json"), encoding="utf-8") as file:
            options = {option["name"]: option["value"] for option in json.load(file)}
        found["Pollux"] += f", built as {options['buildtype']}" + (f" for {options['march']}" if options.get("march") else "")
    except (OSError, ValueError, KeyError):
        pass
    if any(name.startswith("redis") for name in names):
        text = _output("redis-server", "--version") or ""
        found["redis-server"] = (re.search(r"v=(\S+)", text) or ["", "?"])[1]
        if shutil.which("redis-benchmark"):
            found["redis-benchmark"] = (_output("redis-benchmark", "--version") or "?").removeprefix("redis-benchmark ")
    if "memcached" in names:
        found["memcached"] = (_output("memcached", "--version") or "?").removeprefix("memcached ")
    dpdk = _output("pkg-config", "--modversion", "libdpdk")
    if dpdk and {"memif", "xdp"} & set(names):
        found["DPDK"] = dpdk
    return found


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


# --- jitter ----------------------------------------------------------------------------------------


def spin(cpu, seconds):
    """Gaps of a process that does nothing but look at the clock: {"ns": time, "gaps": [ns, …]}."""
    os.sched_setaffinity(0, {cpu})
    gc.disable()
    gaps, clock = [], time.perf_counter_ns
    begin = last = clock()
    end = begin + int(seconds * 1e9)
    while last < end:
        now = clock()
        if now - last > GAP_NS:
            gaps.append(now - last)
        last = now
    return {"ns": last - begin, "gaps": gaps}


def probe(cpus, seconds):
    """Both processes at once: [what `spin` returns for each CPU]."""
    started = [subprocess.Popen([sys.executable, os.path.realpath(__file__), str(cpu), str(seconds)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for cpu in cpus]
    try:
        return [json.loads(process.communicate(timeout=seconds + 60)[0]) for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


def jitter(runs):
    """What the probe says in all: `runs` is a list of what `probe` returned.

    Percentiles in microseconds are of the time for which something that arrives at a random moment must wait
    until both CPUs have run: a gap of g keeps arrivals waiting for longer than x during g - x of it.
    """
    cpus = len(runs[0])
    each = [[one[i] for one in runs] for i in range(cpus)]
    time_ns = [sum(one["ns"] for one in runs_of) for runs_of in each]
    gaps = [[gap for one in runs_of for gap in one["gaps"]] for runs_of in each]

    def waiting(x):
        return sum(sum(gap - x for gap in gaps[i] if gap > x) / time_ns[i] for i in range(cpus))

    def percentile(percent):
        share, low, high = 1 - percent / 100, 0.0, float(max(map(max, filter(None, gaps)), default=0))
        if waiting(0) <= share:
            return 0.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if waiting(middle) > share else (low, middle)
        return high / 1000

    return {
        "seconds": time_ns[0] / 1e9,
        "lost_percent": [100 * sum(gaps[i]) / time_ns[i] for i in range(cpus)],
        "gaps_per_second": [len(gaps[i]) / (time_ns[i] / 1e9) for i in range(cpus)],
        "longest_us": [max(gaps[i], default=0) / 1000 for i in range(cpus)],
        "latency_us": {"p50": percentile(50), "p99": percentile(99), "p99.9": percentile(99.9),
                       "max": max(max(gaps[i], default=0) for i in range(cpus)) / 1000},
    }


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who interrupts the run needs no traceback of this
    print(json.dumps(spin(int(sys.argv[1]), float(sys.argv[2]))))
