"""Keeping the harnesses complete and spread over the nodes.

Ray starts the actors of a lost node elsewhere, and there they stay. Left so, the next node to be lost may take all
harnesses with it; then no member is there to take their sessions over, which wait until Ray has noticed and has started
the harnesses anew. So a node that comes back, or joins, gets its share: one harness at a time hands its sessions
over to the others, as in ``hecaton roll harness``, and starts there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import ray
from ray.exceptions import RayError

from actors.ending import StillKnown, end_actor
from actors.harness_set import are_held, ensure_harness, harnesses, wanted_harnesses
from actors.names import harness_name
from actors.placement import nodes_for_us
from agents.config import Settings

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
_ANSWER_SECONDS = 5.0


class HarnessKeeper:
    """Looks after the harnesses of one platform; its look blocks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._nodes: set[str] = set()

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.look)
            except (RayError, StillKnown) as error:
                logger.warning("the harnesses could not be looked after: %s", error)
            except Exception:
                # Actor-supervisor border: harnesses that nobody watches any more would stay away without a trace.
                logger.exception("the harnesses could not be looked after")

    def look(self) -> None:
        """Start a harness that is missing, or move one from a crowded node; at most one thing at a time."""
        # A node counts from the second look on: one that comes and goes is not worth a move.
        nodes, self._nodes = self._nodes & (seen := set(nodes_for_us())), seen
        if not nodes or are_held():
            return
        there = harnesses()
        places = {index: _node_of(handle) for index, handle in there.items()}
        known = {index: node for index, node in places.items() if node is not None}
        missing = wanted_harnesses() - there.keys()
        if missing:
            self._start(min(missing), known, nodes)
        elif len(known) == len(there) > 1 and (index := to_move(known, nodes)) is not None:
            logger.warning("%s moves to a node that has fewer harnesses", harness_name(index))
            harness = self._settings.harness
            end_actor(there[index], harness_name(index), patience=harness.drain_seconds + harness.handover_seconds)
            del known[index]
            self._start(index, known, nodes)

    def _start(self, index: int, places: Mapping[int, str], nodes: Collection[str]) -> None:
        if are_held():
            return  # who holds them starts what is missing
        node = emptiest(places, nodes)
        logger.warning("%s starts on node %s", harness_name(index), node)
        ensure_harness(self._settings, index, node=node)


def emptiest(places: Mapping[int, str], nodes: Collection[str]) -> str:
    """Return the node with the fewest harnesses, the first by name of several."""
    counts = Counter(places.values())
    return min(nodes, key=lambda node: (counts[node], node))


def to_move(places: Mapping[int, str], nodes: Collection[str]) -> int | None:
    """Return the harness that should move to the emptiest of *nodes*; None when they are spread as evenly as can be.

    *places* are nodes by harness, also nodes that harnesses should not be on.
    """
    counts = Counter(places.values())
    node, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    if most - counts[emptiest(places, nodes)] < 2:
        return None
    return max(index for index, place in places.items() if place == node)


def _node_of(handle: Any) -> str | None:
    """Return where a harness runs; None when it does not answer just now (an older one does not know the question)."""
    if (ask := getattr(handle, "node", None)) is None:
        return None
    try:
        return ray.get(ask.remote(), timeout=_ANSWER_SECONDS)
    except RayError:
        return None
