"""Traces of a live server, as an OTLP receiver gets them: they say what the log says (ours)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import ALLOW, CUSTOM, Json, Scene, bash, calls, fails, message, of_type, says, toolset
from tests.mcp_servers import live_mcp
from tests.otlp_receiver import ReceivedSpan, Receiver
from tests.unit.waiting import until

MCP: Json = {"type": "mcp_toolset", "mcp_server_name": "crm", "default_config": ALLOW}
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
USES = ("agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use")


@pytest.fixture
def traces(scene: Scene) -> Receiver:
    if scene.platform.traces is None:
        pytest.skip("HECATON_CONFORMANCE_OTLP_PORT does not say where this live server sends its traces")
    return scene.platform.traces


async def all_spans(traces: Receiver, session_id: str, turns: int) -> list[ReceivedSpan]:
    """The spans of a session once so many turns of it have come, and their requests: a turn's come together."""

    def came() -> bool:
        names = Counter(span.name for span in traces.of(session_id))
        return min(names["invoke_agent"], names["POST /v1/sessions/{session_id}/events"]) >= turns

    await until(came)
    return traces.of(session_id)


def ids(spans: list[ReceivedSpan], operation: str, key: str) -> Counter[str]:
    return Counter(span.attributes[key] for span in spans if span.name.partition(" ")[0] == operation)


@requirement("platform:traces")
async def test_each_request_call_and_change_of_state_in_the_log_has_its_span_and_no_other(
    scene: Scene, traces: Receiver
) -> None:
    async with live_mcp() as crm:
        await scene.answers(
            calls(bash("echo hidden-words"), bash("exit 3"), ("mcp__crm__quick", {"who": "Ada"})),
            fails(529, "overloaded_error"),
            calls(("weather", {"city": "Oslo"})),
            says("done"),
        )
        server = {"type": "url", "name": "crm", "url": crm.url}
        agent = await scene.agent(toolset(), MCP, CUSTOM, mcp_servers=[server])
        session_id = await scene.session(agent=agent)
        asked = await scene.turn(session_id, message("hidden-words"))
        [use] = of_type(asked, "agent.custom_tool_use")
        answer = {"type": "user.custom_tool_result", "custom_tool_use_id": use["id"]}
        await scene.turn(session_id, {**answer, "content": [{"type": "text", "text": "hidden-words"}]})
    log: list[dict[str, Any]] = await scene.log(session_id)
    spans = await all_spans(traces, session_id, 2)
    ended = of_type(log, "span.model_request_end")
    assert len(ended) == 4
    assert ids(spans, "chat", "hecaton.event.id") == Counter(each["model_request_start_id"] for each in ended)
    assert ids(spans, "execute_tool", "gen_ai.tool.call.id") == Counter(each["id"] for each in of_type(log, *USES))
    states = [event for event in log if event["type"].startswith("session.status_")]
    assert ids(spans, "session.status", "hecaton.event.id") == Counter(each["id"] for each in states)
    failed = {span.name.partition(" ")[0] for span in spans if span.failed}
    # Where a brain is a process of its own, it tells of the failed request, too.
    assert failed - {"think"} == {"chat", "execute_tool"}
    turns = [span for span in spans if span.name == "invoke_agent"]
    requests = {span.span_id: span for span in spans if span.name.startswith("POST")}
    assert {requests[turn.parent_id].trace_id for turn in turns} == {turn.trace_id for turn in turns}
    told = sum(span.attributes["gen_ai.usage.output_tokens"] for span in spans if span.name.startswith("chat"))
    assert told == sum(each["model_usage"]["output_tokens"] for each in ended)
    commits = [span for span in spans if span.name == "append"]
    assert sum(span.attributes["hecaton.log.events"] for span in commits) == len(log)
    assert "hidden-words" not in repr(spans)
    assert scene.platform.key not in repr(spans)


@requirement("platform:traces:context")
async def test_a_clients_trace_holds_the_turn_that_it_asks_for(scene: Scene, traces: Receiver) -> None:
    await scene.answers(says("done"))
    session_id = await scene.session()
    answer = await scene.http.post(
        f"/v1/sessions/{session_id}/events",
        json={"events": [message()]},
        headers={"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "anthropic-beta": "managed-agents-2026-04-01"},
    )
    assert answer.status_code == 200, answer.text
    spans = [span for span in await all_spans(traces, session_id, 1) if span.trace_id == TRACE_ID]
    by_name = {span.name: span for span in spans}
    request = by_name["POST /v1/sessions/{session_id}/events"]
    assert request.parent_id == SPAN_ID
    assert by_name["invoke_agent"].parent_id == request.span_id
    assert "chat" in {span.name.partition(" ")[0] for span in spans}
