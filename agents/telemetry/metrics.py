"""The platform's figures in the Prometheus text format, gathered when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest


def render_metrics(harnesses: Sequence[Mapping[str, float]], hosts: Mapping[str, Mapping[str, float]]) -> bytes:
    """Render the figures of harnesses and sandbox hosts; *hosts* is keyed by host name."""
    registry = CollectorRegistry()
    for name, text in (("active", "Sessions with a turn under way"), ("cached", "Sessions held in memory")):
        gauge = Gauge(f"hecaton_sessions_{name}", text, ["harness"], registry=registry)
        for index, figures in enumerate(harnesses):
            gauge.labels(harness=str(index)).set(figures.get(name, 0))
    gauges: dict[str, Gauge] = {}
    for host, figures in hosts.items():
        for name, value in figures.items():
            gauge = gauges.get(name)
            if gauge is None:
                text = f"Sandbox host: {name.replace('_', ' ')}"
                gauge = gauges[name] = Gauge(f"hecaton_sandboxes_{name}", text, ["host"], registry=registry)
            gauge.labels(host=host).set(value)
    return generate_latest(registry)
