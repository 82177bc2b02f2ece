"""What GPUs and hands did while a round ran: read from the platform's own figures, some times in a stretch of it.

A *slot* of the hands is a place for one tool call: of a hand's replica as many as its ``concurrency``, of a sandbox
one. In a monolith each place for a turn is one, for the tools run in the turn, and nothing but the GPUs is paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import Any
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from agents.clock import rfc3339
from agents.economics.roi.inputs import PriceList
from agents.experiments.figures_of_rounds import RoundFigures
from agents.experiments.running.platform_api import PlatformApi
from agents.experiments.running.recording import RoundKey
from agents.experiments.trace_rows import TraceRow

GPU_BUSY = "gpu_busy_seconds"
"""End of the name of the metric in which simulated brains say how long their GPUs worked."""
_SANDBOXES = "hecaton_sandboxes_live"
_LOOKS = 4
"""Times that slots are counted in a round; hands that autoscale have more at one time than at another."""
_SERVED_CALLS = "."
"""In the names of calls that a hand ran: their seconds are in the books; those of sandbox tools are taken from rows."""


@dataclass(frozen=True, slots=True)
class Slots:
    """What was held for tool calls at one moment."""

    places: float
    containers: float
    """Processes or sandboxes of their own, beside the GPUs' machines."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a topology holds for a round, whatever it does."""

    gpus: int
    turn_places: int
    """Of a monolith: the turns that all its replicas work on at a time; 0 where brains and hands are apart."""


class RoundObserver:
    """Looks at a platform while it works, from the end of the warm-up to the round's end."""

    def __init__(self, api: PlatformApi, held: Held, prices: PriceList) -> None:
        """What is *held* is paid for by *prices*."""
        self._api = api
        self._held = held
        self._prices = prices
        self._slots: list[Slots] = []
        self._busy: float | None = None
        self._began = self._ended = datetime.now(UTC)

    async def watch(self, seconds: float) -> None:
        """Look at both ends of the next *seconds*, and between. Raises Refused, OSError."""
        metrics = await self._metrics()
        known, worked = _gpu_busy(metrics), 0.0
        self._began = datetime.now(UTC)
        for look in range(_LOOKS):
            self._slots.append(await self._count(metrics))
            passed = (datetime.now(UTC) - self._began).total_seconds()
            await asyncio.sleep((look + 1) * seconds / _LOOKS - passed)
            self._ended = datetime.now(UTC)
            # Each time, for of a process that was killed only what it did since the last look is lost.
            metrics = await self._metrics()
            busy = _gpu_busy(metrics)
            worked += sum(_grown(known, busy))
            known |= busy  # one that is missing did not answer, and goes on from what it said before
        self._busy = worked if known else None

    async def figures(self, key: RoundKey, rows: Sequence[TraceRow]) -> RoundFigures:
        """Return the figures of what was watched; *rows* are the round's. Raises Refused, OSError."""
        seconds = (self._ended - self._began).total_seconds()
        since, until = (quote(rfc3339(moment)) for moment in (self._began, self._ended))
        usage = await self._api.get(f"/-/usage?by=hand&since={since}&until={until}")
        served = sum(row["run_ms"] for row in usage["data"]) / 1000
        from_, to = (moment.timestamp() - key.zero for moment in (self._began, self._ended))
        prices, containers = self._prices, fmean(each.containers for each in self._slots)
        hourly = self._held.gpus * float(prices.gpu_usd_per_hour) + containers * float(prices.cpu_usd_per_hour)
        return RoundFigures(
            topology=key.topology,
            arrivals=key.arrivals,
            load=key.load,
            round=key.round,
            seconds=seconds,
            gpus=self._held.gpus,
            # Both ends are read a moment late, and not always by the same moment.
            gpu_busy_seconds=None if self._busy is None else min(self._busy, self._held.gpus * seconds),
            hands=fmean(each.places for each in self._slots),
            hand_busy_seconds=served + sum(_sandbox_seconds(rows, from_, to)),
            usd=hourly * seconds / 3600,
        )

    async def _metrics(self) -> list[Sample]:
        text = (await self._api.ask("GET", "/metrics"))[0].decode()
        return [each for family in text_string_to_metric_families(text) for each in family.samples]

    async def _count(self, metrics: Sequence[Sample]) -> Slots:
        if self._held.turn_places:
            return Slots(self._held.turn_places, 0)
        hands: list[Mapping[str, Any]] = (await self._api.get("/-/hands"))["data"]
        sandboxes = sum(each.value for each in metrics if each.name == _SANDBOXES)
        places = sum(hand["replicas"] * hand["definition"]["concurrency"] for hand in hands)
        return Slots(places + sandboxes, sum(hand["replicas"] for hand in hands) + sandboxes)


def _gpu_busy(metrics: Sequence[Sample]) -> dict[str, float]:
    """Return the seconds that each GPU worked since it came up."""
    return {str(sorted(each.labels.items())): each.value for each in metrics if each.name.endswith(GPU_BUSY)}


def _grown(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[float]:
    """Yield by how much each figure grew; one whose process began anew grew from nothing."""
    for name, value in after.items():
        since = before.get(name, 0.0)
        yield value - since if value >= since else value


def _sandbox_seconds(rows: Sequence[TraceRow], since: float, until: float) -> Iterator[float]:
    """Yield what each call of a sandbox tool took of the time from *since* to *until*."""
    for row in rows:
        if row.kind == "tool_call" and _SERVED_CALLS not in row.name:
            ended = until if row.ended is None else row.ended
            yield max(0.0, min(ended, until) - max(row.began, since))
