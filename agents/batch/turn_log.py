"""What a session's log says of its one turn: a fold of its events, in whatever order and however often they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Event = Mapping[str, Any]
_CALLS = frozenset({"agent.tool_use", "agent.custom_tool_use", "agent.mcp_tool_use"})
_OURS = frozenset({"user.message", "user.define_outcome"})
_ANSWERS = {
    "user.tool_confirmation": "tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
    "user.tool_result": "tool_use_id",
}
_NO_TOOL = "This batch runs no custom tools."
_DENIED = "Nobody is there to allow it."


class TurnLog:
    """The turn so far."""

    def __init__(self) -> None:
        self.sent = False
        """Whether the task is in the log, or waits for its place there."""
        self.stop: str | None = None
        """Why the turn ended; None while it runs."""
        self.error: tuple[str, str] | None = None
        """Type and message of the last error that was told."""
        self.answer: str | None = None
        self.model_requests = 0
        self.tool_calls = 0
        self._seen: set[str] = set()
        self._calls: dict[str, str] = {}
        """Kinds of the calls that have no answer of ours yet, by id."""
        self._blocking: list[str] = []
        self._interrupted = False

    def take(self, event: Event) -> None:
        """Note *event*."""
        kind, identity = str(event.get("type")), str(event.get("id"))
        self.sent = self.sent or kind in _OURS
        if event.get("processed_at") is None or identity in self._seen:
            return  # it waits for its place in the log; or it was read from there and came by the stream, too
        self._seen.add(identity)
        if kind in _CALLS:
            self.tool_calls += 1
            self._calls[identity] = "" if _is_a_workers(event) else kind
        elif kind in _ANSWERS:
            self._calls.pop(str(event.get(_ANSWERS[kind])), None)
        elif kind == "session.status_idle":
            self._idle(event)
        else:
            self._note(kind, event)

    @property
    def events(self) -> int:
        """How many events it has noted."""
        return len(self._seen)

    def waiting(self) -> dict[str, str]:
        """Return the calls that the session stands still for, each with its kind: somebody has to answer them."""
        return {call: kind for call in self._blocking if (kind := self._calls.get(call))}

    def _note(self, kind: str, event: Event) -> None:
        match kind:
            case "agent.message":
                self.answer = _text(event)
            case "span.model_request_end":
                self.model_requests += 1
            case "user.interrupt":
                self._interrupted = True
            case "session.error":
                error: Mapping[str, Any] = event.get("error") or {}
                self.error = str(error.get("type")), str(error.get("message"))
            case "session.status_running":
                self.stop, self._blocking = None, []
            case "session.status_terminated" | "session.deleted":
                self.stop = kind.removeprefix("session.").removeprefix("status_")
            case _:
                pass

    def _idle(self, event: Event) -> None:
        reason: Mapping[str, Any] = event.get("stop_reason") or {}
        stop = str(reason.get("type"))
        if stop == "requires_action":
            self._blocking = [str(call) for call in reason.get("event_ids") or ()]
        else:
            self.stop = "interrupted" if self._interrupted and stop == "end_turn" else stop


def answers(waiting: Mapping[str, str], *, allow: bool) -> list[dict[str, Any]]:
    """Return the events that let a session go on whose calls wait for somebody; *allow* what asks for permission."""
    return [_answer(call, kind, allow) for call, kind in waiting.items()]


def _answer(call: str, kind: str, allow: bool) -> dict[str, Any]:
    if kind == "agent.custom_tool_use":
        content = [{"type": "text", "text": _NO_TOOL}]
        return {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": call,
            "content": content,
            "is_error": True,
        }
    verdict = {"type": "user.tool_confirmation", "tool_use_id": call}
    return {**verdict, "result": "allow"} if allow else {**verdict, "result": "deny", "deny_message": _DENIED}


def _is_a_workers(call: Event) -> bool:
    """Whether the call, when it waits, is for a worker of a self-hosted environment."""
    return call.get("type") == "agent.tool_use" and call.get("evaluated_permission") == "allow"


def _text(event: Event) -> str:
    blocks: list[Mapping[str, Any]] = event.get("content") or []
    return "".join(str(block.get("text")) for block in blocks if block.get("type") == "text")
