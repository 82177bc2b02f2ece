"""One round on one platform: every load of the plan is played, and what came of it goes into the trace."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.experiments.figures_of_rounds import FiguresFile
from agents.experiments.plan import Arrivals, Plan, Topology
from agents.experiments.running.deploying import brain_of, turn_places
from agents.experiments.running.driving import Driver, Played, Stretch, interrupt_unfinished
from agents.experiments.running.killing import fault_rows, kill_when_due
from agents.experiments.running.observing import Held, RoundObserver
from agents.experiments.running.platform_api import PlatformApi
from agents.experiments.running.pricing import cost_of
from agents.experiments.running.raw_http import Refused
from agents.experiments.running.recording import RoundKey, SessionRecorder, events_of_session
from agents.experiments.trace_rows import TraceRow, TraceWriter
from agents.experiments.work.arrivals import Arrival, arrivals_of
from agents.experiments.work.faults import faults_of
from agents.experiments.work.workloads import is_right, user_message, workload_agent
from agents.statistics.percentiles import percentile

_READING_AT_ONCE = 8
"""Logs that are read at a time once a round is over."""


@dataclass(frozen=True, slots=True)
class Books:
    """Where an experiment's results go, and who is told on the way."""

    trace: TraceWriter
    figures: FiguresFile
    tell: Callable[[str], None]


class Round:
    """One round of one topology on a platform that runs."""

    def __init__(self, plan: Plan, topology: Topology, number: int, settings: Mapping[str, Any], books: Books) -> None:
        """*settings* are the platform's (``deploying.platform_settings``)."""
        self._plan = plan
        self._topology = topology
        self._number = number
        self._settings = settings
        self._books = books
        self._held = Held(plan.gpus, turn_places(settings))

    async def play(self, api: PlatformApi) -> None:
        """Play all loads, one after the other. Raises Refused or OSError when the platform does not answer."""
        bodies = await self._set_up(api)
        for arrivals in self._plan.arrivals:
            for load in arrivals.load:
                await self._play_load(api, bodies, arrivals, load)

    async def _set_up(self, api: PlatformApi) -> Mapping[str, Mapping[str, object]]:
        """Make an agent for each workload and the environment of all; return what creates sessions."""
        # A database that outlives platforms has the environments of earlier rounds.
        name = f"experiment-{secrets.token_hex(4)}"
        environment = await api.post("/v1/environments", {"name": name, "config": {"type": "cloud"}})
        bodies: dict[str, Mapping[str, object]] = {}
        for workload in self._plan.workloads:
            agent = await api.post("/v1/agents", workload_agent(workload, brain_of(self._settings)))
            bodies[workload] = {"agent": agent["id"], "environment_id": environment["id"]}
        return bodies

    async def _play_load(
        self, api: PlatformApi, bodies: Mapping[str, Mapping[str, object]], arrivals: Arrivals, load: float
    ) -> None:
        plan, told = self._plan, f"round {self._number + 1}, {self._topology.name}, {arrivals.kind} {load:g}"
        stretch = Stretch(plan.seconds, plan.warm_up_seconds, plan.patience_seconds)
        due = arrivals_of(plan, arrivals, load, self._number)
        driver = Driver(api, bodies, partial(_text, plan.seed), stretch)
        observer = RoundObserver(api, self._held, plan.prices)
        watching = asyncio.create_task(_watch(observer, driver, stretch))
        killing = asyncio.create_task(kill_when_due(faults_of(plan, arrivals, load, self._number), driver))
        try:
            if arrivals.kind == "closed":
                await driver.closed_loop(due, int(load))
            else:
                await driver.open_loop(due)
            killed = await killing
            await asyncio.wait([watching])
        finally:
            watching.cancel()
            killing.cancel()
        if not await interrupt_unfinished(api, driver.played):
            self._books.tell(f"{told}: sessions still run that were interrupted; the next load bears them")
        key = RoundKey(self._topology.name, arrivals.kind, load, self._number, driver.zero)
        rows = [*await self._rows(api, key, driver.played), *fault_rows(key, killed)]
        self._books.trace.add(rows)
        try:
            await watching
            figures = await observer.figures(key, rows)
        except (Refused, OSError) as failure:
            # They may lack where a platform is too busy, or too broken, to tell them; its sessions are measured all
            # the same.
            self._books.tell(f"{told}: no figures of GPUs and hands: {str(failure) or type(failure).__name__}")
        else:
            self._books.figures.add(figures)
        self._books.tell(f"{told}: {summary(rows)}")

    async def _rows(self, api: PlatformApi, key: RoundKey, played: Sequence[Played]) -> list[TraceRow]:
        recorder = SessionRecorder(key, cost_of(self._settings), partial(_is_right, self._plan.seed))
        until = self._plan.seconds + self._plan.patience_seconds
        places = asyncio.Semaphore(_READING_AT_ONCE)

        async def rows_of(each: Played) -> list[TraceRow]:
            async with places:
                events = await events_of_session(api, each.session) if each.session else []
            return recorder.rows(each, events, until)

        return [row for rows in await asyncio.gather(*map(rows_of, played)) for row in rows]


def summary(rows: Sequence[TraceRow]) -> str:
    """Say in a line how a round's sessions fared, without those of its warm-up."""
    sessions = [row for row in rows if row.kind == "session" and not row.warm_up]
    outcomes = Counter(row.outcome for row in sessions)
    seconds = [row.ended - row.due for row in sessions if row.ended is not None]
    words = [f"{len(sessions)} sessions", *(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))]
    if seconds:
        words.append(f"p50 {percentile(seconds, 50):.2f} s, p95 {percentile(seconds, 95):.2f} s")
    faults = Counter(row.name if row.outcome == "ok" else row.outcome for row in rows if row.kind == "fault")
    if faults:
        words.append(f"killed: {', '.join(f'{count} {part}' for part, count in sorted(faults.items()))}")
    return ", ".join(words)


async def _watch(observer: RoundObserver, driver: Driver, stretch: Stretch) -> None:
    """Watch the round but for its warm-up. Raises Refused, OSError."""
    await driver.sleep_until(stretch.warm_up)
    await observer.watch(stretch.seconds - driver.now())


def _text(seed: int, arrival: Arrival) -> str:
    return user_message(arrival, seed)


def _is_right(seed: int, arrival: Arrival, answer: str) -> bool:
    return is_right(arrival, seed, answer)
