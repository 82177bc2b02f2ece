"""Faults of a round: the same for every topology, within their bounds, and really the named part's process."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, cast

import pytest

from agents.experiments.plan import FAULT_SEEN_SECONDS, FaultPart, Plan
from agents.experiments.running.driving import Driver
from agents.experiments.running.killing import NO_PROCESS, fault_rows, kill_when_due, processes_of
from agents.experiments.running.recording import RoundKey
from agents.experiments.work.faults import Fault, faults_of
from tests.unit.experiments.experiment_rows import plan_of

PARTS: list[FaultPart] = ["brain", "harness", "hand", "sandbox"]
KEY = RoundKey("monolith", "poisson", 1.0, 2, 0.0)
_TITLED = "import sys, time; print('up', flush=True); time.sleep(60)"


def faulty(**changes: Any) -> Plan:
    return plan_of(seconds=1000, warm_up_seconds=100, faults={"every_seconds": 2, "parts": PARTS}, **changes)


def schedule(plan: Plan, round_number: int = 0) -> list[Fault]:
    return faults_of(plan, plan.arrivals[0], plan.arrivals[0].load[0], round_number)


def test_faults_have_exponential_gaps_between_the_warm_up_and_the_rounds_end() -> None:
    faults = schedule(faulty())
    due = [fault.due for fault in faults]
    assert due == sorted(due)
    assert due[0] >= 100 and due[-1] < 1000 - FAULT_SEEN_SECONDS
    gaps = [after - before for before, after in pairwise(due)]
    assert 1.7 < sum(gaps) / len(gaps) < 2.3
    # Of exponential gaps a share of 1 - 1/e is below their mean.
    assert 0.57 < sum(gap < 2 for gap in gaps) / len(gaps) < 0.69
    assert all(0 <= fault.draw < 1 for fault in faults)


def test_every_part_is_hit_as_often() -> None:
    hits = Counter(fault.part for fault in schedule(faulty()))
    assert set(hits) == set(PARTS)
    assert max(hits.values()) - min(hits.values()) <= 1


def test_the_schedule_depends_on_seed_and_round_and_on_no_topology() -> None:
    plan = faulty()
    other = plan.model_copy(update={"topologies": plan.topologies[:1]})
    assert schedule(plan) == schedule(other)
    assert schedule(plan) != schedule(plan, 1)
    assert schedule(plan) != schedule(faulty(seed=2))


def test_a_plan_without_faults_has_none() -> None:
    assert schedule(plan_of()) == []


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def child(started: ExitStack, title: str) -> subprocess.Popen[str]:
    """Start a process that calls itself *title*, as Ray's workers do."""
    process = subprocess.Popen([title, "-c", _TITLED], executable=sys.executable, stdout=subprocess.PIPE, text=True)
    started.enter_context(process)
    started.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


class Clock:
    """A round in which every moment is now."""

    async def sleep_until(self, moment: float) -> None:
        return

    def now(self) -> float:
        return 7.5


async def kill(*faults: Fault) -> list[tuple[str, str]]:
    rows = fault_rows(KEY, await kill_when_due(faults, cast(Driver, Clock())))
    assert [(row.kind, row.round, row.request, row.due, row.began) for row in rows] == [
        ("fault", 2, number, fault.due, 7.5) for number, fault in enumerate(faults)
    ]
    return [(row.name, row.outcome) for row in rows]


@pytest.mark.parametrize(
    ("part", "title"),
    [
        ("brain", "ray::ServeReplica:hecaton-brain-simulated@1:brain"),
        ("harness", "ray::HarnessActor.run"),
        ("hand", "ray::ServeReplica:hecaton-hand-crm@1:hand"),
        ("sandbox", "ray::SandboxHostActor"),
    ],
)
async def test_a_fault_of_a_part_kills_its_process_and_no_other(
    started: ExitStack, part: FaultPart, title: str
) -> None:
    others = [child(started, name) for name in ("ray::ServeReplica:hecaton-gateway:gateway", f"tail {title}")]
    hit = child(started, title)
    assert await kill(Fault(6.0, part, 0.0)) == [(part, "ok")]
    assert hit.wait(10) == -9
    assert [other.poll() for other in others] == [None, None]


@pytest.mark.parametrize("part", PARTS)
async def test_a_fault_of_any_part_kills_the_monolith(started: ExitStack, part: FaultPart) -> None:
    hit = child(started, "ray::ServeReplica:hecaton-monolith:monolith")
    assert await kill(Fault(6.0, part, 0.0)) == [(part, "ok")]
    assert hit.wait(10) == -9


async def test_a_fault_whose_part_has_no_process_is_told_as_such(started: ExitStack) -> None:
    hit = child(started, "ray::HarnessActor")
    assert await kill(Fault(6.0, "brain", 0.0), Fault(6.1, "harness", 0.9)) == [
        ("brain", NO_PROCESS),
        ("harness", "ok"),
    ]
    assert hit.wait(10) == -9
    assert await kill(Fault(6.2, "harness", 0.9)) == [("harness", NO_PROCESS)]


async def test_the_draw_chooses_among_the_processes_of_a_part_in_the_order_of_their_age(started: ExitStack) -> None:
    hosts = [child(started, "ray::SandboxHostActor") for _ in range(3)]
    assert [process.pid for process in processes_of("sandbox")] == [host.pid for host in hosts]
    await kill(Fault(6.0, "sandbox", 0.5))
    assert hosts[1].wait(10) == -9
    assert [hosts[0].poll(), hosts[2].poll()] == [None, None]
