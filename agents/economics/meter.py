"""What was consumed, as rows that can be added up and billed.

Invariant: a key counts once, however often it is recorded; so after a crash a session's rows may be
recorded again from its log. Recording is off the hot path: rows wait in a bounded buffer and reach
the database in groups. The SQL form is :class:`agents.store.meter.SqlMeter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from agents.ids import SessionId


class MeterKind(StrEnum):
    """What kind of thing was consumed."""

    MODEL_REQUEST = "model_request"
    TOOL_CALL = "tool_call"
    SANDBOX_SECONDS = "sandbox_seconds"


@dataclass(frozen=True, slots=True)
class MeterRow:
    """One consumption. ``key`` names it for ever (an event's id); ``name`` is the model, the tool or the sandbox."""

    key: str
    session_id: SessionId
    kind: MeterKind
    name: str
    at: datetime
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    seconds: float = 0.0
    micro_usd: int = 0
    brain: str = ""
    """Id (``name@version``) of the brain that answered a model request; empty when brains are not declared."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What the answers of one brain (by its id) cost that were recorded in one minute."""

    brain: str
    minute: int
    """Minutes since the epoch."""
    micro_usd: int


@dataclass(frozen=True, slots=True)
class MeterTotal:
    """The sum of all rows of one kind, name and brain."""

    kind: MeterKind
    name: str
    count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    seconds: float = 0.0
    micro_usd: int = 0
    brain: str = ""


class Meter(Protocol):
    """Adds up consumption."""

    async def record(self, rows: Sequence[MeterRow]) -> None:
        """Accept rows, all or none; a key that was recorded before is ignored. Raises Overloaded (buffer full)."""
        ...

    async def flush(self) -> None:
        """Return when every row accepted before is durable. Raises Unavailable."""
        ...

    async def totals(self, session_id: SessionId | None = None) -> Sequence[MeterTotal]:
        """Add up one session or everything, by kind, name and brain, what was accepted here included.

        Raises Unavailable.
        """
        ...

    async def spending(self, since: int) -> Sequence[Spending]:
        """Return what each declared brain has cost in each minute from *since* (minutes since the epoch) on.

        What was accepted here is included. Raises Unavailable.
        """
        ...


class MemoryMeter:
    """The Meter that forgets with its process."""

    def __init__(self) -> None:
        self._rows: dict[str, MeterRow] = {}

    async def record(self, rows: Sequence[MeterRow]) -> None:
        for row in rows:
            self._rows.setdefault(row.key, row)

    async def flush(self) -> None:
        return

    async def totals(self, session_id: SessionId | None = None) -> Sequence[MeterTotal]:
        groups: dict[tuple[MeterKind, str, str], list[MeterRow]] = {}
        for row in self._rows.values():
            if session_id in (None, row.session_id):
                groups.setdefault((row.kind, row.name, row.brain), []).append(row)
        return [_total(*group, groups[group]) for group in sorted(groups)]

    async def spending(self, since: int) -> Sequence[Spending]:
        spent: dict[tuple[str, int], int] = {}
        for row in self._rows.values():
            minute = minute_of(row.at)
            if row.brain and minute >= since:
                spent[row.brain, minute] = spent.get((row.brain, minute), 0) + row.micro_usd
        return [Spending(*each, spent[each]) for each in sorted(spent)]


def minute_of(moment: datetime) -> int:
    """Return the minutes since the epoch, begun ones not counted."""
    return int(moment.timestamp() // 60)


def microseconds(seconds: float) -> int:
    """Durations are added up as whole microseconds, so that no order of adding changes the sum."""
    return round(seconds * 1_000_000)


def _total(kind: MeterKind, name: str, brain: str, rows: Sequence[MeterRow]) -> MeterTotal:
    return MeterTotal(
        kind,
        name,
        count=len(rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cache_read_input_tokens=sum(row.cache_read_input_tokens for row in rows),
        cache_creation_5m_input_tokens=sum(row.cache_creation_5m_input_tokens for row in rows),
        cache_creation_1h_input_tokens=sum(row.cache_creation_1h_input_tokens for row in rows),
        seconds=sum(microseconds(row.seconds) for row in rows) / 1_000_000,
        micro_usd=sum(row.micro_usd for row in rows),
        brain=brain,
    )
