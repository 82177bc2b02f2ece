"""Who looks on as one session's commits become durable: counters, detectors, its trace.

Invariant: a fault of theirs is theirs alone. The commit is durable by then, and its session must go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from agents.sessions.draft import Draft
from agents.sessions.events import Event, SessionRecord
from agents.sessions.log import Lease
from agents.sessions.ports import HarnessPorts
from agents.sessions.state import SessionState
from agents.telemetry.tracing.port import SessionTrace
from agents.telemetry.tracing.spans import microseconds


class Observers:
    """The observers of one session."""

    def __init__(self, ports: HarnessPorts, state: SessionState, trace: SessionTrace) -> None:
        """They look from *state* on."""
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._trace = trace
        looking = [each.session(state) for each in (ports.metrics, *ports.observers)]
        self._observers = [each for each in looking if each is not None]

    def committed(self, draft: Draft) -> None:
        """Tell them of a draft that is durable."""
        if draft.empty:
            return
        record, events = draft.state.record, draft.events
        for observer in self._observers:
            self._tell(observer, lambda each=observer: each.committed(record, events))
        if events or draft.queued or draft.consumed:
            start, end = microseconds(draft.now), microseconds(self._clock.now())
            self._tell(self._trace, lambda: self._trace.committed(record, events, start, end))

    def restored(self, record: SessionRecord, log: Sequence[Event], *, untold_since: datetime | None) -> None:
        """Have the trace go on where the *log* ends; see SessionTrace.restore."""
        self._tell(self._trace, lambda: self._trace.restore(record, log, untold_since=untold_since))

    def _tell(self, observer: object, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as fault:
            # Supervisor border: it is counted and logged there.
            self._metrics.observer_failed(observer, fault)


def untold_since(ports: HarnessPorts, lease: Lease) -> datetime | None:
    """Return since when the owner before *lease* may have left spans untold; None: it has told them all.

    One that gave its partition back goes on telling. One that died has renewed its lease within a time to live before.
    """
    if lease.lapsed_at is None or not ports.tracing.delay_seconds:
        return None
    return lease.lapsed_at - timedelta(seconds=ports.settings.harness.lease_ttl_seconds + ports.tracing.delay_seconds)
