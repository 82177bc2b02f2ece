"""What a hand's code may do to nobody but itself: end its process, or call off a call that nobody has called off.

``SystemExit`` and ``KeyboardInterrupt`` go through every ``except Exception`` and end the event loop that they are
raised in: with a replica all its calls, with a monolith the whole platform.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from agents.hands.deployed.loading import McpServer

    Lifespan = Callable[[Server[Any]], AbstractAsyncContextManager[Any]]

ENDS = (SystemExit, KeyboardInterrupt)


def contain(server: McpServer) -> None:
    """Let nothing out of the handlers and the lifespan of *server* that is more than their own failure."""
    from mcp.server import Server

    if _contained in server.middleware:
        return
    server.middleware.append(_contained)
    # The SDK has no public way to it; of its releases this project has one, fixed by its lock file.
    inner: Server[Any] = server if isinstance(server, Server) else server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    inner.lifespan = _contained_lifespan(inner.lifespan)


async def _contained(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    from mcp import MCPError
    from mcp_types import INTERNAL_ERROR

    try:
        return await call_next(ctx)
    except ENDS as error:
        raise MCPError(INTERNAL_ERROR, f"it tried to end its process ({type(error).__name__})") from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Of something that it waited for. Let through, nobody would answer the call before its deadline.
        raise MCPError(INTERNAL_ERROR, "what it waited for was cancelled") from None


def _contained_lifespan(lifespan: Lifespan) -> Lifespan:
    @asynccontextmanager
    async def contained(server: Server[Any]) -> AsyncGenerator[Any]:
        try:
            async with lifespan(server) as state:
                yield state
        except ENDS as error:
            raise RuntimeError(f"its lifespan tried to end its process ({type(error).__name__})") from None

    return contained
