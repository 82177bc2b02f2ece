"""``python -m cluster.kubernetes.alertmanager_config``: says alertmanager.yml to Prometheus' operator.

Addresses and tokens of receivers become keys of a secret, ``NAME-url`` and ``NAME-token``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from cluster.kubernetes.prometheus_rules import NAMESPACE

_HOME = Path(__file__).parent
SOURCE = _HOME.parent / "monitoring" / "alertmanager.yml"
WRITTEN = _HOME / "components" / "monitoring" / "alertmanager-config.yaml"
SECRET = "hecaton-alerts"  # noqa: S105 - the name of one
_HEAD = "# Written by python -m cluster.kubernetes.alertmanager_config from cluster/monitoring/alertmanager.yml.\n"
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"')
_PLAIN = {
    "receiver": "receiver",
    "group_by": "groupBy",
    "group_wait": "groupWait",
    "group_interval": "groupInterval",
    "repeat_interval": "repeatInterval",
}


def translated() -> str:
    """Return the AlertmanagerConfig. Raises KeyError, ValueError for what it does not know how to say."""
    config: Any = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    made = {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": {"name": "hecaton", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "hecaton"}},
        "spec": {
            "route": _route(config.pop("route")),
            "inhibitRules": [_inhibition(rule) for rule in config.pop("inhibit_rules")],
            "receivers": [_receiver(each) for each in config.pop("receivers")],
        },
    }
    if config:
        raise ValueError(f"not known here: {', '.join(config)}")
    return _HEAD + yaml.safe_dump(made, sort_keys=False, width=110)


def _route(route: dict[str, Any]) -> dict[str, Any]:
    rest = dict(route)
    below, matchers = rest.pop("routes", []), rest.pop("matchers", [])
    made: dict[str, Any] = {_PLAIN[name]: value for name, value in rest.items()}
    if matchers:
        made["matchers"] = _matchers(matchers)
    if below:
        made["routes"] = [_route(each) for each in below]
    return made


def _inhibition(rule: dict[str, Any]) -> dict[str, Any]:
    made = {"sourceMatch": _matchers(rule["source_matchers"]), "targetMatch": _matchers(rule["target_matchers"])}
    return made | ({"equal": rule["equal"]} if "equal" in rule else {})


def _matchers(texts: list[str]) -> list[dict[str, str]]:
    found = [_MATCHER.fullmatch(text) for text in texts]
    if None in found:
        raise ValueError(f"not all of {texts} are matchers")
    return [{"name": each[1], "matchType": each[2], "value": each[3]} for each in found if each]


def _receiver(receiver: dict[str, Any]) -> dict[str, Any]:
    name, hooks = receiver["name"], receiver.get("webhook_configs", [])
    if receiver.keys() - {"name", "webhook_configs"} or len(hooks) > 1:
        raise ValueError(f"receiver {name}: one webhook at most, and nothing else")
    return {"name": name} | ({"webhookConfigs": [_webhook(name, *hooks)]} if hooks else {})


def _webhook(name: str, hook: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "urlSecret": {"name": SECRET, "key": f"{name}-url"},
        "sendResolved": hook["send_resolved"],
    }
    if "http_config" in hook:
        made["httpConfig"] = {"authorization": {"credentials": {"name": SECRET, "key": f"{name}-token"}}}
    return made


if __name__ == "__main__":
    WRITTEN.write_text(translated(), encoding="utf-8")
