"""What must hold of every session's log and of what its client was shown, whatever died meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from agents.brains.replay import NOTICE
from tests.chaos.record import Connection, Json, Run, Violation, Visit, instant

_RESULTS_OF = {
    "agent.tool_use": ("agent.tool_result", "user.tool_result"),  # the latter from a worker
    "agent.mcp_tool_use": ("agent.mcp_tool_result",),
    "agent.custom_tool_use": ("user.custom_tool_result",),
}
_REFERENCE = {
    "agent.tool_result": "tool_use_id",
    "user.tool_result": "tool_use_id",
    "agent.mcp_tool_result": "mcp_tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
}
TOOL_RESULTS = ("agent.tool_result", "user.tool_result", "agent.mcp_tool_result")


def of_type(log: Sequence[Json], *kinds: str) -> list[Json]:
    return [event for event in log if event["type"] in kinds]


def text_of(event: Json) -> str:
    """The text of a message or a result; blocks stand apart, for the server may put a note before a result."""
    return "\n".join(block.get("text", "") for block in event.get("content") or ())


def answers(visit: Visit) -> dict[str, Json]:
    """The results of all calls but those of custom tools, by the call's id."""
    return {event[_REFERENCE[event["type"]]]: event for event in of_type(visit.final, *TOOL_RESULTS)}


def name_of(visit: Visit) -> str:
    return f"{visit.session_id or visit.number} ({visit.kind}, {visit.mode})"


def every_session_ends(run: Run) -> Iterator[Violation]:
    """Its client came to its end; the session is idle with end_turn, in its row and in its log."""
    for visit in run.visits:
        last = visit.final[-1] if visit.final else {}
        stop = (last.get("stop_reason") or {}).get("type")
        if visit.outcome != "done":
            yield Violation("ends", name_of(visit), f"{visit.outcome}; last event: {last.get('type')} {stop or ''}")
        elif last.get("type") != "session.status_idle" or stop != "end_turn" or visit.status != "idle":
            yield Violation("ends", name_of(visit), f"status {visit.status}, last event {last.get('type')}, {stop}")


def one_result_per_call(run: Run) -> Iterator[Violation]:
    """Each tool use has exactly one result, each result a tool use before it."""
    for visit in run.visits:
        place = {event["id"]: number for number, event in enumerate(visit.final)}
        for use_kind, result_kinds in _RESULTS_OF.items():
            reference = _REFERENCE[result_kinds[0]]
            results = of_type(visit.final, *result_kinds)
            counted = Counter(event[reference] for event in results)
            uses = {event["id"] for event in of_type(visit.final, use_kind)}
            for use in uses:
                if counted[use] != 1:
                    yield Violation("one result", name_of(visit), f"{use} has {counted[use]} results")
            for result in results:
                if result[reference] not in uses or place[result[reference]] > place[result["id"]]:
                    yield Violation("one result", name_of(visit), f"{result['id']} answers no call before it")


def answered_once(run: Run) -> Iterator[Violation]:
    """A call that was asked for was allowed or refused once."""
    for visit in run.visits:
        counted = Counter(event["tool_use_id"] for event in of_type(visit.final, "user.tool_confirmation"))
        for call in of_type(visit.final, "agent.tool_use", "agent.mcp_tool_use"):
            wanted = 1 if call.get("evaluated_permission") == "ask" else 0
            if counted[call["id"]] != wanted:
                yield Violation(
                    "answered once", name_of(visit), f"{call['id']} has {counted[call['id']]} confirmations"
                )


def unique_ids(run: Run) -> Iterator[Violation]:
    """No event id occurs twice, in a session or in two."""
    counted = Counter(event["id"] for visit in run.visits for event in visit.final)
    for event_id, count in counted.items():
        if count > 1:
            yield Violation("unique ids", event_id, f"occurs {count} times")


def stable_order(run: Run) -> Iterator[Violation]:
    """Two listings at the end are equal, and every earlier one is how the last one begins."""
    for visit in run.visits:
        if visit.final != visit.final_again:
            yield Violation("order", name_of(visit), "two listings at the end differ")
        final = [event["id"] for event in visit.final]
        for listing in visit.listings:
            if final[: len(listing)] != listing:
                yield Violation(
                    "order", name_of(visit), f"a listing of {len(listing)} events is no beginning of the last"
                )
                break


def shown_is_listed(run: Run) -> Iterator[Violation]:
    """What a stream showed is in the log exactly once, as it was shown, and came in the log's order, once."""
    for visit in run.visits:
        place = {event["id"]: number for number, event in enumerate(visit.final)}
        logged = {event["id"]: event for event in visit.final}
        for connection in visit.connections:
            shown = [event for event in connection.events if event["id"] in place]
            for event in connection.events:
                if event["id"] not in place:
                    what = f"{event['type']} {event['id']} was shown and is not in the list"
                    yield Violation("shown", name_of(visit), what)
            done = [event for event in shown if event.get("processed_at")]
            places = [place[event["id"]] for event in done]
            if places != sorted(set(places)):
                yield Violation(
                    "shown", name_of(visit), "a stream showed events twice or in another order than the list"
                )
            for event in done:
                # The SDK writes a time on the full second without its zeros, and raw streams are not read by the SDK.
                if _timed(event) != _timed(logged[event["id"]]):
                    yield Violation("shown", name_of(visit), f"{event['id']} was shown otherwise than listed")


def _timed(event: Json) -> Json:
    return {**event, "processed_at": instant(event)}


def resumed_without_gap(run: Run) -> Iterator[Violation]:
    """A stream shows everything from its first event on; one that goes on behind an event starts with the next."""
    for visit in run.visits:
        order = [event["id"] for event in visit.final]
        place = {event_id: number for number, event_id in enumerate(order)}
        for connection in visit.connections:
            places = [place[event["id"]] for event in _logged(connection) if event["id"] in place]
            if not places:
                continue
            start = place.get(connection.after, -1) + 1 if connection.after else places[0]
            missed = set(range(start, max(places) + 1)) - set(places)
            if missed:
                what = f"a stream ({connection.mode}) missed {len(missed)} events, first {order[min(missed)]}"
                yield Violation("gaps", name_of(visit), what)


def _logged(connection: Connection) -> list[Json]:
    return [event for event in connection.events if event.get("processed_at")]


def previews_are_beginnings(run: Run) -> Iterator[Violation]:
    """The previewed text of an event that exists is how its text begins."""
    for visit in run.visits:
        texts = {event["id"]: text_of(event) for event in of_type(visit.final, "agent.message")}
        for connection in visit.connections:
            for event_id, preview in connection.previews.items():
                if event_id in texts and not texts[event_id].startswith(preview):
                    yield Violation(
                        "previews", name_of(visit), f"{event_id}: the preview is no beginning of the message"
                    )


def sent_once(run: Run) -> Iterator[Violation]:
    """Every message that a client sent is in the log exactly once."""
    for visit in run.visits:
        counted = Counter(text_of(event) for event in of_type(visit.final, "user.message"))
        for text in visit.sent if visit.outcome == "done" else ():
            if counted[text] != 1:
                yield Violation("sent once", name_of(visit), f"{text!r} is there {counted[text]} times")
        for text in set(counted) - set(visit.sent):
            yield Violation("sent once", name_of(visit), f"nobody sent {text!r}")


def whole_messages(run: Run) -> Iterator[Violation]:
    """A half-told message never existed, and none was told twice."""
    for visit in run.visits:
        told: Counter[str] = Counter()
        for event in of_type(visit.final, "agent.message"):
            text = text_of(event)
            if text.startswith(NOTICE):
                text = text.partition("\n\n")[2]
                if not text:
                    continue  # the first answer of a conversation says at least that no model was called
            step = text[1:].partition(":")[0]
            told[step] += 1
            if not text.endswith(f":{step}>"):
                yield Violation("whole messages", name_of(visit), f"{event['id']} is cut: ...{text[-40:]!r}")
        for step, count in told.items():
            if count > 1:
                yield Violation("whole messages", name_of(visit), f"step {step} was told {count} times")


def requests_closed(run: Run) -> Iterator[Violation]:
    """Every model request that was begun was ended in the log, once."""
    for visit in run.visits:
        begun = [event["id"] for event in of_type(visit.final, "span.model_request_start")]
        ended = Counter(event["model_request_start_id"] for event in of_type(visit.final, "span.model_request_end"))
        for event_id in begun:
            if ended[event_id] != 1:
                yield Violation("requests", name_of(visit), f"{event_id} was ended {ended[event_id]} times")
