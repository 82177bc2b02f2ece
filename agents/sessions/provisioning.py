"""A session's sandbox before its turn begins to think, for platforms that are set so (``sandbox.provision``).

By default the first call that needs a sandbox makes it, and a turn without such a call never has one. Made first, it is
there when it is called, and every first text has waited for it: what a platform does whose brain lives in the sandbox.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from agents.errors import HecatonError
from agents.hands.port import PROVISION, ToolCall
from agents.ids import EventId
from agents.sessions.ledger import workspace_of
from agents.sessions.ports import HarnessPorts
from agents.sessions.state import SessionState

logger = logging.getLogger(__name__)

_SECONDS = 60.0


def begins_turn(state: SessionState) -> bool:
    """Whether the next model request is the first of its turn: it answers to no tool."""
    messages = state.conversation.snapshot()
    return bool(messages) and all(block["type"] != "tool_result" for block in messages[-1]["content"])


async def provide_sandbox(ports: HarnessPorts, state: SessionState, request_id: EventId) -> None:
    """Wait until the session's sandbox runs. Where it can not, the first call of it tells the model why."""
    # No intent goes before it: to make a sandbox that is there does nothing.
    call = ToolCall(f"{request_id}-sandbox", PROVISION, {}, _SECONDS)
    try:
        async with (
            asyncio.timeout(_SECONDS),
            aclosing(ports.hands.execute(workspace_of(state.record), [call])) as results,
        ):
            async for result in results:
                if result.is_error:
                    logger.warning("no sandbox was made for %s before its turn", state.record.id)
    except (HecatonError, TimeoutError) as error:
        logger.warning("no sandbox for %s before its turn: %s", state.record.id, error or type(error).__name__)
