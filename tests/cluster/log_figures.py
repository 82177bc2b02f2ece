"""What the figures of ``/metrics`` should be, counted in logs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.conformance.scene import Json

Series = tuple[str, ...]
"""A sample's name and the values of its labels, those in the order of the labels' names."""

USES = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use")
RESULTS = {
    "agent.tool_result": "tool_use_id",
    "agent.mcp_tool_result": "mcp_tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
}
"""Events that end a call, and where each names it."""
_OUTCOMES = {"end_turn": "ended", "requires_action": "requires_action"}


def counts_of(logs: Iterable[Iterable[Json]], implied_brain: str = "default@1") -> Counter[Series]:
    """Count what the platform should have counted of whole sessions.

    *implied_brain* is the brain of requests of which the log names none.
    """
    found = Counter[Series]()
    for log in logs:
        uses: dict[str, Json] = {}
        answers: dict[str, str] = {}
        for event in log:
            found["hecaton_log_append_batch_events_sum",] += 1
            match event["type"]:
                case "session.status_idle":
                    found["hecaton_turns_total", _OUTCOMES[event["stop_reason"]["type"]]] += 1
                    found["hecaton_turn_duration_seconds_count",] += 1
                case "span.model_request_end":
                    _count_request(found, event, implied_brain)
                case kind if kind in USES:
                    uses[event["id"]] = event
                case kind if kind in RESULTS:
                    use = uses[event[RESULTS[kind]]]
                    _count_call(found, use, event)
                    # Also told of calls that were made at once: in the order of their results.
                    call, answer = _text(use["name"], use["input"]), _text(event.get("content"))
                    found["hecaton_repeated_tool_calls_total",] += answers.get(call) == answer
                    answers[call] = answer
                case _:
                    pass
    return found


def hand_of(use: Mapping[str, Any]) -> str:
    """Return the label of who runs a call; it must be none of the web tools."""
    if use["type"] == "agent.mcp_tool_use":
        return use["mcp_server_name"]
    return "custom" if use["type"] == "agent.custom_tool_use" else "sandbox"


def _count_request(found: Counter[Series], end: Json, implied_brain: str) -> None:
    brain, usage = end["brain"]["id"] if "brain" in end else implied_brain, end["model_usage"]
    found["hecaton_model_requests_total", brain, "error" if end["is_error"] else "ok"] += 1
    found["hecaton_model_request_duration_seconds_count", brain] += 1
    found["hecaton_time_to_first_token_seconds_count", brain] += not end["is_error"]
    found["hecaton_tokens_total", brain, "input"] += usage["input_tokens"]
    found["hecaton_tokens_total", brain, "output"] += usage["output_tokens"]
    found["hecaton_tokens_total", brain, "cache_read"] += usage["cache_read_input_tokens"]
    found["hecaton_tokens_total", brain, "cache_creation"] += usage["cache_creation_input_tokens"]


def _count_call(found: Counter[Series], use: Json, result: Json) -> None:
    hand = hand_of(use)
    found["hecaton_tool_calls_total", hand, "error" if result.get("is_error") else "ok"] += 1
    found["hecaton_tool_call_duration_seconds_count", hand] += 1


def _text(*values: Any) -> str:
    return json.dumps(values, sort_keys=True)
