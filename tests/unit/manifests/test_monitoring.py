"""What Prometheus' operator and Grafana's sidecar are given is what cluster/monitoring has."""

from __future__ import annotations

import json

import yaml

from cluster.kubernetes.prometheus_rules import RULES, WRITTEN, wrapped
from tests.unit.manifests.manifests import ROOT, of_kind, rendered


def test_the_rules_of_the_operator_are_those_of_prometheus() -> None:
    assert WRITTEN.read_text() == wrapped(), "python -m cluster.kubernetes.prometheus_rules"
    rules = of_kind(rendered("gke-gpu"), "PrometheusRule")["hecaton"]["spec"]["groups"]
    assert rules == [
        group for file in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]
    ]
    names = [group["name"] for group in rules]
    assert len(names) == len(set(names))


def test_every_dashboard_reaches_grafana() -> None:
    folder = ROOT / "cluster" / "monitoring" / "dashboards"
    shown = {
        name: json.loads(text)
        for made in of_kind(rendered("gke-gpu"), "ConfigMap").values()
        if made["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in made["data"].items()
    }
    assert shown == {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}


def test_nothing_of_prometheus_is_needed_where_it_is_not() -> None:
    for overlay in ("base", "kind"):
        assert not of_kind(rendered(overlay), "PodMonitor") and not of_kind(rendered(overlay), "PrometheusRule")
