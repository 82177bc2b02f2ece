"""Work for a client that has gone is stopped, as long as nothing of it was answered.

Who has lost the connection asks again or gives up; a request that still waited here, for a session's next owner
say, would be carried out behind the client's back, perhaps a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Receive

_QUICK_SECONDS = 0.5
"""Most requests are over by then, and nobody need look for their clients."""


async def disconnected(receive: Receive) -> None:
    """Return once the client has left; what is left of its request is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def for_a_client(
    gone: Callable[[], Awaitable[None]], *, answered: Callable[[], bool], quick: float = _QUICK_SECONDS
) -> AsyncGenerator[None]:
    """Do what is inside unless its client goes; *gone* returns when it has. Raises ClientDisconnect when stopped."""
    work = asyncio.current_task()
    assert work is not None
    stopped = False
    watching: asyncio.Task[None] | None = None

    async def watch() -> None:
        nonlocal stopped
        await gone()
        stopped = not answered() and work.cancel()

    def look() -> None:
        nonlocal watching
        watching = asyncio.create_task(watch())

    waiting = asyncio.get_running_loop().call_later(quick, look)
    try:
        yield
    except asyncio.CancelledError:
        if stopped and work.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        waiting.cancel()
        if watching is not None:
            watching.cancel()
