"""How the calls of one assistant turn are laid out: what runs beside what.

File tools always run beside each other. Two or more bash and grep calls run as forked copies of the
shell; a bash call that is alone runs in the shell itself. When a call of the batch restarts the shell,
the bash calls run one after the other in the model's order, for then order is what the model means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.hands.port import PROVISION, ToolCall
from agents.hands.session_sandbox import SessionSandbox
from agents.hands.shell_calls import ForkedCalls
from agents.hands.tool_failure import ToolFailure
from agents.hands.toolset import BashInput, EditInput, GrepInput, ToolInput, WriteInput, parse_input


class Provision:
    """A call for a sandbox, and for nothing in it."""


Request = ToolInput | Provision | ToolFailure


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call with its parsed input, or with what is wrong with it, and the forked batch it is a member of."""

    call: ToolCall
    request: Request
    index: int
    beside: ForkedCalls | None


def plan_batch(calls: Sequence[ToolCall]) -> dict[str, PlannedCall]:
    """Parse the calls of one batch and decide how they run; keyed by call id, the first of equal ids wins."""
    requests: dict[str, tuple[ToolCall, Request]] = {}
    for call in calls:
        requests.setdefault(call.call_id, (call, _parsed(call)))
    in_order = any(isinstance(request, BashInput) and request.restart for _, request in requests.values())
    shell = [request for _, request in requests.values() if isinstance(request, BashInput | GrepInput)]
    forked = None
    if len(shell) > 1 and not in_order:
        forked = ForkedCalls(len(shell), merges=any(isinstance(request, BashInput) for request in shell))
    return {
        call.call_id: PlannedCall(call, request, index, _batch_of(request, forked))
        for index, (call, request) in enumerate(requests.values())
    }


def _parsed(call: ToolCall) -> Request:
    if call.name == PROVISION:
        return Provision()
    try:
        return parse_input(call.name, call.input)
    except ToolFailure as failure:
        return failure


def _batch_of(request: Request, forked: ForkedCalls | None) -> ForkedCalls | None:
    match request:
        case GrepInput():
            return forked or ForkedCalls(1, merges=False)  # never in the shell itself: its end must not end that
        case BashInput():
            return forked
        case _:
            return None


def changes_files(plan: PlannedCall) -> bool:
    """Whether a call may change files."""
    return isinstance(plan.request, BashInput | WriteInput | EditInput)


def is_shown(plan: PlannedCall) -> bool:
    """Whether a model sees the result."""
    return not isinstance(plan.request, Provision)


async def run_planned(session: SessionSandbox, plan: PlannedCall) -> list[dict[str, Any]]:
    """Run one call and return its content blocks; raises ToolFailure, SandboxUnavailable."""
    if isinstance(plan.request, ToolFailure):
        raise plan.request
    await session.synchronize()
    match plan.request:
        case Provision():
            await session.running()
            return []
        case BashInput():
            return await session.bash(plan.call, plan.request, plan.beside, plan.index)
        case GrepInput():
            assert plan.beside is not None, "grep always runs beside the shell"
            return await session.grep(plan.call, plan.request, plan.beside, plan.index)
        case _:
            return await session.file_tool(plan.call, plan.request)
