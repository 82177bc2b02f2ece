"""The platform's figures in the Prometheus text format, gathered when asked."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge, generate_latest

_Figures = Mapping[str, Mapping[str, float] | None]


def render_metrics(harnesses: _Figures, hosts: _Figures) -> bytes:
    """Render the figures of harnesses and sandbox hosts by their names; None is one that does not answer just now.

    A figure is a gauge of its own, also one that only grows: it starts again with its process.
    """
    registry = CollectorRegistry()
    members = Gauge("hecaton_harness_members", "Live harnesses", registry=registry)
    members.set(len(harnesses))
    _gauges(registry, "hecaton_harness", "harness", harnesses)
    _gauges(registry, "hecaton_sandboxes", "host", hosts)
    return generate_latest(registry)


def _gauges(registry: CollectorRegistry, prefix: str, label: str, parts: _Figures) -> None:
    gauges: dict[str, Gauge] = {}
    for part, figures in parts.items():
        for name, value in (figures or {}).items():
            gauge = gauges.get(name)
            if gauge is None:
                text = f"Of each {label}: {name.replace('_', ' ')}"
                gauge = gauges[name] = Gauge(f"{prefix}_{name}", text, [label], registry=registry)
            gauge.labels(part).set(value)
