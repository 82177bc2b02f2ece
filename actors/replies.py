"""How a call to an actor ends: a value, or an error of ours; nothing else crosses the border.

Domain errors travel as values, not as raised exceptions: Ray would wrap a raised one in a task error
with a formatted traceback, which costs more than the call. What Ray itself raises (a dead or restarting
actor, a timeout) becomes ``Unavailable`` on the caller's side.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError, RayTaskError

from agents.errors import HecatonError, Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A value or a domain error."""

    value: Any = None
    error: HecatonError | None = None


async def reply_of(work: Awaitable[Any]) -> Reply:
    """Await *work* and pack how it ended."""
    try:
        return Reply(await work)
    except HecatonError as error:
        return Reply(error=error)


async def result_of(ref: Any, *, what: str, timeout: float) -> Any:
    """Await an actor call and unpack its reply.

    Raises the domain error it carries, or Unavailable when *what* does not answer in time or died.
    """
    try:
        async with asyncio.timeout(timeout):
            reply: Reply = await ref
    except TimeoutError:
        raise Unavailable(f"{what} did not answer within {timeout:g} s", retry_after=1.0) from None
    except RayTaskError as error:
        logger.error("%s failed: %s", what, error)
        raise Unavailable(f"{what} failed ({type(error.cause).__name__})", retry_after=1.0) from error
    except RayError as error:
        raise Unavailable(f"{what} is restarting ({type(error).__name__})", retry_after=1.0) from error
    if reply.error is not None:
        raise reply.error
    return reply.value
