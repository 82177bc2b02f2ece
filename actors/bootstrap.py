"""Bringing up the actors that Serve does not manage, as often as asked."""

from __future__ import annotations

from typing import Any

from actors.fleet import FleetActor
from actors.harness import HarnessActor
from actors.names import FLEET, NAMESPACE, harness_name
from agents.config import Settings

_SHARED: dict[str, Any] = {"namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}


def ensure_fleet(settings: Settings) -> Any:
    """Return the fleet's handle; creates it when there is none."""
    return FleetActor.options(name=FLEET, **_SHARED).remote(settings.to_json())


def ensure_actors(settings: Settings) -> list[Any]:
    """Create the fleet and the harness actors that do not exist yet; returns all their handles, the fleet's first."""
    handles: list[Any] = [ensure_fleet(settings)]
    for index in range(settings.harness.actors):
        options = HarnessActor.options(name=harness_name(index), **_SHARED)
        handles.append(options.remote(settings.to_json(), index))
    return handles
