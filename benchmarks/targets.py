"""What the platform must reach, each target with the reading of the raw results that decides it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """``read`` returns None when the run did not measure it."""

    name: str
    limit: float
    unit: str
    read: Callable[[Results], float | None]
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def _one_tool(results: Results, who: str) -> float | None:
    if "turns" not in results:
        return None
    return 1000 * statistics.median(results["turns"]["1 tool"][who])


def _floors(results: Results) -> float | None:
    over, under = _one_tool(results, "platform"), _one_tool(results, "floor")
    return over / under if over and under else None


def _rate_at_32(results: Results) -> float | None:
    rows = [row for row in results.get("load", []) if row["concurrency"] == 32]
    return len(rows[0]["seconds"]) / rows[0]["elapsed"] if rows else None


def _parallel(results: Results) -> float | None:
    spans = results.get("parallel_sleep")
    return statistics.median(spans) if spans else None


TARGETS = (
    Target("one-tool turn, p50", 30, "ms", lambda results: _one_tool(results, "platform")),
    Target("one-tool turn, p50, against the floor", 4, "floors", _floors),
    Target("one-tool sessions at concurrency 32", 60, "/s", _rate_at_32, at_least=True),
    Target("four parallel `sleep 0.2`, p50", 0.35, "s", _parallel),
    Target("hecaton up to ready", 25, "s", lambda results: results.get("ready_seconds")),
)
