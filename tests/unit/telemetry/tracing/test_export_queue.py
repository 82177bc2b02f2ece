"""Whoever finishes a span never waits, what there is no room for is counted, and a fault is not the end (ours)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from agents.telemetry.tracing.export_queue import ExportQueue
from agents.telemetry.tracing.spans import Span
from tests.unit.telemetry.tracing.making import span

LONG = 300.0


def test_what_waits_is_written_when_the_queue_is_closed() -> None:
    written: list[Span] = []
    queue = ExportQueue("here", written.extend, most=10, every=LONG)
    queue.start()
    queue.put([span(1), span(2)])
    queue.close(10)
    assert [each.span_id for each in written] == [1, 2]


def test_a_receiver_that_hangs_holds_up_nobody_and_costs_what_there_is_no_room_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken, go_on = threading.Event(), threading.Event()

    def hang(spans: Sequence[Span]) -> None:
        taken.set()
        go_on.wait(10)

    queue = ExportQueue("there", hang, most=600, every=LONG)
    queue.start()
    queue.put([span(each) for each in range(512)])
    assert taken.wait(10)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            queue.put([span(each) for each in range(300)])
    assert queue.dropped == 5 * 300 - 600
    assert sum("dropped" in record.message for record in caplog.records) == 1
    go_on.set()
    queue.close(10)
    assert (queue.dropped, queue.failed) == (900, 0)


@pytest.mark.parametrize("fault", [OSError("the disk is full"), ValueError("a fault of ours")])
def test_spans_that_could_not_be_written_are_counted_and_the_next_ones_are_tried(fault: Exception) -> None:
    written: list[Span] = []

    def write(spans: Sequence[Span]) -> None:
        if spans[0].span_id == 1:
            raise fault
        written.extend(spans)

    queue = ExportQueue("here", write, most=2000, every=LONG)
    queue.put([span(1)] * 512 + [span(2)])
    queue.start()
    queue.close(10)
    assert queue.failed == 512
    assert [each.span_id for each in written] == [2]
