"""What a detector finds, and the port to whoever is to know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from agents.clock import rfc3339
from agents.ids import new_id


class AnomalyKind(StrEnum):
    """Every kind of anomaly there is; also the label ``kind`` of ``hecaton_anomalies_total``."""

    LATENCY_SPIKE = "latency_spike"
    LOOP = "loop"
    SESSION_COST_SPIKE = "session_cost_spike"
    COST_SPIKE = "cost_spike"
    STUCK_SESSION = "stuck_session"
    TAKEOVER_STORM = "takeover_storm"


@dataclass(frozen=True, slots=True)
class Finding:
    """One anomaly as its detector sees it, or the end of one.

    ``subject`` says what is anomalous (``brain qwen@1``, ``hand crm``, ``route /v1/sessions``, a session's id,
    ``platform``); ``figures`` are the numbers that ``words`` are about, with units in their names.
    """

    kind: AnomalyKind
    subject: str
    words: str
    figures: Mapping[str, float] = field(default_factory=lambda: {})
    session_id: str | None = None
    over: bool = False
    """Whether this says that what was found before is over."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A finding with its name and place in time; the end of an anomaly has the id of its beginning."""

    id: str
    at: datetime
    observer: str
    """Which process of the platform has seen it."""
    finding: Finding

    @property
    def event(self) -> str:
        """Return what happened, as webhooks name it."""
        return "anomaly.ended" if self.finding.over else "anomaly.detected"

    def wire(self) -> dict[str, Any]:
        """Return the anomaly as it is told to others."""
        found = self.finding
        return {
            "id": self.id,
            "type": self.event,
            "kind": found.kind.value,
            "subject": found.subject,
            "session_id": found.session_id,
            "observer": self.observer,
            "description": found.words,
            "figures": dict(found.figures),
            "at": rfc3339(self.at),
        }


def new_anomaly_id() -> str:
    """Return a fresh id such as ``anom_01JD...``."""
    return new_id("anom")


class AnomalySink(Protocol):
    """Somebody who is to know of anomalies."""

    def note(self, anomaly: Anomaly) -> None:
        """Take note of an anomaly, or of its end. Never waits and never raises: what takes time is queued."""
        ...


class AnomalySinks:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[AnomalySink]) -> None:
        self._sinks = tuple(sinks)

    def note(self, anomaly: Anomaly) -> None:
        """See AnomalySink."""
        for sink in self._sinks:
            sink.note(anomaly)
