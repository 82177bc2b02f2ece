"""Deadlines around a brain's stream (first event, gap between events, whole request) and pauses between two tries.

The stream is always closed, so that a generation nobody waits for stops (law 7, and its bill with it).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from agents.brains.port import BrainFailure, closing
from agents.brains.route import ROUTE
from agents.config import BrainSettings


async def bounded_stream(
    stream: AsyncIterator[dict[str, Any]], settings: BrainSettings, *, live: bool = True
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield from *stream*; raises BrainFailure (transient) when a deadline passes.

    An answer that is not *live* may come whole, so that the gaps in it say nothing. Waiting for a place to think
    has a bound of its own, which comes on top of the first event's and the whole request's. That a request is on its
    way to a brain is no event of the model's.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + settings.waiting_timeout_seconds + settings.request_timeout_seconds
    first = patience = settings.waiting_timeout_seconds + settings.first_event_timeout_seconds
    later = settings.event_gap_timeout_seconds if live else settings.request_timeout_seconds
    async with closing(stream):
        while True:
            try:
                async with asyncio.timeout_at(min(end, loop.time() + patience)):
                    event = await anext(stream, None)
            except TimeoutError as error:
                waited = f"no event from the model within {patience:g} s"
                raise BrainFailure("request_failed", waited, transient=True) from error
            if event is None:
                return
            yield event
            patience = first if event.get("type") == ROUTE else later


def pause_after(failures: int, settings: BrainSettings, retry_after: float | None) -> float:
    """Return how many seconds to wait after so many *failures*: ever longer, or as long as the server asked."""
    wait = min(settings.backoff_ceiling_seconds, settings.backoff_base_seconds * 2.0 ** (failures - 1))
    wait *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
    return min(settings.backoff_ceiling_seconds, max(wait, retry_after or 0.0))
