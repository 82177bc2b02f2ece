"""One turn of a session, followed to its end through the official SDK.

The loss-free recipe of spec B.4 is used whenever the stream breaks: open a new stream, read the
whole history, show what was not seen yet, go on with the stream. Ctrl-C interrupts the agent once
and follows on; a second one leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpx2
from anthropic import Anthropic, APIError, APIStatusError, Stream
from anthropic.types.beta.sessions import BetaManagedAgentsEventParams, BetaManagedAgentsStreamSessionEvents

from agents.commands.failures import CommandFailed
from agents.commands.timeline import Event, part

EventStream = Stream[BetaManagedAgentsStreamSessionEvents]

_RECONNECTS = 6
"""Tries without one new event before giving up: about half a minute with the waits between."""
_RECONNECT_WAIT = 0.5
_NO_TOOL = "This client runs no custom tools."


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended: the stop reason, ``interrupted``, ``terminated`` or ``deleted``; and the last error shown."""

    stop: str
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.stop == "end_turn"


class Conversation:
    """Talks to one session; every event goes to *show*, every permission question to *answer*.

    *answer* gets the tool-use event and returns a ``user.tool_confirmation``.
    """

    def __init__(
        self,
        client: Anthropic,
        session_id: str,
        *,
        show: Callable[[Event], None],
        answer: Callable[[Event], dict[str, Any]],
    ) -> None:
        self.session_id = session_id
        self._events = client.beta.sessions.events
        self._show = show
        self._answer = answer
        self._seen: set[tuple[str, bool]] = set()
        self._calls: dict[str, Event] = {}
        self._awaited: set[str] = set()
        self._answered: set[str] = set()
        self._error: str | None = None
        self._interrupted = False

    def say(self, text: str) -> Outcome:
        """Send a user message and follow the turn to its end.

        Raises CommandFailed when the server is lost for good, and the SDK's errors when it refuses.
        """
        return self.turn([{"type": "user.message", "content": [{"type": "text", "text": text}]}])

    def turn(self, events: Sequence[dict[str, Any]]) -> Outcome:
        """Send *events* and follow the session until it needs nobody but its user. Raises as ``say``."""
        self._error, self._interrupted = None, False
        stream = self._open()
        try:
            self._send(events)
        except BaseException:
            stream.close()
            raise
        return self._until_idle(stream)

    def attach(self) -> Outcome | None:
        """Show the whole history; when a turn is under way or waits for its user, follow it to its end.

        Returns None when the session was idle already. Raises as ``say``.
        """
        stream = self._open()
        last: Event = {}
        for event in self._events.list(self.session_id, limit=1000):
            seen = event.to_dict(mode="json")
            self._note(seen)
            if str(seen.get("type")).startswith("session.status_"):
                last = seen
        stop = part(last, "stop_reason")
        if last.get("type") in (None, "session.status_terminated") or stop.get("type") not in (None, "requires_action"):
            stream.close()
            return None
        self._settle([str(call) for call in stop.get("event_ids") or ()])
        return self._until_idle(stream)

    def _until_idle(self, stream: EventStream) -> Outcome:
        failures = 0
        while True:
            known = len(self._seen)
            try:
                outcome = self._follow(stream)
            except KeyboardInterrupt:
                self._interrupt()
                outcome = None
            except (APIError, httpx2.HTTPError) as error:
                if isinstance(error, APIStatusError) and 400 <= error.status_code < 500:
                    raise
                outcome = None
            finally:
                stream.close()
            if outcome is None:
                failures = 0 if len(self._seen) > known else failures + 1
                stream, outcome = self._resume(failures)
            if outcome is not None:
                stream.close()
                return outcome

    def _open(self) -> EventStream:
        return self._events.stream(self.session_id, event_deltas=["agent.message"])

    def _resume(self, failures: int) -> tuple[EventStream, Outcome | None]:
        """Open a new stream and show what history has beyond what was seen."""
        while failures < _RECONNECTS:
            time.sleep(min(_RECONNECT_WAIT * 2**failures, 8.0) if failures else 0)
            try:
                stream = self._open()
                history = self._events.list(self.session_id, limit=1000)
                return stream, self._take_all(event.to_dict(mode="json") for event in history)
            except (APIError, httpx2.HTTPError) as error:
                if isinstance(error, APIStatusError) and 400 <= error.status_code < 500:
                    raise
                failures += 1
        raise CommandFailed(
            f"the server stopped answering; the session goes on without us: hecaton sessions show {self.session_id}"
        )

    def _send(self, events: Sequence[dict[str, Any]]) -> None:
        stored = self._events.send(self.session_id, events=cast("list[BetaManagedAgentsEventParams]", list(events)))
        self._awaited |= {event.id for event in stored.data or ()}

    def _interrupt(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        self._send([{"type": "user.interrupt"}])

    def _follow(self, stream: EventStream) -> Outcome | None:
        return self._take_all(event.to_dict(mode="json") for event in stream)

    def _take_all(self, events: Iterable[dict[str, Any]]) -> Outcome | None:
        for event in events:
            outcome = self._take(event)
            if outcome is not None:
                return outcome
        return None

    def _take(self, event: Event) -> Outcome | None:
        return self._ended(event) if self._note(event) else None

    def _note(self, event: Event) -> bool:
        """Show *event* unless it was seen; a queued event and its processed copy are two sights."""
        identity, settled = str(event.get("id")), event.get("processed_at") is not None
        if event.get("id") is not None:
            if (identity, settled) in self._seen:
                return False
            self._seen.add((identity, settled))
        if settled:
            self._awaited.discard(identity)
        if event.get("type") in ("agent.tool_use", "agent.custom_tool_use", "agent.mcp_tool_use"):
            self._calls[identity] = event
        self._show(event)
        return True

    def _ended(self, event: Event) -> Outcome | None:
        match event.get("type"):
            case "session.error":
                error = part(event, "error")
                self._error = f"{error.get('type')}: {error.get('message')}"
            case "session.status_terminated":
                return Outcome("terminated", self._error)
            case "session.deleted":
                return Outcome("deleted", self._error)
            case "session.status_idle":
                return self._idle(part(event, "stop_reason"))
            case _:
                pass
        return None

    def _idle(self, reason: dict[str, Any]) -> Outcome | None:
        stop = str(reason.get("type"))
        if stop == "requires_action":
            self._settle([str(call) for call in reason.get("event_ids") or ()])
            return None
        if self._awaited and stop == "end_turn":
            return None  # the end of an earlier turn; what was sent is still queued
        self._awaited.clear()
        return Outcome("interrupted" if self._interrupted and stop == "end_turn" else stop, self._error)

    def _settle(self, call_ids: Sequence[str]) -> None:
        """Answer every call that waits for the user and was not answered yet, in one request."""
        answers: list[dict[str, Any]] = []
        for call_id in call_ids:
            call = self._calls.get(call_id)
            if call is None or call_id in self._answered or _is_a_workers(call):
                continue
            self._answered.add(call_id)
            if call.get("type") == "agent.custom_tool_use":
                content = [{"type": "text", "text": _NO_TOOL}]
                answers.append(
                    {
                        "type": "user.custom_tool_result",
                        "custom_tool_use_id": call_id,
                        "content": content,
                        "is_error": True,
                    }
                )
            else:
                answers.append(self._answer(call))
        if answers:
            self._send(answers)


def _is_a_workers(call: Event) -> bool:
    """Whether a waiting call is for a worker of a self-hosted environment: nobody asks the user about it."""
    return call.get("type") == "agent.tool_use" and call.get("evaluated_permission") == "allow"
