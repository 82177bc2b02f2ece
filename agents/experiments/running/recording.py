"""Rows of the trace from what the platform logged of a session, and from what its client saw.

The log says when a model request or a tool call began and ended, by the server's clock; the client, when it asked and
when it was answered, by its own. Both run on one machine, or on machines that keep the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agents.brains.assembly import TokenUsage
from agents.experiments.running.driving import Played
from agents.experiments.running.platform_api import PlatformApi
from agents.experiments.trace_rows import UNFINISHED, TraceRow
from agents.experiments.work.arrivals import Arrival

Json = Mapping[str, Any]
Cost = Callable[[str, TokenUsage], int]
"""Micro-USD of a model request, by the brain's id and its tokens."""
IsRight = Callable[[Arrival, str], bool]
"""Whether a session's last words are what its workload should come to."""

WRONG_ANSWER = "wrong_answer"
_PAGE = 1000
_RESULTS = {
    "agent.tool_result": "tool_use_id",
    "agent.mcp_tool_result": "mcp_tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
}
"""Events that end a tool call, and the field that names its beginning."""
_USES = frozenset({"agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use"})
_UPDATES = ("session.", "agent.thread_context_compacted")
_OF_THREADS = "session.thread_"
_TRIED_AGAIN = "session.status_rescheduled"


@dataclass(frozen=True, slots=True)
class RoundKey:
    """Which round the rows are of, and when it began."""

    topology: str
    arrivals: str
    load: float
    round: int
    zero: float
    """Seconds since 1970."""


async def events_of_session(api: PlatformApi, session: str) -> list[Json]:
    """Return the whole log of a session. Raises Refused, OSError."""
    path = f"/v1/sessions/{session}/events?limit={_PAGE}"
    page = await api.get(path)
    found: list[Json] = list(page["data"])
    while page.get("next_page"):
        page = await api.get(f"{path}&page={page['next_page']}")
        found += page["data"]
    return found


class SessionRecorder:
    """Makes the rows of a round's sessions."""

    def __init__(self, key: RoundKey, cost: Cost, is_right: IsRight) -> None:
        self._key = key
        self._cost = cost
        self._is_right = is_right

    def rows(self, played: Played, events: Sequence[Json], until: float) -> list[TraceRow]:
        """Return the rows of one session: its own first, then those of its parts in their order.

        *until* is when the round's patience ended; what came later is left out, for it is of the interrupt.
        """
        seen = [event for event in events if event["processed_at"] and self._moment(event) <= until]
        parts = [*self._inferences(played, seen), *self._calls(played, seen), *self._updates(played, seen)]
        return [self._session(played, seen, parts), *sorted(parts, key=lambda row: row.began)]

    def _moment(self, event: Json) -> float:
        return datetime.fromisoformat(event["processed_at"]).timestamp() - self._key.zero

    def _row(self, played: Played, **fields: Any) -> TraceRow:
        key, arrival = self._key, played.arrival
        return TraceRow(
            topology=key.topology,
            workload=arrival.workload,
            arrivals=key.arrivals,
            load=key.load,
            round=key.round,
            request=arrival.request,
            session=played.session,
            warm_up=arrival.warm_up,
            **fields,
        )

    def _session(self, played: Played, events: Sequence[Json], parts: Sequence[TraceRow]) -> TraceRow:
        inferences = [row for row in parts if row.kind == "inference"]
        due = played.arrival.due
        return self._row(
            played,
            kind="session",
            name=played.arrival.workload,
            due=due,
            # What never got a place at the client was not begun; it counts from when it was due all the same.
            began=due if played.began is None else played.began,
            first=played.first,
            ended=played.ended,
            outcome=self._outcome(played, events),
            retries=played.retries + sum(event["type"] == _TRIED_AGAIN for event in events),
            tokens_in=sum(row.tokens_in for row in inferences),
            tokens_out=sum(row.tokens_out for row in inferences),
            micro_usd=sum(row.micro_usd for row in parts),
        )

    def _outcome(self, played: Played, events: Sequence[Json]) -> str:
        if played.fault:
            return played.fault
        end = next((event for event in reversed(events) if event["type"].startswith("session.status_")), None)
        if end is None:
            return UNFINISHED
        stop = end.get("stop_reason", {}).get("type", end["type"].removeprefix("session.status_"))
        if stop != "end_turn":
            errors = [event["error"]["type"] for event in events if event["type"] == "session.error"]
            return str(errors[-1] if errors else stop)
        return "ok" if self._is_right(played.arrival, last_words(events)) else WRONG_ANSWER

    def _inferences(self, played: Played, events: Sequence[Json]) -> Iterator[TraceRow]:
        ends = {event["model_request_start_id"]: event for event in events if event["type"] == "span.model_request_end"}
        failed, answers = 0, _answers(events)
        for event in events:
            if event["type"] != "span.model_request_start":
                continue
            end, began = ends.get(event["id"]), self._moment(event)
            announced = [played.announced[each] for each in answers.get(event["id"], ()) if each in played.announced]
            row = self._row(
                played, kind="inference", name="", due=began, began=began, first=min(announced, default=None)
            )
            if end is None:
                yield replace(row, outcome=UNFINISHED, retries=failed)
                continue
            usage, brain = _tokens(end["model_usage"]), str(end.get("brain", {}).get("id", ""))
            yield replace(
                row,
                name=brain,
                ended=self._moment(end),
                outcome="model_request_failed" if end["is_error"] else "ok",
                retries=failed,
                tokens_in=usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_5m,
                tokens_out=usage.output_tokens,
                micro_usd=self._cost(brain, usage),
            )
            failed = failed + 1 if end["is_error"] else 0

    def _calls(self, played: Played, events: Sequence[Json]) -> Iterator[TraceRow]:
        results = {event[_RESULTS[event["type"]]]: event for event in events if event["type"] in _RESULTS}
        for event in events:
            if event["type"] not in _USES:
                continue
            server, began = event.get("mcp_server_name"), self._moment(event)
            name = f"{server}.{event['name']}" if server else event["name"]
            row = self._row(played, kind="tool_call", name=name, due=began, began=began, outcome=UNFINISHED)
            result = results.get(event["id"])
            if result is not None:
                row = replace(row, ended=self._moment(result), outcome="tool_error" if result.get("is_error") else "ok")
            yield row

    def _updates(self, played: Played, events: Sequence[Json]) -> Iterator[TraceRow]:
        for event in events:
            kind = event["type"]
            if kind.startswith(_UPDATES) and not kind.startswith(_OF_THREADS):
                at = self._moment(event)
                outcome = event["error"]["type"] if kind == "session.error" else "ok"
                yield self._row(played, kind="state_update", name=kind, due=at, began=at, ended=at, outcome=outcome)


def last_words(events: Sequence[Json]) -> str:
    """Return the text of the last message that the agent wrote; empty without one."""
    messages = [event for event in events if event["type"] == "agent.message"]
    return "".join(block.get("text", "") for block in messages[-1]["content"]) if messages else ""


def _answers(events: Sequence[Json]) -> dict[str, list[str]]:
    """Return the ids of the messages that each model request made, by the id of its beginning."""
    made: dict[str, list[str]] = {}
    request = ""
    for event in events:
        if event["type"] == "span.model_request_start":
            request = event["id"]
        elif event["type"] == "agent.message":
            made.setdefault(request, []).append(event["id"])
    return made


def _tokens(usage: Json) -> TokenUsage:
    return TokenUsage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_input_tokens=usage["cache_read_input_tokens"],
        cache_creation_5m=usage["cache_creation_input_tokens"],
    )
