"""Kills processes of the platform that an experiment has started, as its schedule of faults says.

Which process is which part is told by its title, which Ray writes. Only descendants of this process are looked at, so
nothing else on the machine can be taken for a part, and a platform elsewhere has no processes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from agents.experiments.plan import FaultPart
from agents.experiments.running.driving import Driver
from agents.experiments.running.recording import RoundKey
from agents.experiments.trace_rows import TraceRow
from agents.experiments.work.faults import Fault

NO_PROCESS = "no_process"
"""The outcome of a fault whose part had no process at that moment: the one before it had not come back yet."""
_MONOLITH = "ray::ServeReplica:hecaton-monolith"
"""All parts in one process, which dies of a fault of any."""
_TITLES: Mapping[FaultPart, tuple[str, ...]] = {
    "brain": ("ray::ServeReplica:hecaton-brain", _MONOLITH),
    "harness": ("ray::HarnessActor", _MONOLITH),
    "hand": ("ray::ServeReplica:hecaton-hand", _MONOLITH),
    "sandbox": ("ray::SandboxHostActor", _MONOLITH),
}


@dataclass(frozen=True, slots=True)
class Killed:
    """What became of a fault."""

    fault: Fault
    at: float
    """Seconds after the round's beginning."""
    found: bool
    """Whether there was a process to kill."""


async def kill_when_due(faults: Sequence[Fault], driver: Driver) -> list[Killed]:
    """Kill a process for each of *faults* when it is due in the round that *driver* plays; return what became of it."""
    killed: list[Killed] = []
    for fault in faults:
        await driver.sleep_until(fault.due)
        found = await asyncio.to_thread(kill_one, fault)
        killed.append(Killed(fault, driver.now(), found))
    return killed


def kill_one(fault: Fault) -> bool:
    """Kill one of the processes of a fault's part; returns whether there was one."""
    found = processes_of(fault.part)
    with suppress(psutil.NoSuchProcess):
        if found:
            found[int(fault.draw * len(found))].kill()
            return True
    return False


def processes_of(part: FaultPart) -> list[psutil.Process]:
    """Return the living processes below this one that do a part's work, the oldest first."""
    found: list[tuple[float, int, psutil.Process]] = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            title = " ".join(process.cmdline())  # empty of one that has ended, but was not collected yet
            if title.startswith(_TITLES[part]):
                found.append((process.create_time(), process.pid, process))
    return [process for *_, process in sorted(found, key=lambda each: each[:2])]


def fault_rows(key: RoundKey, killed: Sequence[Killed]) -> list[TraceRow]:
    """Return a row for each fault of a round; its ``name`` is the part, its ``request`` its place among the faults."""
    return [
        TraceRow(
            kind="fault",
            topology=key.topology,
            workload="",
            arrivals=key.arrivals,
            load=key.load,
            round=key.round,
            request=number,
            session="",
            name=each.fault.part,
            due=each.fault.due,
            began=each.at,
            ended=each.at,
            outcome="ok" if each.found else NO_PROCESS,
        )
        for number, each in enumerate(killed)
    ]
