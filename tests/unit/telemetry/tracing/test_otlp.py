"""Spans reach an OTLP/HTTP receiver as they are, with the headers of the settings; one that is away costs only them."""

from __future__ import annotations

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, url_attributes

from agents.config import Settings
from agents.telemetry.tracing import names
from agents.telemetry.tracing.otlp import OtlpExport
from agents.telemetry.tracing.process_tracing import ProcessTracing
from agents.telemetry.tracing.settings import TraceSettings
from tests.otlp_receiver import receiver
from tests.unit.telemetry.tracing.making import SESSION, turn


def test_names_are_those_of_the_semantic_conventions() -> None:
    known = {
        value
        for module in (gen_ai_attributes, error_attributes, http_attributes, url_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    ours = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str) and "." in value}
    assert {each for each in ours if each.startswith(("gen_ai.", "error.", "http.", "url."))} <= known
    assert {each.value for each in gen_ai_attributes.GenAiOperationNameValues} >= {names.CHAT, names.TOOL, names.TURN}


async def test_spans_arrive_with_their_ids_times_and_attributes() -> None:
    with receiver() as got:
        settings = Settings.model_validate(
            {"telemetry": {"traces": {"store": False, "endpoint": got.url, "headers": {"x-team": "blue"}}}}
        )
        tracing = ProcessTracing(settings, "hecaton-harness", "harness-0")
        far = turn()
        far[4].service = "hecaton-brain"
        tracing.sink.export(far)
        await tracing.close()
        assert [span.name for span in got.of(SESSION)] == [span.name for span in turn()]
        by_name = {span.name: span for span in got.spans}
        tool, think = by_name["execute_tool bash"], by_name["think"]
        assert (tool.trace_id, tool.span_id, tool.parent_id) == ("7".zfill(32), "3".zfill(16), "1".zfill(16))
        assert (tool.failed, tool.nanoseconds, tool.attributes["error.type"]) == (True, 10**9, "tool_error")
        assert (tool.service, think.service) == ("hecaton-harness", "hecaton-brain")
        assert by_name["invoke_agent"].parent_id == ""
        assert got.headers[0]["x-team"] == "blue"
        assert tracing.figures == {"trace_spans": 5, "trace_spans_dropped": 0, "trace_spans_failed": 0}


@pytest.mark.parametrize("status", [400, 403])
def test_what_a_receiver_refuses_is_a_failure_of_its_spans(status: int) -> None:
    with receiver() as got:
        got.status = status
        export = OtlpExport(TraceSettings(endpoint=got.url), "hecaton-harness", "harness-0")
        with pytest.raises(OSError, match="did not take them"):
            export(turn())
        export.end()


def test_a_receiver_that_is_away_is_given_up_within_the_limit() -> None:
    with receiver() as got:
        url = got.url
    export = OtlpExport(TraceSettings(endpoint=url, timeout_seconds=0.2), "hecaton-harness", "harness-0")
    with pytest.raises(OSError, match="did not take them"):
        export(turn())
    export.end()


def test_an_endpoint_with_a_password_is_refused_and_headers_are_never_shown() -> None:
    with pytest.raises(ValueError, match="user name or password"):
        TraceSettings(endpoint="http://a:b@localhost/v1/traces")
    with pytest.raises(ValueError, match="must be an http or https URL"):
        TraceSettings(endpoint="localhost:4317")
    shown = repr(TraceSettings.model_validate({"headers": {"authorization": "Bearer hush"}}))
    assert "hush" not in shown
