"""Asking the fleet; apart from the fleet itself, so that who asks does not load what hosts need."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.exceptions import RayError

from actors.names import FLEET, NAMESPACE
from actors.replies import result_of
from agents.errors import Unavailable


async def ask_fleet(question: str, *args: Any, timeout: float) -> Any:
    """Call a method of the fleet and return its answer. Raises Unavailable, also when there is no fleet yet.

    The fleet is looked up each time: whoever kept a handle would go on asking one that was replaced.
    """
    try:
        # In a thread: while the head is away the look-up waits, and the event loop must not.
        fleet = await asyncio.to_thread(ray.get_actor, FLEET, namespace=NAMESPACE)
    except (ValueError, RayError) as error:
        raise Unavailable("the fleet cannot be found just now", retry_after=1.0) from error
    return await result_of(getattr(fleet, question).remote(*args), what="the fleet", timeout=timeout)
