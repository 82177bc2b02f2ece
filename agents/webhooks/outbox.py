"""The port to the outbox: messages that wait for their receivers, kept in the store so that no restart loses one.

All processes share it, and it knows endpoints by their names alone. Who takes a delivery has it for a while; what a
process that died had taken is due again then, so that a message is delivered at least once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agents.governance.audit.entries import AuditEntry


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to one endpoint; ``attempts`` counts this one, too."""

    endpoint: str
    message_id: str
    body: str
    attempts: int


class Outbox(Protocol):
    """What waits, and how endpoints do. Every call raises Unavailable."""

    async def add(
        self, message_id: str, body: str, endpoints: Collection[str], *, now: datetime, most: int, expired: datetime
    ) -> Collection[str]:
        """Let a message wait for each of *endpoints*; returns those that it does not wait for.

        These are disabled, or have *most* messages waiting. To add one again changes nothing. What was added before
        *expired* is forgotten: nobody knows its endpoint any more.
        """
        ...

    async def take(self, room: Mapping[str, int], *, now: datetime, until: datetime) -> Sequence[Delivery]:
        """Take what is due, at most so many of each endpoint; nobody else gets it before *until*."""
        ...

    async def delivered(self, delivery: Delivery) -> None:
        """Forget a message that its endpoint has taken, and what that endpoint has failed at."""
        ...

    async def postpone(self, delivery: Delivery, due: datetime) -> None:
        """Let a message wait for its next attempt, unless somebody else has taken it meanwhile."""
        ...

    async def give_up(
        self, delivery: Delivery, *, patience: int, until: datetime | None, entry: AuditEntry, reason: str = ""
    ) -> bool:
        """Forget a message that its endpoint did not take, unless somebody else has taken it meanwhile.

        When it is the *patience*-th in a row, the endpoint is disabled until *until*: what waits for it is forgotten,
        too, and *entry* written to the audit trail in the same transaction. A registered endpoint is disabled until
        somebody enables it, for *reason*. Returns whether so.
        """
        ...

    async def bound(self, *, most: int, expired: datetime) -> Mapping[str, int]:
        """Forget what was added before *expired*, and the oldest messages of endpoints with more than *most*.

        It goes by what waits: nobody need know the endpoint, or be able to deliver to it. Returns how many each
        endpoint has lost by having too many.
        """
        ...
