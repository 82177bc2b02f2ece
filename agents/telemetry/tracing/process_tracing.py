"""The tracing of one process, as the settings have it: what makes traces, and what they are written and sent by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agents.config import Settings
from agents.telemetry.tracing.export_queue import ExportQueue
from agents.telemetry.tracing.log_trace import LogTrace
from agents.telemetry.tracing.port import SessionTrace, Untraced
from agents.telemetry.tracing.sampling import Sampling
from agents.telemetry.tracing.span_files import SpanFiles
from agents.telemetry.tracing.span_sink import SpanSink

_CLOSE_SECONDS = 2.0


def trace_folder(settings: Settings) -> Path:
    """Return where the trace store lies."""
    return settings.telemetry.traces.directory or settings.data_dir / "traces"


class ProcessTracing:
    """The Tracing of one process."""

    def __init__(
        self, settings: Settings, service: str, instance: str, *, on_exceptional: Callable[[int], None] = lambda _: None
    ) -> None:
        """*service* says what part this is (``hecaton-harness``), *instance* which of them.

        *on_exceptional* hears of traces that are kept for what became of their turn, though they were not chosen.
        """
        traces = self._settings = settings.telemetry.traces
        self._queues: list[ExportQueue] = []
        self._enders: list[Callable[[], None]] = []
        if traces.enabled and traces.store:
            files = SpanFiles(trace_folder(settings), traces, service, instance)
            self._queues.append(self._queue("the trace store", files))
        if traces.enabled and traces.endpoint is not None:
            from agents.telemetry.tracing.otlp import OtlpExport  # with all of its HTTP client, only where it is used

            export = OtlpExport(traces, service, instance)
            self._queues.append(self._queue("the OTLP receiver", export))
            self._enders.append(export.end)
        sampling = Sampling.of(traces)
        most = traces.max_spans_per_turn
        self.sink = SpanSink(sampling, self._queues, most=most, on_exceptional=on_exceptional)
        self._on = bool(self._queues)

    def _queue(self, name: str, write: Callable[..., None]) -> ExportQueue:
        queue = ExportQueue(name, write, most=self._settings.max_queued_spans, every=self._settings.write_seconds)
        queue.start()
        return queue

    @property
    def on(self) -> bool:
        """Whether anybody takes spans."""
        return self._on

    def session(self, session_id: str) -> SessionTrace:
        """Return the traces of a session that this process owns."""
        return LogTrace(session_id, self.sink) if self._on else Untraced()

    @property
    def delay_seconds(self) -> float:
        """See Tracing.delay_seconds: what waits to be written, and what a receiver is just sent."""
        return self._settings.write_seconds + self._settings.timeout_seconds if self._on else 0.0

    @property
    def figures(self) -> dict[str, int]:
        """See Tracing.figures; empty when nothing is traced."""
        return self.sink.figures if self._on else {}

    async def close(self) -> None:
        """Write and send what waits, within bounds."""
        closing = [asyncio.to_thread(queue.close, _CLOSE_SECONDS) for queue in self._queues]
        await asyncio.gather(*closing)
        for end in self._enders:
            end()
