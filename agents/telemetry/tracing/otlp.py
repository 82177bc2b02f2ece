"""Spans on their way to an OTLP/HTTP receiver, by OpenTelemetry's own exporter (protobuf, repeated with back-off)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from agents.telemetry.tracing import names
from agents.telemetry.tracing.settings import TraceSettings
from agents.telemetry.tracing.spans import Span

_SCOPE = InstrumentationScope("hecaton")
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class OtlpExport:
    """Sends spans to the receiver of the settings."""

    def __init__(self, settings: TraceSettings, service: str, instance: str) -> None:
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._exporter = OTLPSpanExporter(settings.endpoint, headers=headers, timeout=settings.timeout_seconds)
        self._readable = readable_spans(service, instance)

    def __call__(self, spans: Sequence[Span]) -> None:
        """Send them. Blocks for as long as the settings allow; raises OSError when the receiver did not take them."""
        if self._exporter.export([self._readable(span) for span in spans]) is not SpanExportResult.SUCCESS:
            raise OSError("the receiver did not take them; the exporter has logged why")

    def end(self) -> None:
        """Try nothing again from now on."""
        self._exporter.shutdown()


def readable_spans(service: str, instance: str) -> Callable[[Span], ReadableSpan]:
    """Return what makes spans of the SDK's of ours.

    They are made whole, as their exporter reads them: the SDK's tracer would give them ids and times of its own.
    """
    resources: dict[str, Resource] = {}

    def resource(name: str) -> Resource:
        if name not in resources:
            known = {"service.name": name or service, "service.namespace": "hecaton"}
            resources[name] = Resource(known if name else {**known, "service.instance.id": instance})
        return resources[name]

    def readable(span: Span) -> ReadableSpan:
        parent = None if span.parent_id is None else _context(span.trace_id, span.parent_id)
        error = {} if span.error is None else {names.ERROR_TYPE: span.error}
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=parent,
            resource=resource(span.service),
            attributes={**span.attributes, **error},
            kind=_KINDS[span.kind],
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.start * 1000,
            end_time=span.end * 1000,
            instrumentation_scope=_SCOPE,
        )

    return readable


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)
