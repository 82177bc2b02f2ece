"""How much one replica holds open at once: everything above is refused at once, nothing waits in line (law 9)."""

from __future__ import annotations

from collections.abc import Callable

from agents.errors import HecatonError


class Slots:
    """A bounded count, held by a ``with`` block; entering raises what *refuse* makes when it is full."""

    def __init__(self, most: int, refuse: Callable[[int], HecatonError]) -> None:
        self._most = most
        self._refuse = refuse
        self.taken = 0

    def __enter__(self) -> None:
        self.take(1)

    def __exit__(self, *_: object) -> None:
        self.give_back(1)

    def take(self, count: int) -> None:
        """Take *count* units, all or none. Raises the refusal."""
        if self.taken + count > self._most:
            raise self._refuse(self._most)
        self.taken += count

    def give_back(self, count: int) -> None:
        self.taken -= count
