"""What a batch asks of a platform: sessions, through the official SDK, each request made once.

Whoever calls decides what may be asked again (``patience``); the SDK's own retries are off, for one of them could make
a second session.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import httpx2
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

from agents.batch.row import Spent
from agents.batch.task_file import ATTEMPT_KEY, BATCH_KEY, ROW_KEY, Task
from agents.sessions.wire import LIST_COST_HEADER, MICRO_PER_CENT

_PAGE = 1000
_LISTED = 100
_EARLIER_SECONDS = 600
"""How far the server's clock may be behind ours."""
_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
"""The server pings every 15 s; four missed pings mean that a stream is dead."""

Json = dict[str, Any]


def patient_client(client: AsyncAnthropic, concurrency: int) -> AsyncAnthropic:
    """Return *client* without retries of its own, and with room for the connections of so many sessions."""
    limits = httpx2.Limits(max_connections=2 * concurrency + 10, max_keepalive_connections=concurrency)
    transport = DefaultAsyncHttpxClient(limits=limits, timeout=_TIMEOUT)
    return client.with_options(max_retries=0, timeout=_TIMEOUT, http_client=transport)


class PlatformSessions:
    """The sessions of one batch. All methods raise the SDK's errors."""

    def __init__(self, client: AsyncAnthropic, batch: str, *, agent: str | None, environment: str | None) -> None:
        """*agent* and *environment* are for tasks that name none."""
        self._sessions = client.beta.sessions
        self._batch = batch
        self._agent = agent
        self._environment = environment

    async def create(self, task: Task, line: int, attempt: int) -> str:
        """Make the session of a row; nothing is sent to it yet. Returns its id."""
        named = {BATCH_KEY: self._batch, ROW_KEY: str(line), ATTEMPT_KEY: str(attempt)}
        optional: Json = {"title": task.title, "vault_ids": task.vault_ids, "budget": task.budget}
        body: Json = {
            "agent": task.agent or self._agent,
            "environment_id": task.environment or self._environment,
            "metadata": {**task.metadata, **named},
            **{name: value for name, value in optional.items() if value},
        }
        return (await self._sessions.create(**body)).id

    async def find(self, task: Task, line: int, attempt: int, began: float) -> str | None:
        """Return the session that was made for a row at *began* (seconds since 1970) or later, None without one."""
        named = {BATCH_KEY: self._batch, ROW_KEY: str(line), ATTEMPT_KEY: str(attempt)}
        since = datetime.fromtimestamp(began - _EARLIER_SECONDS, UTC)
        agent = task.agent or self._agent
        only: Json = {} if agent is None else {"agent_id": agent if isinstance(agent, str) else agent.get("id")}
        found = self._sessions.list(created_at_gte=since, order="asc", limit=_LISTED, **only)
        async for session in found:
            if named.items() <= session.metadata.items():
                return session.id
        return None

    async def send(self, session: str, events: Sequence[Mapping[str, Any]], key: str) -> None:
        """Send events; the same ones with the same *key*, sent again soon, are taken in once."""
        sent = cast("Any", list(events))
        await self._sessions.events.send(session, events=sent, extra_headers={"idempotency-key": key})

    async def history(self, session: str) -> list[Json]:
        """Return all that is in the session's log, or waits for its place there, oldest first."""
        found = self._sessions.events.list(session, limit=_PAGE)
        return [event.to_dict(mode="json") async for event in found]

    @asynccontextmanager
    async def stream(self, session: str) -> AsyncGenerator[AsyncIterator[Json]]:
        """Open the session's stream: whatever happens from now on."""
        stream = await self._sessions.events.stream(session)
        try:
            yield (event.to_dict(mode="json") async for event in stream)
        finally:
            await stream.close()

    async def spent(self, session: str) -> tuple[Spent, str | None]:
        """Return what the session used, and how its outcome was judged."""
        answer = await self._sessions.with_raw_response.retrieve(session)
        found = await answer.parse()
        usage: Json = found.usage.to_dict(mode="json") if found.usage else {}
        written: Json = usage.get("cache_creation") or {}
        judged = found.outcome_evaluations or []
        spent = Spent(
            input_tokens=usage.get("input_tokens") or 0,
            output_tokens=usage.get("output_tokens") or 0,
            cache_read_input_tokens=usage.get("cache_read_input_tokens") or 0,
            cache_creation_input_tokens=sum(int(value or 0) for value in written.values()),
            cost_micro_usd=_cost(answer.headers.get(LIST_COST_HEADER), usage.get("list_cost") or {}),
            active_seconds=found.stats.active_seconds or 0.0 if found.stats else 0.0,
        )
        return spent, judged[-1].result if judged else None


def _cost(exact: str | None, listed: Mapping[str, Any]) -> int:
    """Return micro-USD: from our header, or by the whole cents that any server of the API tells."""
    if exact is not None and exact.isdecimal():
        return int(exact)
    return int(Decimal(str(listed.get("amount") or 0)) * MICRO_PER_CENT)
