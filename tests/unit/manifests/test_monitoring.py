"""What Prometheus' operator and Grafana's sidecar are given is what cluster/monitoring has."""

from __future__ import annotations

import json
import re

import yaml

from cluster.kubernetes import alertmanager_config
from cluster.kubernetes.prometheus_rules import RULES, WRITTEN, wrapped
from tests.unit.manifests.manifests import ROOT, of_kind, rendered


def test_the_rules_of_the_operator_are_those_of_prometheus() -> None:
    assert WRITTEN.read_text() == wrapped(), "python -m cluster.kubernetes.prometheus_rules"
    rules = of_kind(rendered("gke-gpu"), "PrometheusRule")["hecaton"]["spec"]["groups"]
    # Without this label of an alert its AlertmanagerConfig does not get to see it.
    labels = [rule["labels"] for group in rules for rule in group["rules"] if "alert" in rule]
    (config,) = of_kind(rendered("gke-gpu"), "AlertmanagerConfig").values()
    assert {each.pop("namespace") for each in labels} == {config["metadata"]["namespace"]}
    assert rules == [
        group for file in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]
    ]
    names = [group["name"] for group in rules]
    assert len(names) == len(set(names))


def test_the_operator_sends_alerts_where_alertmanager_does() -> None:
    assert alertmanager_config.WRITTEN.read_text() == alertmanager_config.translated(), (
        "python -m cluster.kubernetes.alertmanager_config"
    )
    spec = of_kind(rendered("gke-gpu"), "AlertmanagerConfig")["hecaton"]["spec"]
    critical, _, info = spec["route"]["routes"]
    assert critical["matchers"] == [{"name": "severity", "matchType": "=", "value": "critical"}]
    pager, _, nobody = spec["receivers"]
    assert (critical["receiver"], info["receiver"]) == (pager["name"], nobody["name"]) == ("pager", "nobody")
    assert "example.com" not in alertmanager_config.translated()
    (hook,) = pager["webhookConfigs"]
    named = {hook["urlSecret"]["key"], hook["httpConfig"]["authorization"]["credentials"]["key"]}
    named |= {key.replace("pager", "tickets") for key in named}
    guide = (ROOT / "docs" / "monitoring.md").read_text()
    assert f"create secret generic {alertmanager_config.SECRET} " in guide
    assert named == set(re.findall(r"--from-literal=([\w-]+)=", guide))


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
        for kind in ("PodMonitor", "PrometheusRule", "AlertmanagerConfig"):
            assert not of_kind(rendered(overlay), kind)
