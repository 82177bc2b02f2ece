"""MCP servers elsewhere: what they offer, kept for a while, and their calls, over a bounded pool of connections.

One connection per server and credential, shared by all sessions that use both; a server never sees which session a
call is of, only the call's id. The SDK is loaded with the first server that is asked: who has none needs no part of it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agents.errors import HecatonError, Unavailable
from agents.hands.servers.port import (
    Caller,
    Consumption,
    Offer,
    OfferedTool,
    ServerCall,
    ServerLost,
    ServerRefusedAuth,
    ServerResult,
    ServerUnreachable,
    ToolServer,
)
from agents.hands.servers.settings import McpSettings
from agents.hands.servers.sizes import json_bytes
from agents.net.guard import Guard
from agents.vaults.port import Credentials, ServerCredential
from agents.vaults.redaction import Redaction

if TYPE_CHECKING:
    from agents.hands.servers.connection import Connection

T = TypeVar("T")

_SHORTEST_SECRET = 6
"""Characters: shorter ones could be any word, and no service gives them out."""
_KEEP_ALIVE_SECONDS = 4.0
"""Most servers close an unused connection after five seconds; a call that meets just that moment would be lost."""
_MOST_CONNECTIONS_PER_REQUEST = 3
"""A server that forgets every connection must not be reconnected for ever."""

Key = tuple[str, str]
"""URL and credential."""


@dataclass(frozen=True, slots=True)
class _KnownOffer:
    offer: Offer
    until: float


class RemoteServers:
    """The ToolServers of http and https URLs."""

    def __init__(self, settings: McpSettings, guard: Guard, credentials: Credentials) -> None:
        self._settings = settings
        self._guard = guard
        self._credentials = credentials
        self._connections: dict[Key, Connection] = {}
        self._offers: dict[Key, _KnownOffer] = {}
        self._asking: dict[Key, asyncio.Task[Offer]] = {}

    # -- offers ----------------------------------------------------------------------------------

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer."""
        credential = await self._credential(server, caller)
        key = _key(server, credential)
        known = self._offers.get(key)
        if known is not None and known.until > _now():
            return known.offer
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(server, caller, credential))
            task.add_done_callback(partial(self._asked, key))
        return await asyncio.shield(task)

    async def _ask(self, server: ToolServer, caller: Caller, credential: ServerCredential | None) -> Offer:
        from agents.hands.servers.content import offered

        limit = self._settings.connect_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                tools, secrets = await self._with(server, caller, credential, lambda each: each.tools())
        except TimeoutError:
            raise ServerUnreachable(f"it did not say within {limit:g} s what it offers") from None
        except ServerLost as lost:
            raise ServerUnreachable(lost.message) from lost
        return Offer(tuple(_redacted(tool, secrets) for tool in offered(tools)))

    def _asked(self, key: Key, task: asyncio.Task[Offer]) -> None:
        del self._asking[key]
        if task.cancelled() or task.exception() is not None:
            return  # told to whoever waits
        self._offers[key] = _KnownOffer(task.result(), _now() + self._settings.offer_seconds)
        if len(self._offers) > self._settings.max_connections:
            del self._offers[min(self._offers, key=lambda each: self._offers[each].until)]

    def _forget_offer(self, key: Key) -> None:
        self._offers.pop(key, None)

    # -- calls -----------------------------------------------------------------------------------

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call. Cancelling it tells the server that the call is called off."""
        began = _now()
        try:
            credential = await self._credential(call.server, caller)
        except Unavailable as failure:
            raise ServerUnreachable(failure.message) from failure
        try:
            async with asyncio.timeout(call.deadline):
                answer, secrets = await self._with(
                    call.server, caller, credential, lambda each: each.call(call.tool, call.input, call.call_id)
                )
        except TimeoutError:
            raise ServerLost(f"it did not answer within {call.deadline:g} s and was told to stop") from None
        except (ServerLost, ServerRefusedAuth, ServerUnreachable):
            self._forget_offer(_key(call.server, credential))  # so that the next model request finds out
            raise
        return _result(call, answer, secrets, _now() - began)

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel: here a call ends with whoever waits for it."""

    async def close(self) -> None:
        """See ToolServers.close."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.gather(*(connection.closed() for connection in list(self._connections.values())))

    # -- connections -----------------------------------------------------------------------------

    async def _credential(self, server: ToolServer, caller: Caller) -> ServerCredential | None:
        return await self._credentials.for_server(caller.vault_ids, server.url)

    async def _with(
        self,
        server: ToolServer,
        caller: Caller,
        credential: ServerCredential | None,
        ask: Callable[[Connection], Awaitable[T]],
    ) -> tuple[T, Redaction]:
        """Ask on a connection; on a new one if the server has forgotten it, and once more with a renewed credential.

        Returns the answer, and what takes the credentials that the server was shown out of it.
        """
        await self._load_sdk()
        from agents.hands.servers.connection import ServerForgot

        shown: list[str] = []
        renewed = False
        for _ in range(_MOST_CONNECTIONS_PER_REQUEST):
            shown += _secrets_of(credential)
            try:
                return await ask(await self._connection(server, credential)), Redaction(shown)
            except ServerForgot:
                continue
            except ServerRefusedAuth as refusal:
                credential = await self._renewed(server, caller, None if renewed else credential, refusal)
                renewed = True
            except HecatonError as failure:
                # A server's own words may be in it; the one that it came from must not be shown with it.
                raise type(failure)(Redaction(shown).text(failure.message), retry_after=failure.retry_after) from None
        raise ServerUnreachable("it forgets every connection")

    async def _renewed(
        self, server: ToolServer, caller: Caller, refused: ServerCredential | None, refusal: ServerRefusedAuth
    ) -> ServerCredential:
        """Return another credential than the *refused* one. Raises ServerRefusedAuth when there is none."""
        try:
            if refused is not None:
                other = await self._credentials.refused(refused, caller.vault_ids, server.url)
                if other is not None:
                    return other
            why = await self._credentials.reason(caller.vault_ids, server.url)
        except Unavailable as failure:
            why = failure.message
        raise ServerRefusedAuth(f"{refusal.message}: {why}") from refusal

    async def _load_sdk(self) -> None:
        # In a thread: it takes most of a second, in which this process's sessions go on.
        await asyncio.to_thread(importlib.import_module, "agents.hands.servers.connection")

    async def _connection(self, server: ToolServer, credential: ServerCredential | None) -> Connection:
        key = _key(server, credential)
        connection = self._connections.get(key)
        if connection is None or not connection.open:
            self._make_room()
            connection = self._connections[key] = self._connect(server.url, key)
        if credential is not None:
            connection.transport.credentials = credential.headers
        await connection.opened()
        return connection

    def _connect(self, url: str, key: Key) -> Connection:
        import httpx2

        from agents.hands.servers.connection import Connection
        from agents.hands.servers.mcp_transport import McpTransport
        from agents.net.client import GuardedTransport

        # Beside the calls: the stream of the server's own messages, what is called off, the list of tools.
        limits = httpx2.Limits(max_connections=self._settings.max_calls + 4, keepalive_expiry=_KEEP_ALIVE_SECONDS)
        transport = McpTransport(
            GuardedTransport(self._guard, limits=limits), url, max_bytes=self._settings.max_message_bytes
        )
        return Connection(
            url,
            transport,
            self._settings,
            on_change=partial(self._forget_offer, key),
            on_end=partial(self._ended, key),
        )

    def _ended(self, key: Key, connection: Connection) -> None:
        if self._connections.get(key) is connection:
            del self._connections[key]

    def _make_room(self) -> None:
        """Close the longest idle connection when there are too many. Raises ServerUnreachable when all are in use."""
        if len(self._connections) < self._settings.max_connections:
            return
        idle = next((key for key, connection in self._connections.items() if connection.users == 0), None)
        if idle is None:
            raise ServerUnreachable(f"{len(self._connections)} servers are connected, which is the limit")
        self._connections.pop(idle).close()


def _secrets_of(credential: ServerCredential | None) -> list[str]:
    """Return what must not come back from a server: its headers' values, and the token in each."""
    values = [value.get_secret_value() for value in credential.headers.values()] if credential else []
    return [part for value in values for part in (value, value.rpartition(" ")[2]) if len(part) >= _SHORTEST_SECRET]


def _redacted(tool: OfferedTool, secrets: Redaction) -> OfferedTool:
    return replace(tool, description=secrets.text(tool.description), input_schema=secrets.value(tool.input_schema))


def _key(server: ToolServer, credential: ServerCredential | None) -> Key:
    return server.url, f"{credential.vault_id}/{credential.credential_id}" if credential else ""


def _now() -> float:
    return asyncio.get_running_loop().time()


def _result(call: ServerCall, answer: Any, secrets: Redaction, seconds: float) -> ServerResult:
    from agents.hands.servers.content import blocks

    failed = isinstance(answer, str)
    content = [{"type": "text", "text": answer or "The server gave no reason."}] if failed else blocks(answer)
    content = secrets.value(content)
    consumption = Consumption(run_seconds=seconds, bytes_in=json_bytes(call.input), bytes_out=json_bytes(content))
    is_error = failed or bool(answer.is_error)
    return ServerResult(
        call.call_id, content, is_error=is_error, outcome="tool_error" if is_error else "ok", consumption=consumption
    )
