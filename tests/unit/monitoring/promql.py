"""What the monitoring's files ask for: their expressions, and the metrics that these name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HOME = Path(__file__).parents[3] / "cluster" / "monitoring"
RULE_FILES = sorted((HOME / "rules").glob("*.yaml"))
DASHBOARDS = sorted((HOME / "dashboards").glob("*.json"))
_METRIC = re.compile(r"\b(?:[a-z]+:)?hecaton[a-zA-Z0-9_:]*|\bray_[a-z0-9_]+")
_LABELS = re.compile(r'"[^"]*"')


def rules() -> list[dict[str, Any]]:
    """Return every rule of every file."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def dashboard(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def panels(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a dashboard shows, rows left out."""
    for panel in page["panels"]:
        if panel["type"] != "row":
            yield panel


def expressions(page: dict[str, Any]) -> list[str]:
    """Return every expression of a dashboard, those of its variables included."""
    asked = [target["expr"] for panel in panels(page) for target in panel["targets"]]
    return asked + [each["query"] for each in page["templating"]["list"] if each["type"] == "query"]


def metrics_of(expression: str) -> set[str]:
    """Return the names of the metrics, recorded ones included, that *expression* names."""
    return set(_METRIC.findall(_LABELS.sub("", expression)))
