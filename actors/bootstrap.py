"""Bringing up the actors that Serve does not manage, as often as asked."""

from __future__ import annotations

from typing import Any

from actors.fleet import FleetActor
from actors.harness import HarnessActor
from actors.names import FLEET, NAMESPACE, harness_name
from agents.config import Settings


def ensure_actors(settings: Settings) -> list[Any]:
    """Create the fleet and the harness actors that do not exist yet; returns all their handles."""
    settings_json = settings.to_json()
    shared: dict[str, Any] = {"namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    handles: list[Any] = [FleetActor.options(name=FLEET, **shared).remote(settings_json)]
    for index in range(settings.harness.actors):
        options = HarnessActor.options(name=harness_name(index), **shared)
        handles.append(options.remote(settings_json, index))
    return handles
