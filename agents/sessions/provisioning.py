"""A session's sandbox before its turn begins to think, for platforms that are set so (``sandbox.provision``).

By default the first call that needs a sandbox makes it, and a turn without such a call never has one. Made first, it is
there when it is called, and every first text has waited for it: what a platform does whose brain lives in the sandbox.
"""

from __future__ import annotations

import logging

from agents.errors import HecatonError
from agents.hands.port import PROVISION
from agents.ids import EventId
from agents.sessions.own_calls import own_call
from agents.sessions.ports import HarnessPorts
from agents.sessions.thread_state import ThreadState

logger = logging.getLogger(__name__)


def begins_turn(state: ThreadState) -> bool:
    """Whether the next model request is the first of its turn: it answers to no tool."""
    messages = state.conversation.snapshot()
    return bool(messages) and all(block["type"] != "tool_result" for block in messages[-1]["content"])


async def provide_sandbox(ports: HarnessPorts, state: ThreadState, request_id: EventId) -> None:
    """Wait until the session's sandbox runs. Where it can not, the first call of it tells the model why."""
    try:
        # To make a sandbox that is there does nothing.
        result = await own_call(ports, state.record, f"{request_id}-sandbox", PROVISION, {})
    except (HecatonError, TimeoutError) as error:
        logger.warning("no sandbox for %s before its turn: %s", state.record.id, error or type(error).__name__)
        return
    if result.is_error:
        logger.warning("no sandbox was made for %s before its turn", state.record.id)
