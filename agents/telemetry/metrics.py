"""The platform's figures in the Prometheus text format, gathered when asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

_Figures = Mapping[str, Mapping[str, Any] | None]

BRAINS = "brains"
"""Under this name a harness tells the figures of each brain as it sees it, by the brain's id."""


def render_metrics(harnesses: _Figures, hosts: _Figures) -> bytes:
    """Render the figures of harnesses and sandbox hosts by their names; None is one that does not answer just now.

    A figure is a gauge of its own, also one that only grows: it starts again with its process.
    """
    registry = CollectorRegistry()
    members = Gauge("hecaton_harness_members", "Live harnesses", registry=registry)
    members.set(len(harnesses))
    _gauges(registry, "hecaton_harness", "harness", harnesses)
    _gauges(registry, "hecaton_sandboxes", "host", hosts)
    _brain_gauges(registry, harnesses)
    return generate_latest(registry)


def _gauges(registry: CollectorRegistry, prefix: str, label: str, parts: _Figures) -> None:
    gauges: dict[str, Gauge] = {}
    for part, figures in parts.items():
        for name, value in (figures or {}).items():
            if name == BRAINS:
                continue
            gauge = gauges.get(name)
            if gauge is None:
                text = f"Of each {label}: {name.replace('_', ' ')}"
                gauge = gauges[name] = Gauge(f"{prefix}_{name}", text, [label], registry=registry)
            gauge.labels(part).set(value)


def _brain_gauges(registry: CollectorRegistry, harnesses: _Figures) -> None:
    gauges: dict[str, Gauge] = {}
    for harness, figures in harnesses.items():
        for brain, of_brain in (figures or {}).get(BRAINS, {}).items():
            for name, value in of_brain.items():
                if name not in gauges:
                    text = f"Of each brain, seen from each harness: {name.replace('_', ' ')}"
                    gauges[name] = Gauge(f"hecaton_brain_{name}", text, ["harness", "brain"], registry=registry)
                gauges[name].labels(harness, brain).set(value)
