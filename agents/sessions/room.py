"""How many sessions of one harness may run at once, and whose (law 9): no key keeps the others out."""

from __future__ import annotations

from agents.config import Settings
from agents.errors import Overloaded, RateLimited
from agents.shares import Shares


class Room:
    """Counts the running sessions by API key."""

    def __init__(self, settings: Settings) -> None:
        self._places = Shares(settings.harness.max_active_sessions, settings.key_share)

    def enter(self, principal: str) -> None:
        self._places.take(principal)

    def leave(self, principal: str) -> None:
        self._places.give_back(principal)

    def check_any(self) -> None:
        """Raise Overloaded when no session at all could start a turn."""
        if self._places.taken >= self._places.most:
            raise Overloaded(f"{self._places.taken} sessions are running, which is the limit", retry_after=1.0)

    def check(self, principal: str) -> None:
        """Raise Overloaded or RateLimited when no session of this key may start a turn now."""
        refusal = self._places.refusal(principal)
        if refusal == "full":
            self.check_any()
        if refusal is not None:
            held = self._places.held(principal)
            words = f"{held} sessions of this API key are running, more than its share; the rest is kept for others"
            raise RateLimited(words, retry_after=1.0)
