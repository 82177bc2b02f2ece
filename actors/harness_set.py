"""The harnesses: those that there are, and those that there shall be.

The latter is a note in the cluster (``actors.cluster_notes``).
Whoever starts or ends harnesses writes it first, so one that is missing, because whoever was replacing it died, is
started by the fleet (``actors.harness_keeper``).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Any, cast

import ray

from actors.cluster_notes import get_note, put_note
from actors.harness import HarnessActor
from actors.names import DETACHED, NAMESPACE, harness_index, harness_name
from actors.placement import on_node, placed
from agents.config import Settings

_WANTED = "wanted-harnesses"
_HELD_UNTIL = "harnesses-held-until"
_HOLD_SECONDS = 900.0


def ensure_harness(settings: Settings, index: int, *, node: str | None = None) -> Any:
    """Return a harness's handle; creates it, on *node* if one is named, when there is none."""
    place = placed(index) if node is None else on_node(node)
    options = HarnessActor.options(name=harness_name(index), **DETACHED, **place)
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


def want_harnesses(indexes: Collection[int]) -> None:
    """Write which harnesses there shall be from now on."""
    put_note(_WANTED, sorted(indexes))


def wanted_harnesses() -> set[int]:
    """Return the harnesses that there shall be; empty when nobody has said so."""
    return set(cast("list[int]", get_note(_WANTED) or []))


@contextmanager
def harnesses_held() -> Generator[None]:
    """Keep the fleet from starting or moving harnesses meanwhile; not for ever, should this process die."""
    put_note(_HELD_UNTIL, time.time() + _HOLD_SECONDS)
    try:
        yield
    finally:
        put_note(_HELD_UNTIL, 0)


def are_held() -> bool:
    return time.time() < cast("float", get_note(_HELD_UNTIL) or 0)
