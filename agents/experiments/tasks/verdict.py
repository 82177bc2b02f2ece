"""What a session made of its task: single checks, each of which can fail for itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.brains.replay import opening
from agents.experiments.tasks.domain import Domain, Rows
from agents.experiments.tasks.replays import Answer, PreparedTask, plain
from agents.experiments.tasks.state import changes, differences

Event = Mapping[str, Any]

_DRAWN = re.compile(r"_[0-9A-HJKMNP-TV-Z]{26}\b")
"""What ``agents.ids`` draws by lot: it differs from run to run also in the text of a refusal."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to be so; ``why`` says what is otherwise."""

    name: str
    why: str = ""

    @property
    def passed(self) -> bool:
        return not self.why


def judge(domain: Domain, prepared: PreparedTask, events: Sequence[Event], rows: Rows) -> tuple[Check, ...]:
    """Check the *events* of a session, and the *rows* that it has left behind, against the direct run."""
    found = changes(domain, prepared.before, rows, prepared.task.given)
    wrong = differences(domain, found, prepared.wanted)
    return (
        Check("turn", _unfinished(events)),
        *_actions(domain, prepared, events),
        *(Check(f"database {hand}", "\n".join(told)) for hand, told in wrong.items()),
        *_communicated(prepared, events),
    )


def _unfinished(events: Sequence[Event]) -> str:
    errors = [event["error"] for event in events if event["type"] == "session.error"]
    if errors:
        return "; ".join(f"{error.get('type')}: {error.get('message')}" for error in errors)
    ends = [event["stop_reason"] for event in events if event["type"] == "session.status_idle"]
    stop = ends[-1].get("type") if ends else "no end"
    return "" if stop == "end_turn" else f"the turn ended with {stop}, not with end_turn"


def _actions(domain: Domain, prepared: PreparedTask, events: Sequence[Event]) -> list[Check]:
    """Each action's call, matched by their order: a plan makes them in that of the trajectory."""
    uses = [event for event in events if event["type"] == "agent.mcp_tool_use"]
    results = {event["mcp_tool_use_id"]: event for event in events if event["type"] == "agent.mcp_tool_result"}
    checks: list[Check] = []
    for place, (action, answer) in enumerate(zip(prepared.task.actions, prepared.answers, strict=True)):
        hand = domain.hand_of(action.name).name
        why = _called_otherwise(uses[place : place + 1], (hand, action.name), results, answer)
        checks.append(Check(f"action {action.action_id}", why))
    if (more := len(uses) - len(checks)) > 0:
        checks.append(Check("actions", f"{more} calls more than the trajectory has"))
    return checks


def _called_otherwise(
    uses: Sequence[Event], tool: tuple[str, str], results: Mapping[str, Event], direct: Answer
) -> str:
    if not uses:
        return f"{tool[1]} was never called"
    (use,) = uses
    if (use["mcp_server_name"], use["name"]) != tool:
        return f"{use['name']} was called, not {tool[1]}"
    result = results.get(use["id"])
    if result is None:
        return f"{tool[1]} was never answered"
    said = _text(result)
    if bool(result.get("is_error")) != direct.refused:
        return f"{tool[1]} {'answered' if direct.refused else 'failed'}, which it did not do directly: {said}"
    if direct.refused and _DRAWN.sub("", said) != _DRAWN.sub("", direct.text):
        return f"{tool[1]} refused for another reason than directly: {said}"
    return ""


def _communicated(prepared: PreparedTask, events: Sequence[Event]) -> list[Check]:
    # What the replay brain says of itself names the task, whose id may hold what is looked for.
    notice = opening(prepared.task.id)
    messages = [_text(event) for event in events if event["type"] == "agent.message"]
    said = plain("\n".join(message.replace(notice, "") for message in messages))
    return [
        Check(f"communicate {info!r}", "" if plain(info) in said else "no message to the user says it")
        for info in prepared.task.communicate
    ]


def _text(event: Event) -> str:
    return "".join(block.get("text", "") for block in event.get("content") or ())
