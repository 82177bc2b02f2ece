"""What is kept of every call that a server ran: the base of usage reports and of bills.

For a session's calls the log has it with the call's result, and in the same commit it lies ready for the books
(``agents.store.call_records``); a call without a session is laid ready by itself (``metered_calls``). From there it
goes into Parquet files (``call_files``). A call counts once, by its id, however often it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

WEB = "web"
"""Stands for a hand where the platform's own web tools ran the call."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. Money is whole micro-USD, times whole milliseconds and (CPU) microseconds."""

    key: str
    """The id of the call's tool-use event; of a call without a session, an id of its own."""
    at: datetime
    """When its result was logged, or had come."""
    tenant: str
    """The name of the API key that made the session, or the call; empty where there are no keys."""
    session: str
    """Empty for the call of an MCP client, which has none."""
    hand: str
    """The hand's name, ``mcp:NAME`` for the agent's server NAME elsewhere, ``web`` for the web tools."""
    version: str
    """The hand's version; empty for what is none."""
    tool: str
    outcome: str
    cached: bool
    queue_ms: int
    run_ms: int
    cpu_us: int
    bytes_in: int
    bytes_out: int
    micro_usd: int
    """What the tenant pays."""
    provider_micro_usd: int
    """What of it is the provider's."""


@dataclass(frozen=True, slots=True)
class LogPlace:
    """A place in the log of all sessions: what comes after it has not been looked at."""

    session: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class LoggedCalls:
    """Calls that the log tells of, and where to look on; None: that was all."""

    calls: Sequence[CallRecord]
    after: LogPlace | None


class CallRecords(Protocol):
    """The calls that have ended and of which the books have no record yet. Every call raises Unavailable."""

    async def begin(self, call: CallRecord, until: datetime) -> None:
        """Keep a call without a session before it is sent. Idempotent.

        Unless it has ended by *until*, who was to end it is gone, and it waits for the books from then on as it is.
        """
        ...

    async def end(self, call: CallRecord, *, begun: bool) -> None:
        """Lay a call without a session ready for the books: what came of it is known. Idempotent.

        Raises Conflict when it has *begun* and its time was over: the books may have it as it began.
        """
        ...

    async def pending(self, limit: int) -> Sequence[CallRecord]:
        """Return some that wait, the oldest keys first."""
        ...

    async def settle(self, keys: Sequence[str]) -> None:
        """Forget calls that the books have now. Idempotent."""
        ...

    async def logged(self, after: LogPlace, limit: int) -> LoggedCalls:
        """Make the records of calls anew from the log of the sessions that there are.

        Looks at up to *limit* results, and so may return fewer calls, or none.
        """
        ...


def call_record(kept: Mapping[str, Any], *, key: str, at: datetime, tenant: str, session: str) -> CallRecord:
    """Make the record of a call from what the hidden part of its result *kept* (``agents.sessions.served.account``)."""
    name, _, version = str(kept["hand"]).partition("@")
    server = str(kept["server"])
    return CallRecord(
        key=key,
        at=at,
        tenant=tenant,
        session=session,
        hand=name or (f"mcp:{server}" if server else WEB),
        version=version,
        tool=kept["tool"],
        outcome=kept["outcome"],
        cached=kept["cached"],
        queue_ms=round(kept["queue_seconds"] * 1000),
        run_ms=round(kept["run_seconds"] * 1000),
        cpu_us=round(kept["cpu_seconds"] * 1_000_000),
        bytes_in=kept["bytes_in"],
        bytes_out=kept["bytes_out"],
        # Calls that were logged before there were prices cost nothing.
        micro_usd=kept.get("micro_usd", 0),
        provider_micro_usd=kept.get("provider_micro_usd", 0),
    )
