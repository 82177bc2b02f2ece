"""What a harness records beside its sessions' logs, and how it stands."""

from __future__ import annotations

import logging

from agents.brains.registry import registry_of
from agents.config import Settings
from agents.sessions.state import SessionState
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder, SilentRecorder, recorder_for
from agents.telemetry.session_measures import SessionMeasures

logger = logging.getLogger(__name__)

UNKNOWN_BRAIN = "none"
"""Stands for the brain of a request that never got as far as one."""


class HarnessMetrics:
    """The figures of one harness."""

    def __init__(self, recorder: Recorder | None = None, *, implied_brain: str = UNKNOWN_BRAIN) -> None:
        """*implied_brain* is the id of the brain there is when none is declared."""
        self.recorder = recorder or SilentRecorder()
        self._implied = implied_brain
        self._events_waiting = 0
        self._failing: set[tuple[str, str]] = set()
        self.recorder.collect(lambda recorder: recorder.set(catalogue.LOG_LAG, self._events_waiting))

    @classmethod
    def of(cls, settings: Settings) -> HarnessMetrics:
        """Return those of a harness with *settings*. Raises InvalidSettings."""
        registry = registry_of(settings)
        implied = UNKNOWN_BRAIN if registry.declared else registry.brains[0].id
        return cls(recorder_for(metrics=settings.telemetry.metrics), implied_brain=implied)

    def session(self, state: SessionState) -> SessionMeasures | None:
        """Return what counts the commits of a session from *state* on; None when nobody wants to know."""
        return SessionMeasures(self.recorder, state, self._implied) if self.recorder.on else None

    def append_began(self, events: int) -> None:
        """Take note that so many events wait for their commit."""
        self._events_waiting += events

    def append_ended(self, events: int, seconds: float) -> None:
        """Take note that they do no more, *seconds* later."""
        self._events_waiting -= events
        self.recorder.observe(catalogue.APPEND_SECONDS, seconds)

    def wrote(self, events: int) -> None:
        """Take note of a transaction of the log."""
        self.recorder.observe(catalogue.APPEND_BATCH, events)

    def first_token(self, brain: str | None, seconds: float) -> None:
        """Take note how long somebody waited for the first token of *brain* (an id; None: the log names none)."""
        self.recorder.observe(catalogue.FIRST_TOKEN_SECONDS, seconds, brain or self._implied)

    def request_repeated(self) -> None:
        """Take note that a model request is made again at once, because its brain was lost."""
        self.recorder.count(catalogue.RETRIES, "model_request")

    def observer_failed(self, observer: object, fault: Exception) -> None:
        """Count that something that looks on at commits has failed; the first time it fails so, log how."""
        kind = type(observer).__name__
        self.recorder.count(catalogue.OBSERVER_FAILURES, kind)
        if (seen := (kind, type(fault).__name__)) not in self._failing:
            self._failing.add(seen)
            logger.error("%s has failed to look at a commit; said once", kind, exc_info=fault)
