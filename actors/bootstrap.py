"""Bringing up the actors that Serve does not manage, as often as asked.

Which harnesses there are is written nowhere: Ray's own table of named actors says it. So a harness that was
added or taken away while the platform runs (``actors.rollout``) stays so until the next ``up``.
"""

from __future__ import annotations

from typing import Any

import ray

from actors.fleet import FleetActor
from actors.harness import HarnessActor
from actors.names import FLEET, NAMESPACE, harness_index, harness_name
from actors.placement import placed
from agents.config import Settings

_SHARED: dict[str, Any] = {"namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}


def ensure_fleet(settings: Settings) -> Any:
    """Return the fleet's handle; creates it when there is none."""
    return FleetActor.options(name=FLEET, **_SHARED, **placed(0)).remote(settings.to_json())


def find_fleet() -> Any:
    """Return the fleet's handle, None when there is none."""
    try:
        return ray.get_actor(FLEET, namespace=NAMESPACE)
    except ValueError:
        return None


def ensure_harness(settings: Settings, index: int) -> Any:
    """Return a harness's handle; creates it when there is none."""
    options = HarnessActor.options(name=harness_name(index), **_SHARED, **placed(index))
    return options.remote(settings.to_json(), index)


def harnesses() -> dict[int, Any]:
    """Return the handles of the harnesses that exist, by index."""
    known: Any = ray.util.list_named_actors(all_namespaces=True)
    found = {
        index: actor["name"]
        for actor in known
        if actor["namespace"] == NAMESPACE and (index := harness_index(actor["name"])) is not None
    }
    handles: dict[int, Any] = {}
    for index, name in sorted(found.items()):
        try:
            handles[index] = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            continue  # it ended just now
    return handles


def ensure_actors(settings: Settings) -> list[Any]:
    """Create the fleet and the harnesses that the settings ask for; returns all their handles, the fleet's first."""
    return [ensure_fleet(settings), *(ensure_harness(settings, index) for index in range(settings.harness.actors))]


def ensure_some_actors(settings: Settings) -> None:
    """Create what is missing altogether: a gateway that starts must not bring back harnesses that were taken away."""
    ensure_fleet(settings)
    if not harnesses():
        ensure_actors(settings)
