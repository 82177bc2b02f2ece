"""The example hands as if what they ask were elsewhere: each call of a tool waits for its backend's time, then runs.

Where no experiment has set that time (``agents.experiments.work.hand_times``), they are the example hands as they are.
"""

from __future__ import annotations

import os
from asyncio import sleep
from typing import TYPE_CHECKING, Any

from agents.example_hands.analytics import server as analytics
from agents.example_hands.billing import server as billing
from agents.example_hands.crm import server as crm
from agents.experiments.work.hand_times import call_seconds, from_variables

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

__all__ = ["analytics", "billing", "crm"]


async def _elsewhere(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    times = from_variables(os.environ)
    if times.median_seconds > 0 and ctx.method == "tools/call":
        called = dict(ctx.params or {})
        await sleep(call_seconds(times, str(called.get("name")), called.get("arguments")))
    return await call_next(ctx)


for _server in (crm, billing, analytics):
    _server.middleware.append(_elsewhere)
