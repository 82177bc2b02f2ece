"""How much one replica holds open at once: everything above is refused at once, nothing waits in line (law 9)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from agents.errors import HecatonError, RateLimited
from agents.shares import Shares

_RETRY_SECONDS = 1.0


class Slots:
    """A bounded count, shared fairly by principals; *refuse* makes the error for when it is full."""

    def __init__(self, most: int, refuse: Callable[[int], HecatonError], *, share: float = 1.0) -> None:
        self._shares = Shares(most, share)
        self._refuse = refuse

    @property
    def taken(self) -> int:
        return self._shares.taken

    @contextmanager
    def held_by(self, principal: str) -> Generator[None]:
        """Hold one slot. Raises as ``take``."""
        self.take(principal, 1)
        try:
            yield
        finally:
            self.give_back(principal, 1)

    def take(self, principal: str, count: int) -> None:
        """Take *count* units, all or none. Raises the refusal, or RateLimited for a key beyond its share."""
        refusal = self._shares.refusal(principal, count)
        if refusal == "full":
            raise self._refuse(self._shares.most)
        if refusal is not None:
            raise RateLimited(
                "this API key holds more than its share of this server, and the rest is kept for others",
                retry_after=_RETRY_SECONDS,
            )
        self._shares.take(principal, count)

    def give_back(self, principal: str, count: int) -> None:
        if count:
            self._shares.give_back(principal, count)
