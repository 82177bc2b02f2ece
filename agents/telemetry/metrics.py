"""The platform's figures in the Prometheus text format, gathered when asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from agents.telemetry.exposition import RecordedCollector
from agents.telemetry.recorder import Recorded

_Figures = Mapping[str, Mapping[str, Any] | None]
_Labelled = Iterable[tuple[tuple[str, ...], Mapping[str, float]]]
"""Figures with the values of their labels."""

BRAINS = "brains"
"""Under this name a harness tells the figures of each brain as it sees it, by the brain's id."""


def all_brains(by_brain: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the figures of a harness's brains taken together."""
    of_brains = by_brain.values()
    return {
        "brain_replicas": sum(each["replicas"] for each in of_brains),
        "model_requests": sum(each["requests"] for each in of_brains),
        "model_requests_waiting": sum(each["requests_waiting"] for each in of_brains),
    }


def render_metrics(
    harnesses: _Figures,
    hosts: _Figures,
    brains: _Figures | None = None,
    standby: Mapping[str, float] | None = None,
    work: Mapping[str, float] | None = None,
    engines: Mapping[tuple[str, str], Mapping[str, float]] | None = None,
    recorded: Recorded | None = None,
) -> bytes:
    """Render the figures of harnesses, hosts and brains by their names; None is one that does not answer just now.

    *engines* are by brain and replica. *recorded* is what all processes have recorded together; None: nothing is.

    A figure of a part is a gauge of its own, also one that only grows: it starts again with its process.
    """
    registry = CollectorRegistry()
    members = Gauge("hecaton_harness_members", "Live harnesses", registry=registry)
    members.set(len(harnesses))
    _gauges(registry, "hecaton_harness", ["harness"], "Of each harness", _own(harnesses))
    _gauges(registry, "hecaton_sandboxes", ["host"], "Of each host", _own(hosts))
    about_brains = "Of each brain, seen from each harness"
    _gauges(registry, "hecaton_brain", ["harness", "brain"], about_brains, _of_brains(harnesses))
    _gauges(registry, "hecaton_brain", ["brain"], "Of each brain", _own(brains or {}))
    _gauges(registry, "hecaton_brain_replica", ["brain", "replica"], "Of each brain's replica", (engines or {}).items())
    for name, value in (standby or {}).items():
        Gauge(f"hecaton_standby_{name}", f"Of the standby: {name.replace('_', ' ')}", registry=registry).set(value)
    for name, value in (work or {}).items():
        Gauge(
            f"hecaton_work_{name}", f"Of work for workers elsewhere: {name.replace('_', ' ')}", registry=registry
        ).set(value)
    if recorded is not None:
        registry.register(RecordedCollector(recorded))
    return generate_latest(registry)


def _gauges(registry: CollectorRegistry, prefix: str, labels: Sequence[str], about: str, parts: _Labelled) -> None:
    gauges: dict[str, Gauge] = {}
    for values, figures in parts:
        for name, value in figures.items():
            gauge = gauges.get(name)
            if gauge is None:
                text = f"{about}: {name.replace('_', ' ')}"
                gauge = gauges[name] = Gauge(f"{prefix}_{name}", text, labels, registry=registry)
            gauge.labels(*values).set(value)


def _own(parts: _Figures) -> _Labelled:
    """Each part's own figures, without those of its brains."""
    for part, figures in parts.items():
        yield (part,), {name: value for name, value in (figures or {}).items() if name != BRAINS}


def _of_brains(harnesses: _Figures) -> _Labelled:
    for harness, figures in harnesses.items():
        for brain, of_brain in (figures or {}).get(BRAINS, {}).items():
            yield (harness, brain), of_brain
