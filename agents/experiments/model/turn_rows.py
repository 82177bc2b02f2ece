"""The trace of a run as turns: each session's row, and those of its model requests and tool calls."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.experiments.trace_rows import TraceRow


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Which sessions: those of one topology at one load."""

    topology: str
    arrivals: str
    load: float


@dataclass(frozen=True, slots=True)
class TurnRows:
    """One session's rows: its own, and those of its parts in the order of when they were asked for."""

    session: TraceRow
    inferences: Sequence[TraceRow]
    steps: Sequence[Sequence[TraceRow]]
    """The calls of each inference: those that were asked for after it had been, and before the next one."""

    @staticmethod
    def of(rows: Iterable[TraceRow]) -> TurnRows | None:
        """Return the turn that *rows*, of one request, are of; None without the session's own."""
        parts = sorted(rows, key=lambda row: row.due)
        session = next((row for row in parts if row.kind == "session"), None)
        if session is None:
            return None
        inferences = [row for row in parts if row.kind == "inference"]
        asked = [row.due for row in inferences]
        steps: list[list[TraceRow]] = [[] for _ in asked]
        for row in parts:
            if row.kind == "tool_call" and steps:
                steps[max(0, bisect_right(asked, row.due) - 1)].append(row)
        return TurnRows(session, inferences, steps)

    @property
    def calls(self) -> list[TraceRow]:
        """The calls of all steps."""
        return [call for calls in self.steps for call in calls]

    @property
    def complete(self) -> bool:
        """Whether its parts are a turn: all of them ended well, and an answer is the last."""
        return (
            bool(self.inferences)
            and not self.steps[-1]
            and all(row.ended is not None and row.outcome == "ok" for row in self.inferences)
            and all(row.ended is not None for row in self.calls)
        )

    @property
    def learnt_from(self) -> bool:
        """Whether it ended well after the warm-up, and its parts say how."""
        session = self.session
        return not session.warm_up and session.outcome == "ok" and session.ended is not None and self.complete


Turns = Mapping[Source, Sequence[TurnRows]]


def turns_of(rows: Iterable[TraceRow]) -> Turns:
    """Return the turns of each topology and load, in the order of their first rows."""
    found: dict[Source, dict[tuple[int, int], list[TraceRow]]] = {}
    for row in rows:
        if row.kind in ("session", "inference", "tool_call"):
            of_source = found.setdefault(Source(row.topology, row.arrivals, row.load), {})
            # Not by the session's id, which one that could not be made has none of.
            of_source.setdefault((row.round, row.request), []).append(row)
    return {
        source: [turn for parts in requests.values() if (turn := TurnRows.of(parts)) is not None]
        for source, requests in found.items()
    }
