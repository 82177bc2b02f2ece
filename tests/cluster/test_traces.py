"""A turn's trace across the processes of a real platform: each part's share of it, in one trace (ours).

Bug class this catches: a context that is lost on a link, ids that gateway and harness make differently, spans that
nobody writes, times of another process that never come back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from agents.telemetry.tracing.trace_query import query_spans, session_spans
from tests.cluster.instance import Instance
from tests.conformance.requirements import requirement
from tests.conformance.scene import Scene, bash, calls, of_type, says, toolset

# The first test waits for the platform; a busy machine takes a minute.
pytestmark = pytest.mark.timeout(240)
_SECONDS = 60.0


async def _spans(instance: Instance, session_id: str) -> list[dict[str, Any]]:
    """The session's spans, once those of its turn and of the request that began it are written."""
    wanted = {"invoke_agent", "POST /v1/sessions/{session_id}/events"}
    async with asyncio.timeout(_SECONDS):
        while True:
            answer = await asyncio.to_thread(session_spans, instance.data_dir / "traces", session_id)
            found = answer.records()
            if wanted <= {span["name"] for span in found}:
                return found
            await asyncio.sleep(0.25)


@requirement("platform:traces")
async def test_gateway_harness_brain_and_sandbox_host_are_in_one_trace(scene: Scene, instance: Instance) -> None:
    await scene.answers(calls(bash("echo one")), says("done"))
    session_id = await scene.session(toolset())
    log = await scene.turn(session_id)
    spans = await _spans(instance, session_id)
    [turn] = [span for span in spans if span["name"] == "invoke_agent"]
    of_turn = [span for span in spans if span["trace_id"] == turn["trace_id"]]
    by_id = {span["span_id"]: span for span in of_turn}
    assert by_id[turn["parent_id"]]["service"] == "hecaton-gateway"
    kinds = Counter(span["name"].partition(" ")[0] for span in of_turn)
    assert kinds["chat"] == len(of_type(log, "span.model_request_end")) == 2 == kinds["think"]
    assert kinds["execute_tool"] == 1 == kinds["execute"]
    assert kinds["session.status"] == 2
    far = {span["service"]: by_id[span["parent_id"]] for span in of_turn if span["name"] in ("think", "execute")}
    assert {service: near["name"].partition(" ")[0] for service, near in far.items()} == {
        "hecaton-brain": "chat",
        "hecaton-sandbox-host": "execute_tool",
    }
    for span in of_turn:
        near = far.get(span["service"])
        if near is not None and near["span_id"] == span["parent_id"]:
            assert near["start_time"] <= span["start_time"] <= span["end_time"] <= near["end_time"]
    sql = "SELECT count(*) FROM spans WHERE session_id = $session AND name = 'invoke_agent'"
    assert query_spans(instance.data_dir / "traces", sql, {"session": session_id}).rows == [(1,)]
