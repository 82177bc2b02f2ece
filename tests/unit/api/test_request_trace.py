"""The gateway's span of a request: which trace it is in, when it is kept, and that it follows its turn (ours)."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from agents.api.request_trace import RequestSpans, RequestTracing, sending
from agents.telemetry.tracing.context import handed_on
from agents.telemetry.tracing.ids import span_id_of, trace_id_of
from tests.unit.telemetry.tracing.collected import Collected

ROUTE = "/v1/sessions/{session_id}/events"
EVENTS = [{"type": "user.interrupt", "id": "sevt_1"}, {"type": "user.message", "id": "sevt_2"}]


async def ask(
    collected: Collected, *, status: int = 200, path: str = "/v1/sessions/sesn_1/events", **headers: str
) -> tuple[RequestSpans, str | None]:
    """Serve one request with these events; returns what was handed on with its call, too."""
    spans, handed = RequestSpans(collected.sink), list[str | None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["request_id"] = "req_1"
        with sending(spans, Request(scope), ROUTE, "sesn_1", EVENTS):
            near = handed_on()
            handed.append(None if near is None else near.context.traceparent())
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(*_: Any) -> Any:
        return None

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "state": {},
    }
    await RequestTracing(app, spans=spans)(scope, nothing, nothing)
    return spans, handed[0]


async def test_a_request_is_in_the_trace_that_its_message_names() -> None:
    collected = Collected()
    _, handed = await ask(collected)
    [span] = collected.spans
    trace_id = trace_id_of("sesn_1", "sevt_2")
    assert (span.trace_id, span.span_id, span.parent_id) == (trace_id, span_id_of(trace_id, "sevt_2"), None)
    assert (span.name, span.kind) == (f"POST {ROUTE}", "server")
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["hecaton.request.id"] == "req_1"
    assert handed == f"00-{trace_id:032x}-{span.span_id:016x}-01"


@pytest.mark.parametrize(("flag", "kept"), [("01", 1), ("00", 0)])
async def test_a_client_that_traces_decides_where_its_request_belongs_and_whether_it_is_kept(
    flag: str, kept: int
) -> None:
    collected = Collected()
    _, handed = await ask(collected, traceparent=f"00-{'a' * 32}-{'b' * 16}-{flag}")
    assert handed is not None and handed.startswith(f"00-{'a' * 32}-") and handed.endswith(flag)
    assert [f"{span.parent_id:x}" for span in collected.spans] == ["b" * 16] * kept


async def test_what_was_not_chosen_follows_when_its_turn_is_kept_and_what_failed_is_kept_at_once() -> None:
    collected = Collected(ratio=0)
    spans, _ = await ask(collected)
    assert not collected.spans
    spans.turned_out(trace_id_of("sesn_1", "sevt_2"))
    spans.turned_out(trace_id_of("sesn_1", "sevt_2"))
    assert len(collected.spans) == 1
    await ask(collected, status=503)
    assert [span.error for span in collected.spans] == [None, "503"]


async def test_other_requests_are_not_traced() -> None:
    collected = Collected()
    _, handed = await ask(collected, path="/v1/agents")
    assert handed is None and not collected.spans
