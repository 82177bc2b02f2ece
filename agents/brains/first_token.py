"""When an answer's first token came, also where its events travel together.

An answer that nobody watches comes in two batches, its opening and the rest, so that who reads it cannot tell when the
first token was there. Its replica can: it notes in the last event how long after the opening that was.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from agents.brains.port import closing

_OPENS, _TOKEN, _ENDS = "message_start", "content_block_start", "message_stop"
_NOTED = "hecaton_first_token_seconds"


class FirstToken:
    """Looks at the events of one answer; when it moves to another brain, at that one's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """*clock* gives seconds that only grow."""
        self._clock = clock
        self._opened: float | None = None
        self.at: float | None = None
        """When the first token came, by the clock; None before."""

    def see(self, event: dict[str, Any]) -> None:
        """Take note of the next event."""
        kind = event.get("type")
        if kind == _TOKEN and self.at is None:
            self.at = self._clock()
        elif kind == _OPENS:
            self._opened, self.at = self._clock(), None
        elif kind == _ENDS and self._opened is not None:
            noted = event.get(_NOTED)
            if isinstance(noted, float) and noted >= 0:  # a model's server may send anything
                self.at = self._opened + noted


async def with_first_token(
    events: AsyncIterator[dict[str, Any]], clock: Callable[[], float]
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield *events*, with that note in the last one. Raises what they raise."""
    first = FirstToken(clock)
    opened = clock()
    async with closing(events):
        async for event in events:
            first.see(event)
            if event.get("type") == _OPENS:
                opened = clock()
            elif event.get("type") == _ENDS and first.at is not None:
                event = {**event, _NOTED: first.at - opened}
            yield event
