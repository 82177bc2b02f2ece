"""Calls of the platform's own in a session's sandbox: no model asked for them, and the log does not know of them.

No intent goes before one, so only what may be done twice without harm may be asked for so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from agents.hands.port import ToolCall, ToolResult
from agents.sessions.events import SessionRecord
from agents.sessions.ledger import workspace_of
from agents.sessions.ports import HarnessPorts

_SECONDS = 60.0


async def own_call(
    ports: HarnessPorts, record: SessionRecord, call_id: str, name: str, body: Mapping[str, Any]
) -> ToolResult:
    """Run one call and return its result. Raises HecatonError where no host takes it, TimeoutError after a minute."""
    call = ToolCall(call_id, name, dict(body), _SECONDS)
    async with asyncio.timeout(_SECONDS), aclosing(ports.hands.execute(workspace_of(record), [call])) as results:
        return await anext(results)
