"""``python -m cluster.kubernetes.prometheus_rules``: wraps the rules of cluster/monitoring for Prometheus' operator.

Kustomize cannot put a file into an object, so the object is a file of its own, and a test says when it is stale.
"""

from __future__ import annotations

from pathlib import Path

import yaml

_HOME = Path(__file__).parent
RULES = _HOME.parent / "monitoring" / "rules"
WRITTEN = _HOME / "components" / "monitoring" / "prometheus-rules.yaml"
NAMESPACE = "hecaton"
_HEAD = "# Written by python -m cluster.kubernetes.prometheus_rules from cluster/monitoring/rules: change it there.\n"


def wrapped() -> str:
    """Return the PrometheusRule with all groups of all files."""
    groups = [group for file in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        # The operator gives an AlertmanagerConfig only the alerts that have its namespace in a label.
        rule["labels"] = {**rule["labels"], "namespace": NAMESPACE}
    made = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "hecaton", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "hecaton"}},
        "spec": {"groups": groups},
    }
    return _HEAD + yaml.safe_dump(made, sort_keys=False, width=110)


if __name__ == "__main__":
    WRITTEN.write_text(wrapped())
