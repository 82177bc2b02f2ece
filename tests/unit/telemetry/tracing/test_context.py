"""W3C Trace Context: what is taken for one, and what is handed on (spec: w3.org/TR/trace-context)."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agents.telemetry.tracing.context import TraceContext, parse_traceparent
from agents.telemetry.tracing.ids import span_id_of, trace_id_of
from agents.telemetry.tracing.sampling import Sampling
from agents.telemetry.tracing.settings import TraceSettings

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.removesuffix("1") + "0",
        "01" + GOOD[2:] + "-more",
        "ff" + GOOD[2:],
        GOOD + "-more",
        GOOD.upper(),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "",
        "nonsense",
    ],
)
def test_a_header_is_read_as_opentelemetry_reads_it(text: str) -> None:
    known = trace.get_current_span(TraceContextTextMapPropagator().extract({"traceparent": text})).get_span_context()
    expected = TraceContext(known.trace_id, known.span_id, known.trace_flags.sampled) if known.is_valid else None
    assert parse_traceparent(text) == expected


def test_what_is_handed_on_is_read_back() -> None:
    context = TraceContext(trace_id_of("sesn_1", "sevt_1"), span_id_of(5, "sevt_1"), sampled=False)
    assert parse_traceparent(context.traceparent()) == context


def test_ids_follow_from_what_they_stand_for_and_from_nothing_else() -> None:
    assert trace_id_of("sesn_1", "sevt_1") == trace_id_of("sesn_1", "sevt_1") != trace_id_of("sesn_2", "sevt_1")
    assert 0 < span_id_of(1, "sevt_1") < 2**64
    assert 0 < trace_id_of("sesn_1", "sevt_1") < 2**128


def test_the_part_of_the_traces_that_is_asked_for_is_chosen() -> None:
    sampling = Sampling.of(TraceSettings(ratio=0.25))
    chosen = sum(sampling.chosen(trace_id_of("sesn_1", str(each))) for each in range(4000))
    assert 800 < chosen < 1200
    assert Sampling.of(TraceSettings(ratio=1)).chosen(2**128 - 1)
    assert not Sampling.of(TraceSettings(ratio=0)).chosen(0)
