"""Anomalies reach the audit trail also when it is full or away for a while, and never hold up who finds them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents.clock import ManualClock
from agents.errors import HecatonError, Overloaded, Unavailable
from agents.governance.anomalies.anomaly import Anomaly, AnomalyKind, Finding
from agents.governance.anomalies.audit_sink import DETECTED, ENDED, AuditSink
from agents.governance.audit.entries import AuditEntry
from tests.unit.waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Trail:
    """Fails as it is told to, and then keeps."""

    def __init__(self, *failures: HecatonError) -> None:
        self.failures = list(failures)
        self.kept: list[AuditEntry] = []

    async def record(self, entry: AuditEntry) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if not isinstance(failure, Overloaded):
            self.kept.append(entry)  # also when the database is away: the trail writes it later
        if failure is not None:
            raise failure


def anomaly(number: int, *, over: bool = False) -> Anomaly:
    return Anomaly(f"anom_{number}", NOW, "harness-0", Finding(AnomalyKind.LOOP, "sesn_1", "words", over=over))


async def test_a_beginning_and_an_end_are_written_in_order() -> None:
    trail = Trail()
    sink = AuditSink(trail, ManualClock())
    sink.start()
    sink.note(anomaly(1))
    sink.note(anomaly(1, over=True))
    await sink.stop()
    assert [(entry.action, entry.object, entry.detail["id"]) for entry in trail.kept] == [
        (DETECTED, "sesn_1", "anom_1"),
        (ENDED, "sesn_1", "anom_1"),
    ]


async def test_what_a_full_trail_does_not_take_is_offered_again() -> None:
    trail, clock = Trail(Overloaded("full"), Overloaded("full")), ManualClock()
    sink = AuditSink(trail, clock)
    sink.start()
    sink.note(anomaly(1))
    for left in (1, 0):
        await until(lambda left=left: len(trail.failures) == left and clock.sleeping)
        assert trail.kept == []
        clock.advance(1)
    await until(lambda: trail.kept)
    await sink.stop()


async def test_what_the_trail_keeps_for_later_is_not_written_twice(caplog: pytest.LogCaptureFixture) -> None:
    trail = Trail(Unavailable("away"))
    sink = AuditSink(trail, ManualClock())
    sink.start()
    sink.note(anomaly(1))
    await sink.stop()
    assert len(trail.kept) == 1
    assert "writes detectAnomaly later" in caplog.text


async def test_more_than_the_queue_holds_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    sink = AuditSink(Trail(), ManualClock())
    for number in range(300):
        sink.note(anomaly(number))
    assert caplog.text.count("is not in the audit trail") == 300 - 256
