"""Riding out what passes: trying again, with growing pauses, until it works or the deadline is near.

A write is tried again only while it is known that nothing was written, or when doing it twice does no
harm (``repeatable``): a connection that is lost during the commit leaves an outcome that nobody knows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from agents.store.faults import Fault, driver_errors, fault_of, told

Result = TypeVar("Result")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_JITTER = 0.5


@dataclass(slots=True)
class Attempt:
    """How far an attempt has come."""

    committing: bool = False


async def ride_out(
    attempt: Callable[[Attempt], Awaitable[Result]],
    *,
    deadline: float,
    first_limit: float,
    repeatable: bool,
) -> Result:
    """Return what the first attempt that ends well returns.

    The first attempt is cut after *first_limit* (seconds): its connection may be one that never answers. Later
    ones have the rest of *deadline*. Raises Conflict for a violated constraint and Unavailable: at once for
    what waiting cannot mend, else at the deadline. What *attempt* raises of its own is passed on.
    """
    now = asyncio.get_running_loop().time
    ends = now() + deadline
    limit = min(ends, now() + first_limit)
    uncertain = False
    for pause in _pauses():
        state = Attempt()
        try:
            async with asyncio.timeout_at(limit):
                return await attempt(state)
        except driver_errors() as error:
            failure, passes = error, fault_of(error) is Fault.PASSES
            uncertain = uncertain or (state.committing and passes)
        if passes and (repeatable or not uncertain):
            await asyncio.sleep(min(pause, ends - now()))
            limit = ends
            if now() < ends:
                continue
        raise told(failure, uncertain=uncertain) from failure
    raise AssertionError("pauses do not end")


def _pauses() -> Iterator[float]:
    # The first is none: most often only the connection is dead, and the server there.
    yield 0.0
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(1 - _JITTER, 1)  # noqa: S311 - spreads load, guards nothing
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
