"""Giving findings their names: the end of an anomaly has the id of its beginning."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from agents.clock import Clock
from agents.governance.anomalies.anomaly import Anomaly, AnomalyKind, AnomalySink, Finding, new_anomaly_id

_MAX_OPEN = 4096


class Reporter:
    """Tells a sink what was found in one process."""

    def __init__(self, sink: AnomalySink, clock: Clock, observer: str) -> None:
        self._sink = sink
        self._clock = clock
        self._observer = observer
        self._open: OrderedDict[tuple[AnomalyKind, str], str] = OrderedDict()

    def report(self, findings: Iterable[Finding]) -> None:
        """Tell of each of *findings*."""
        for finding in findings:
            key = finding.kind, finding.subject
            if finding.over:
                anomaly_id = self._open.pop(key, None) or new_anomaly_id()
            else:
                anomaly_id = self._open[key] = new_anomaly_id()
                self._open.move_to_end(key)
                if len(self._open) > _MAX_OPEN:
                    self._open.popitem(last=False)
            self._sink.note(Anomaly(anomaly_id, self._clock.now(), self._observer, finding))
