"""Noticing that the other end of a link has fallen silent: stopped, stuck, or on a machine that is gone.

The calling end pings and the serving end answers, so that each hears from the other at every beat. Silence
is counted in beats of one's own and not in seconds of the clock: whoever was stopped itself first reads
what came meanwhile, and then judges.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from actors.message_stream import MessageStream

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
CALLER_BEATS = 8
SERVER_BEATS = 10
"""Both bounds ride out a peer that is stopped for ten seconds; the caller, who can act on it, gives up first."""


async def watch_pulse(
    stream: MessageStream, *, beats: int, pings: bool, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Cut *stream* once nothing was heard on it for *beats* beats."""
    silent, heard = 0, stream.received
    while not stream.closed:
        if pings:
            stream.send(("ping", 0))
        await sleep(BEAT_SECONDS)
        silent = silent + 1 if stream.received == heard else 0
        heard = stream.received
        if silent >= beats and not stream.closed:
            logger.warning("a link was cut: nothing was heard for %d beats of %g s", beats, BEAT_SECONDS)
            stream.abort()
