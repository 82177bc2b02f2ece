"""The harness's Hands: sessions spread over sandbox hosts by rendezvous hashing, one call per batch."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from actors.fleet import get_fleet
from actors.replies import result_of
from agents.config import Settings
from agents.errors import Unavailable
from agents.hands.port import ToolCall, ToolResult, Workspace

# The host itself ends a call at its deadline; this much later it is taken for dead.
_GRACE_SECONDS = 15.0
_TABLE_SECONDS = 60.0


class HandsClient:
    """Runs tool calls on the sandbox host that a session belongs to."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.sandbox.tool_timeout_seconds + _GRACE_SECONDS
        self._hosts: dict[str, Any] = {}
        self._asking = asyncio.Lock()

    async def _host(self, session_id: str) -> tuple[str, Any]:
        async with self._asking:
            if not self._hosts:
                try:
                    fleet = get_fleet()
                except ValueError as error:
                    raise Unavailable("the sandbox fleet does not exist yet") from error
                self._hosts = await result_of(fleet.hosts.remote(), what="the fleet", timeout=_TABLE_SECONDS)
        name = max(self._hosts, key=lambda host: hashlib.blake2b(f"{host}/{session_id}".encode()).digest())
        return name, self._hosts[name]

    async def execute(self, workspace: Workspace, calls: Sequence[ToolCall]) -> AsyncGenerator[ToolResult, None]:
        """See Hands.execute. Raises Unavailable when the host is lost; the caller turns that into results."""
        name, host = await self._host(workspace.session_id)
        if len(calls) == 1:
            ref = host.execute_one.remote(workspace, calls[0])
            try:
                yield await result_of(ref, what=name, timeout=self._limit)
            except asyncio.CancelledError:
                _cancel(ref)
                raise
            return
        stream = host.execute.options(num_returns="streaming").remote(workspace, list(calls))
        finished = False
        end = asyncio.get_running_loop().time() + self._limit
        try:
            while (results := await _next_results(stream, end)) is not None:
                for result in results:
                    yield result
            finished = True
        except TimeoutError:
            raise Unavailable(f"{name} did not answer within {self._limit:g} s") from None
        except RayError as error:
            raise Unavailable(f"{name} was lost ({type(error).__name__})") from error
        finally:
            if not finished:
                _cancel(stream)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """See Hands.release."""
        name, host = await self._host(session_id)
        await result_of(host.release.remote(session_id, destroy), what=name, timeout=_TABLE_SECONDS)


async def _next_results(stream: Any, end: float) -> list[ToolResult] | None:
    async with asyncio.timeout_at(end):
        ref = await anext(stream, None)
        return None if ref is None else await ref


def _cancel(ref: Any) -> None:
    ray.cancel(ref)
