"""What a tree of processes costs, read from /proc: CPU seconds, proportional memory, descriptors, by part.

A part's CPU includes children that it has already collected (sandboxes that ended count to their host),
so nothing that ran between two snapshots is missed except short-lived processes whose parent still runs
without having collected them.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_PARTS = (
    ("ray::ServeReplica:hecaton-gateway", "gateway"),
    ("ray::ServeReplica:hecaton-brain", "brain"),
    ("ray::Harness", "harness"),
    ("ray::SandboxHost", "sandbox host"),
    ("bwrap", "sandboxes"),
    ("/bin/bash", "sandboxes"),
    ("haproxy -db", "haproxy"),
    ("ray::HAProxyManager", "haproxy manager"),
    ("ray::ProxyActor", "serve proxy"),
    ("ray::ServeController", "serve controller"),
    ("ray::Fleet", "fleet"),
    ("/gcs_server", "ray gcs"),
    ("/raylet", "raylet"),
    ("ray-dashboard-", "ray dashboard"),
    ("multiprocessing.", "ray dashboard"),
    ("ray::DashboardAgent", "ray dashboard"),
    ("ray::RuntimeEnvAgent", "ray dashboard"),
    ("/dashboard/dashboard.py", "ray dashboard"),
    ("/log_monitor.py", "ray dashboard"),
    ("_private/monitor.py", "ray dashboard"),
    ("-m actors.up", "platform process"),
    ("-m benchmarks.floor", "floor"),
)
REST = "other"
_COLLECTORS = frozenset({"sandbox host", "sandboxes", "floor"})
"""The parts whose children are sandboxes."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment; CPU in seconds, ``collected`` that of children it has waited for."""

    pid: int
    parent: int
    part: str
    cpu: float
    collected: float


Snapshot = dict[int, Process]


def _part(command: str, name: str) -> str:
    for mark, part in _PARTS:
        if mark in command:
            return part
    return "sandboxes" if name in {"bash", "bwrap", "sleep", "true"} else REST


def _read(pid: int) -> tuple[int, str, float, float]:
    """Return parent, short name, CPU seconds of the process, CPU seconds of its collected children."""
    head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    fields = tail.split()
    own, collected = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return int(fields[1]), head.partition("(")[2], own / TICKS, collected / TICKS


def snapshot(root: int) -> Snapshot:
    """Return *root* and everything below it."""
    table: dict[int, tuple[int, str, float, float]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                table[int(entry)] = _read(int(entry))
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile
    children: dict[int, list[int]] = defaultdict(list)
    for pid, (parent, *_rest) in table.items():
        children[parent].append(pid)
    found, waiting = dict[int, Process](), [root] if root in table else []
    while waiting:
        pid = waiting.pop()
        waiting += children[pid]
        parent, name, cpu, collected = table[pid]
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found[pid] = Process(pid, parent, _part(command, name), cpu, collected)
    return found


def cpu_between(before: Snapshot, after: Snapshot) -> dict[str, float]:
    """CPU seconds by part. What a part collected from sandboxes is counted as sandboxes."""
    spent: defaultdict[str, float] = defaultdict(float)
    for pid, now in after.items():
        then = before.get(pid)
        spent[now.part] += now.cpu - (then.cpu if then else 0.0)
        collected = now.collected - (then.collected if then else 0.0)
        part = "sandboxes" if now.part in _COLLECTORS else now.part
        # A sandbox's processes that were alive at the first snapshot had spent some of this before it.
        spent[part] += collected
    for pid, then in before.items():
        if pid not in after and then.part == "sandboxes":
            spent["sandboxes"] -= then.cpu + then.collected
    return {part: max(0.0, seconds) for part, seconds in spent.items()}


def memory(processes: Snapshot) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes by part: proportional memory (PSS), and the part of it that no file backs.

    Strangers that map the same libraries lower the first while they live; the second is the platform's alone.
    """
    proportional: Counter[str] = Counter()
    unbacked: Counter[str] = Counter()
    for pid, process in processes.items():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        proportional[process.part] += 1024 * kib["Pss"]
        unbacked[process.part] += 1024 * (kib["Pss_Anon"] + kib["Pss_Shmem"])
    return dict(proportional), dict(unbacked)


def counts(processes: Snapshot) -> dict[str, int]:
    """How many processes, open descriptors and threads there are."""
    descriptors = threads = 0
    for pid in processes:
        try:
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            threads += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    sandboxes = sum(1 for process in processes.values() if process.part == "sandboxes")
    return {
        "processes": len(processes),
        "sandbox_processes": sandboxes,
        "descriptors": descriptors,
        "threads": threads,
    }


def machine_cpu() -> tuple[float, float]:
    """Return the busy and the total CPU seconds of the machine since its start."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / TICKS, sum(fields) / TICKS


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time: what each part spent in it, and what the machine spent besides."""

    seconds: float
    cpu: dict[str, float]
    machine: float
    load_average: float


class PhaseMeter:
    """Measures from its making to ``end``."""

    def __init__(self, roots: dict[str, int]) -> None:
        """*roots* names processes to measure; the tree below each is split into parts where parts are known."""
        self._roots = roots
        self._before = {name: snapshot(pid) for name, pid in roots.items()}
        self._machine = machine_cpu()[0]
        self._started = time.perf_counter()

    def end(self) -> Phase:
        seconds = time.perf_counter() - self._started
        machine = machine_cpu()[0] - self._machine
        spent: dict[str, float] = {}
        for name, pid in self._roots.items():
            parts = cpu_between(self._before[name], snapshot(pid))
            if name == "stub":
                parts = {name: sum(parts.values())}
            spent |= parts
        return Phase(seconds, spent, machine, os.getloadavg()[0])
