"""Ids of new sessions. Which partition a session is in follows from its id, so the id decides who takes it."""

from __future__ import annotations

import random
from collections.abc import Callable

from agents.ids import SessionId, new_session_id
from agents.sessions.partition import partition_of
from agents.sessions.sides import Side, territory

_TRIES = 500
"""One partition in seven is the scarcest side there is: not to find it has a chance of 10^-33."""


class SessionIds:
    """Draws ids until one is in a partition of the side that is meant."""

    def __init__(
        self,
        partitions: int,
        share: Callable[[], float] | None = None,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """*share* tells what part of the sessions is the monolith's; without it there are no sides."""
        self._partitions = partitions
        self._share = share
        self._chance = chance

    def new(self) -> tuple[SessionId, int, Side | None]:
        """Return an id, its partition, and whom that makes the session's owner; None where there is no choice."""
        if self._share is None:
            session_id = new_session_id()
            return session_id, partition_of(session_id, self._partitions), None
        side: Side = "monolith" if self._chance() < self._share() else "decoupled"
        meant = territory(side, self._partitions)
        for _ in range(_TRIES):
            session_id = new_session_id()
            if (partition := partition_of(session_id, self._partitions)) in meant:
                return session_id, partition, side
        raise AssertionError(f"no id of {_TRIES} was in a partition of the {side} side")
