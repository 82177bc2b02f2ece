"""Whatever rules and dashboards ask for is told by somebody: the platform, a recording rule, or Ray."""

from __future__ import annotations

import pytest

from agents.governance.anomalies.anomaly import AnomalyKind
from agents.telemetry.catalogue import ANOMALIES, CATALOGUE
from agents.telemetry.metric import Kind, Metric
from agents.telemetry.self_reported import SELF_REPORTED
from tests.unit.monitoring.promql import DASHBOARDS, dashboard, expressions, metrics_of, rules

OF_RAY = {"ray_node_cpu_utilization", "ray_node_gpus_utilization", "ray_node_mem_used", "ray_node_mem_total"}
"""Metrics of Ray's own that are asked for (docs.ray.io, "System metrics")."""


def series_of(metric: Metric) -> set[str]:
    if metric.kind is Kind.HISTOGRAM:
        return {f"{metric.name}_{end}" for end in ("bucket", "sum", "count")}
    return {metric.name}


TOLD = {name for metric in CATALOGUE for name in series_of(metric)} | {name for name, _, _ in SELF_REPORTED}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
ASKED = {name for rule in rules() for name in metrics_of(rule["expr"])}
ASKED |= {name for path in DASHBOARDS for text in expressions(dashboard(path)) for name in metrics_of(text)}


def test_rules_ask_for_what_is_told() -> None:
    for rule in rules():
        assert metrics_of(rule["expr"]) <= TOLD | RECORDED, rule.get("alert") or rule["record"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_ask_for_what_is_told(path) -> None:
    for expression in expressions(dashboard(path)):
        asked = metrics_of(expression)
        assert asked, expression
        assert asked <= TOLD | RECORDED | OF_RAY, expression


def test_every_kind_of_anomaly_has_a_series_of_its_own() -> None:
    [kind] = ANOMALIES.labels
    assert len(AnomalyKind) <= kind.most


def test_every_recorded_series_is_asked_for() -> None:
    """A rule that nobody looks at costs a series for ever."""
    assert set() == RECORDED - ASKED


def test_what_the_catalogue_has_is_shown_somewhere() -> None:
    """By a dashboard or through a rule; what a metric is a part of (a bucket, a sum) counts for it."""
    assert [metric.name for metric in CATALOGUE if not series_of(metric) & ASKED] == []
