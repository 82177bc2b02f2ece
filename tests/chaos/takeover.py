"""How long the sessions of a dead or stopped harness stood still, from their own events.

A session counts when it was in mid-turn at that moment and its partition was the harness's by the lease
table. It moves again with its first event processed later: the dead cannot write, and what a stopped one
still writes is refused. The time includes what the session's step takes anyway (up to two seconds of text
or command), so it is an upper bound. A session can also stand still because another part is dead, such
as every brain: those takeovers are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agents.sessions.partition import partition_of
from tests.chaos.record import Action, Json, Run, instant

_HARMLESS = frozenset({"gateway", "haproxy", "haproxy manager", "serve proxy", "serve controller"})
"""Parts that no turn under way needs."""
_RECOVERY_SECONDS = 5.0
"""So long after its death (or its return) a part may still be missed."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """One session that changed its owner."""

    kind: str
    at: float
    session_id: str
    seconds: float
    alone: bool
    """Whether no other part that the session needs was hit in or shortly before this time."""


def takeovers(run: Run) -> Iterator[Takeover]:
    """Yield every session whose owner was hit in mid-turn."""
    by_partition: dict[int, list[tuple[str, list[Json]]]] = {}
    for visit in run.visits:
        if visit.session_id:
            partition = partition_of(visit.session_id, run.partitions)
            by_partition.setdefault(partition, []).append((visit.session_id, visit.final))
    for action in run.actions:
        for partition in action.owned or ():
            for session_id, log in by_partition.get(partition, ()):
                if (seconds := standstill(log, action.at)) is not None:
                    alone = _alone(action, seconds, run.actions)
                    yield Takeover(action.kind, action.at, session_id, seconds, alone)


def standstill(log: Sequence[Json], at: float) -> float | None:
    """Return how long a session that was in mid-turn *at* a time took to its next event; None if it was not."""
    busy = False
    for event in log:
        when = instant(event)
        if when is None:
            continue
        if when > at:
            return when - at if busy else None
        if event["type"] == "session.status_running":
            busy = True
        elif event["type"] in ("session.status_idle", "session.status_rescheduled"):
            busy = False  # it waits for its client, or for a brain's back-off
    return None


def _alone(action: Action, seconds: float, actions: Sequence[Action]) -> bool:
    for other in actions:
        if other is action or other.skipped or other.kind.split(" ", 1)[1] in _HARMLESS:
            continue
        if other.at <= action.at + seconds and (other.until or other.at) + _RECOVERY_SECONDS >= action.at:
            return False
    return True


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least *share* of all do not exceed; raises ValueError when there is none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
