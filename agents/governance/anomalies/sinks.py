"""Who is told of anomalies at once: the log, counters."""

from __future__ import annotations

import logging

from agents.governance.anomalies.anomaly import Anomaly
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

logger = logging.getLogger(__name__)


class LogSink:
    """Writes anomalies to the process's log."""

    def note(self, anomaly: Anomaly) -> None:
        """See AnomalySink."""
        found = anomaly.finding
        level = logging.INFO if found.over else logging.WARNING
        what = "over" if found.over else "anomaly"
        logger.log(level, "%s %s (%s, %s): %s", what, anomaly.id, found.kind.value, found.subject, found.words)


class CountSink:
    """Counts anomalies by their kind, ends not."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def note(self, anomaly: Anomaly) -> None:
        """See AnomalySink."""
        if not anomaly.finding.over:
            self._recorder.count(catalogue.ANOMALIES, anomaly.finding.kind.value)
