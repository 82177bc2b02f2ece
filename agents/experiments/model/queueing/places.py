"""Replicas by how many of their places are taken, so that the least busy of thousands is found at once."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Replica(Protocol):
    """What has places."""

    load: int
    """Places that are taken."""


R = TypeVar("R", bound=Replica)


class Places(Generic[R]):
    """Replicas with *places* each. Their ``load`` changes here alone."""

    def __init__(self, places: int) -> None:
        self._places = places
        # Dictionaries, for they keep an order: a set's would differ from run to run.
        self._by_load: list[dict[R, None]] = [{} for _ in range(places + 1)]
        self._lowest = places

    def add(self, replica: R) -> None:
        """Have one more replica, with the load that it has."""
        self._by_load[replica.load][replica] = None
        self._lowest = min(self._lowest, replica.load)

    def remove(self, replica: R) -> None:
        """Have it no longer; its load stays as it is. Raises KeyError when it was not here."""
        del self._by_load[replica.load][replica]

    def idle(self) -> R | None:
        """Return a replica of which no place is taken, if there is one."""
        return next(reversed(self._by_load[0]), None)

    def take(self) -> R | None:
        """Take a place of the least busy replica; None when all are taken."""
        while self._lowest < self._places and not self._by_load[self._lowest]:
            self._lowest += 1
        if self._lowest == self._places:
            return None
        replica, _ = self._by_load[self._lowest].popitem()
        replica.load += 1
        self._by_load[replica.load][replica] = None
        return replica

    def give_back(self, replica: R) -> None:
        """Free a place of *replica*."""
        del self._by_load[replica.load][replica]
        replica.load -= 1
        self._by_load[replica.load][replica] = None
        self._lowest = min(self._lowest, replica.load)
