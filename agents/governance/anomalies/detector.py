"""The detector of one process, put together: what looks, and everybody who is told."""

from __future__ import annotations

from collections.abc import Sequence

from agents.clock import Clock
from agents.config import Settings
from agents.governance.anomalies.anomaly import AnomalyKind, AnomalySink, AnomalySinks
from agents.governance.anomalies.sinks import CountSink, LogSink
from agents.governance.anomalies.store_sink import StoreSink
from agents.governance.anomalies.watch import AnomalyWatch
from agents.governance.audit.entries import AuditLog
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder
from agents.webhooks.delivery import Webhooks
from agents.webhooks.outbox import Outbox

_WATCHED = {
    catalogue.MODEL_REQUEST_SECONDS: "brain",
    catalogue.TOOL_CALL_SECONDS: "hand",
    catalogue.HTTP_SECONDS: "route",
}
"""Latencies are looked at as they are recorded, so that an anomaly is of what the dashboards show."""
_OTHERS = frozenset({("hand", "custom"), ("hand", "worker")})
"""Whose tools take as long as applications, people and workers elsewhere do: no doing of the platform's."""


class AnomalyDetector:
    """Looks for anomalies in one process, and tells its log, its counters, the audit trail and the webhooks."""

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        clock: Clock,
        observer: str,
        audit: AuditLog,
        outbox: Outbox,
        more: Sequence[AnomalySink] = (),
    ) -> None:
        """*observer* is the process's name; its latencies are those that *recorder* gets. *more* are told as well."""
        rules = settings.anomalies
        endpoints = rules.endpoints if rules.enabled else []
        self._webhooks = Webhooks(endpoints, outbox, settings.network.guard(), clock)
        self._stored = StoreSink(audit, self._webhooks, clock)
        told = [LogSink(), CountSink(recorder), self._stored, *more]
        self.watch = AnomalyWatch(rules, AnomalySinks(told), clock, observer)
        self._enabled = rules.enabled
        if self._enabled:
            # A counter that begins with its first anomaly would not have risen by it.
            for kind in AnomalyKind:
                recorder.count(catalogue.ANOMALIES, kind.value, by=0)
            for metric, what in _WATCHED.items():
                recorder.listen(metric, lambda value, labels, what=what: self._took(what, labels[0], value))

    def _took(self, what: str, name: str, seconds: float) -> None:
        if (what, name) not in _OTHERS:
            self.watch.took(f"{what} {name}", seconds)

    def start(self) -> None:
        """Look, and tell, from now on; needs a running event loop."""
        self._stored.start()
        self._webhooks.start()
        self.watch.start()

    async def stop(self) -> None:
        """End; what waits to be posted is in the store."""
        await self.watch.stop()
        await self._stored.stop()
        await self._webhooks.close()
