"""Anomalies reach the audit trail and the outbox also when these are full or away for a while, and hold up nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from agents.clock import ManualClock
from agents.errors import HecatonError, Overloaded, Unavailable
from agents.governance.anomalies.anomaly import Anomaly, AnomalyKind, Finding
from agents.governance.anomalies.store_sink import DETECTED, ENDED, StoreSink
from agents.governance.audit.entries import AuditEntry
from agents.net.guard import Guard
from agents.store.webhooks import MemoryOutbox
from agents.webhooks.delivery import Webhooks
from agents.webhooks.endpoint import Endpoint
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


class Outbox(MemoryOutbox):
    """Fails so often, but keeps the first time."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures
        self.added: list[str] = []

    async def add(self, message_id: str, *given: Any, **more: Any) -> Any:
        refused = await super().add(message_id, *given, **more)
        self.added.append(message_id)
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        return refused


def made(trail: Trail, outbox: MemoryOutbox | None = None, clock: ManualClock | None = None) -> StoreSink:
    clock = clock or ManualClock()
    endpoint = Endpoint("pager", "http://127.0.0.1:9/", SecretStr("whsec_" + "A" * 32))
    return StoreSink(trail, Webhooks([endpoint], outbox or MemoryOutbox(), Guard(), clock), clock)


def anomaly(number: int, *, over: bool = False) -> Anomaly:
    return Anomaly(f"anom_{number}", NOW, "harness-0", Finding(AnomalyKind.LOOP, "sesn_1", "words", over=over))


async def test_a_beginning_and_an_end_are_written_in_order() -> None:
    trail = Trail()
    sink = made(trail)
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
    sink = made(trail, clock=clock)
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
    sink = made(trail)
    sink.start()
    sink.note(anomaly(1))
    await sink.stop()
    assert len(trail.kept) == 1
    assert "writes detectAnomaly later" in caplog.text


async def test_what_the_outbox_may_have_kept_is_offered_again_as_the_same_message() -> None:
    outbox, clock = Outbox(failures=2), ManualClock()
    sink = made(Trail(), outbox, clock)
    sink.start()
    sink.note(anomaly(1))
    for left in (1, 0):
        await until(lambda left=left: outbox.failures == left and clock.sleeping)
        clock.advance(1)
    await sink.stop()
    assert len(outbox.added) == 3
    assert len(set(outbox.added)) == 1
    [delivery] = await outbox.take({"pager": 8}, now=clock.now(), until=clock.now())
    assert orjson.loads(delivery.body)["data"] == anomaly(1).wire()


async def test_more_than_the_queue_holds_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    sink = made(Trail())
    for number in range(300):
        sink.note(anomaly(number))
    assert caplog.text.count("is not kept") == 300 - 256
