"""The harness's Hands: tool calls over links to the sandbox hosts, one stream per batch (ADR 0009)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from actors.fleet_client import ask_fleet
from actors.host_links import HostLinks, IncarnationGone
from actors.link_client import LinkDown, LinkLost
from agents.config import Settings
from agents.errors import HecatonError, Unavailable
from agents.hands.incarnation import host_of
from agents.hands.placement import HostState, HostTable, choose
from agents.hands.port import CallNotSent, CallRefused, HostLost, ToolCall, ToolResult, Workspace

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 15.0
"""The host itself ends a call at its deadline and then copies what it changed; this much later nobody waits."""
_TABLE_SECONDS = 10.0
_RESTART_SECONDS = 10.0
"""A session waits so long for its host's next process, for the sake of the files on that disk."""
_SILENT_SECONDS = 60.0
"""And so long for a host that is silent: the fleet kills it well before."""
_LOOK_SECONDS = 0.25
_CANCEL_SECONDS = 30.0
_RELEASE_SECONDS = 20.0


class HandsClient:
    """Runs tool calls on the sandbox hosts that the fleet keeps."""

    def __init__(self, settings: Settings, *, ask: Callable[[], Awaitable[HostTable]] | None = None) -> None:
        """*ask* returns the fleet's table of hosts (for tests; else the fleet is asked)."""
        self._limit = settings.sandbox.tool_timeout_seconds
        self._grace = _GRACE_SECONDS + settings.checkpoints.timeout_seconds
        self._hosts = HostLinks(ask or partial(ask_fleet, "hosts", timeout=_TABLE_SECONDS))
        self._background: set[asyncio.Task[None]] = set()

    # -- placing ---------------------------------------------------------------------------------

    def place(self, workspace: Workspace) -> str | None:
        """See Hands.place."""
        return choose(self._hosts.table(), workspace, patient=True)

    async def locate(self, workspace: Workspace) -> str:
        """See Hands.locate."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (waited := loop.time() - began) < self._limit:
            table = await self._known_hosts()
            own = table.get(host_of(workspace.host)) if workspace.host is not None else None
            silent = own is not None and own.state is HostState.SILENT
            patience = _SILENT_SECONDS if silent else _RESTART_SECONDS
            if (incarnation := choose(table, workspace, patient=waited < patience)) is not None:
                return incarnation
            await asyncio.sleep(_LOOK_SECONDS)
        raise Unavailable(f"no sandbox host was up for {self._limit:g} s")

    async def _known_hosts(self) -> HostTable:
        try:
            return await self._hosts.fresh_table()
        except Unavailable:
            return {}  # nothing is known yet, and the fleet is being restarted: it is waited for as hosts are

    # -- calls -----------------------------------------------------------------------------------

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        """See Hands.execute. Raises Unavailable too: the host did not answer in time, and may still run the calls."""
        if not calls:
            return
        host = host or await self.locate(workspace)
        loop = asyncio.get_running_loop()
        end = loop.time() + max(call.deadline for call in calls) + self._grace
        left = {call.call_id: call for call in calls}
        sent = False
        while left:
            try:
                if loop.time() >= end:
                    raise TimeoutError
                async with asyncio.timeout_at(end):
                    link = await self._hosts.link(host)
                batch = link.stream("execute", workspace, list(left.values()), timeout=end - loop.time())
                async with aclosing(batch) as results:
                    async for result in results:
                        left.pop(result.call_id, None)
                        yield result
                if left:
                    raise Unavailable(f"the sandbox host {host} ended without an answer")
            except LinkDown:
                continue
            except LinkLost:
                # Asked again, the same incarnation answers from memory; if it is gone, that is found out.
                sent = True
            except CallRefused:
                self._hosts.note_leaving(host)
                raise
            except (IncarnationGone, CallNotSent):
                raise (HostLost if sent else CallNotSent)(f"the sandbox host {host} is gone") from None
            except TimeoutError:
                words = f"the sandbox host {host} did not answer in time"
                raise (Unavailable if sent else CallNotSent)(words) from None

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        """See Hands.cancel."""
        for host in set(calls.values()):
            chosen = {call_id: incarnation for call_id, incarnation in calls.items() if incarnation == host}
            self._spawn(self._cancel(session_id, host, chosen))

    async def _cancel(self, session_id: str, host: str, calls: Mapping[str, str]) -> None:
        try:
            await self._hosts.call(host, "cancel", (session_id, calls), timeout=_CANCEL_SECONDS)
        except IncarnationGone:
            pass  # and the calls with it
        except HecatonError as error:
            logger.warning("%s runs on with cancelled calls of %s: %s", host, session_id, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # -- release ---------------------------------------------------------------------------------

    async def release(self, session_id: str, *, destroy: bool) -> None:
        """See Hands.release. Every host is told: the session may have left files on each that it has been on."""
        table = await self._hosts.fresh_table()
        known = [place.incarnation for place in table.values() if place.incarnation is not None]
        ends = [self._release_on(host, session_id, destroy=destroy) for host in known]
        ended = await asyncio.gather(*ends)
        if destroy and not any(ended):
            raise Unavailable("no sandbox host is up to remove files and checkpoints")

    async def _release_on(self, host: str, session_id: str, *, destroy: bool) -> bool:
        """Returns whether it was done; not when the host is gone: its next start finds what it left."""
        try:
            await self._hosts.call(host, "release", (session_id, destroy), timeout=_RELEASE_SECONDS)
        except IncarnationGone:
            return False
        return True
