"""One connection to an MCP server elsewhere: Streamable HTTP, or SSE where a server knows nothing newer (spec C.4).

It lives in a task of its own, since the SDK's client must be left by the task that entered it. It ends when its server
is gone, when it has been idle for long, or when it is closed; whoever needs the server then makes another one.
Nothing is offered to the server: no sampling, no elicitation, no roots; what it tells of progress is not listened to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.session import IncomingMessage
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    Tool,
    ToolListChangedNotification,
)
from pydantic import ValidationError

from agents.errors import HecatonError, Overloaded, Unavailable
from agents.hands.servers.mcp_transport import McpTransport, Trouble, trouble_of
from agents.hands.servers.places import BUSY_SECONDS, Places
from agents.hands.servers.port import IDEMPOTENCY_KEY, ServerLost, ServerRefusedAuth, ServerUnreachable
from agents.hands.servers.settings import McpSettings

# What they have to say of a failure comes out of here as an error; their tracebacks could show a URL's query.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)
logging.getLogger("httpx2").setLevel(logging.WARNING)

logger = logging.getLogger(__name__)

_ME = Implementation(name="hecaton", version="1")
_CLOSE_SECONDS = 10.0
_MOST_PAGES = 64
_WRITE_SECONDS = 30.0

Transport = AbstractAsyncContextManager[Any]


class ServerForgot(Unavailable):
    """The server does not know this connection any more; it has not run the request, and takes it on a new one."""


class Connection:
    """A live MCP session with one server, under one credential."""

    def __init__(
        self,
        url: str,
        transport: McpTransport,
        settings: McpSettings,
        *,
        on_change: Callable[[], None],
        on_end: Callable[[Connection], None],
    ) -> None:
        """*on_change* hears that the server's tools are others now, *on_end* that this connection is no more."""
        self.transport = transport
        self._url = url
        self._settings = settings
        self._on_change = on_change
        self._on_end = on_end
        self._places = Places(settings.max_calls, idle_seconds=settings.idle_seconds, on_idle=self.close)
        self._closing = asyncio.Event()
        self._client: Client | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(), name="MCP connection")
        asyncio.get_running_loop().call_later(settings.connect_timeout_seconds, self._check_opened)

    # -- life ------------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Return once the server has answered. Raises ServerUnreachable, ServerRefusedAuth or Overloaded."""
        await asyncio.shield(self._opened)

    @property
    def users(self) -> int:
        """Requests under way, those that wait for a place included."""
        return self._places.users

    @property
    def open(self) -> bool:
        return not (self._closing.is_set() or self._life.done())

    def close(self) -> None:
        """End the connection, without waiting for it; calls under way are lost."""
        self._closing.set()
        if self._client is None:
            self._life.cancel()

    async def closed(self) -> None:
        """Return once everything of it has ended, within bounds."""
        self.close()
        await asyncio.wait({self._life}, timeout=_CLOSE_SECONDS)
        self._life.cancel()

    def _check_opened(self) -> None:
        if not self._opened.done():
            limit = self._settings.connect_timeout_seconds
            self._fail_opening(ServerUnreachable(f"it did not answer within {limit:g} s"))
            self.close()

    def _fail_opening(self, failure: HecatonError) -> None:
        if not self._opened.done():
            self._opened.set_exception(failure)
            self._opened.exception()  # told to whoever waits; there may be nobody any more

    async def _live(self) -> None:
        try:
            await self._live_on(self._streamable(), "auto")
        except Exception as error:
            # SDK border: a failing transport comes out of its task groups as groups of anything.
            failure = error
            if self._client is None and self._is_old():
                try:
                    await self._live_on(self._sse(), "legacy")
                except Exception as older:
                    failure = older
            self._tell(failure)
        finally:
            self._closing.set()
            self._places.stop_clock()
            await self.transport.aclose()
            self._on_end(self)
            self._fail_opening(ServerUnreachable("the connection was closed before it was open"))

    def _tell(self, failure: Exception) -> None:
        if self._client is not None:
            logger.info("an MCP connection has ended: %s", type(failure).__name__)
        else:
            self._fail_opening(self._opening_failure(failure))

    async def _live_on(self, transport: Transport, mode: str) -> None:
        client = Client(transport, mode=mode, cache=None, client_info=_ME, message_handler=self._heard)
        async with client:
            self._client = client
            if self._opened.done():
                return  # too late: nobody waits any more
            self._opened.set_result(None)
            listening = asyncio.create_task(self._listen(client))
            try:
                await self._closing.wait()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    def _is_old(self) -> bool:
        """Whether the server turned down Streamable HTTP as servers of 2024 do."""
        status = self.transport.last_status
        return status is not None and 400 <= status < 500 and status not in (401, 403, 429)

    def _streamable(self) -> Transport:
        client = self._http_client()
        return streamable_http_client(
            self._url, http_client=client, max_sse_event_size=self._settings.max_message_bytes
        )

    def _sse(self) -> Transport:
        self.transport.on_broken = self._broken
        return sse_client(self._url, sse_read_timeout=86_400.0, httpx_client_factory=self._http_client)

    def _broken(self) -> None:
        if self._client is not None:
            self.close()

    def _http_client(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        """Return a client that goes by this connection's transport; deadlines of reading are the callers'."""
        del timeout
        connect = self._settings.connect_timeout_seconds
        limits = httpx2.Timeout(connect=connect, read=None, write=_WRITE_SECONDS, pool=connect)
        return httpx2.AsyncClient(transport=self.transport, headers=headers, timeout=limits, auth=auth, trust_env=False)

    def _opening_failure(self, error: Exception) -> HecatonError:
        trouble = self.transport.last_trouble
        if trouble is not None and trouble[0] is Trouble.REFUSED:
            return ServerRefusedAuth(trouble[1])
        if trouble is not None and trouble[0] is Trouble.BUSY:
            return Overloaded(trouble[1])
        if trouble is not None:
            return ServerUnreachable(trouble[1])
        words = error.message if isinstance(error, MCPError) else type(error).__name__
        return ServerUnreachable(f"it does not speak MCP as expected: {words[:300]}")

    # -- news ------------------------------------------------------------------------------------

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._on_change()

    async def _listen(self, client: Client) -> None:
        """Hear of other tools from a server of the newer kind; the older kind tells it unasked."""
        try:
            async with client.listen(tools_list_changed=True) as news:
                async for _ in news:
                    self._on_change()
        except (ListenNotSupportedError, SubscriptionLost, MCPError):
            return  # then only the age of the list counts

    # -- requests --------------------------------------------------------------------------------

    async def tools(self) -> list[Tool]:
        """Return the server's tools, at most so many. Raises as ``call``."""
        tools: list[Tool] = []
        cursor: str | None = None
        async with self._places.place():
            for _ in range(_MOST_PAGES):
                try:
                    page = await self._session().list_tools(cursor=cursor)
                except MCPError as error:
                    raise self._failure(error) or ServerUnreachable(f"it lists no tools: {error.message}") from error
                except ValidationError as error:
                    raise ServerUnreachable("its list of tools is not as MCP has it") from error
                tools += page.tools
                cursor = page.next_cursor
                if not cursor or len(tools) >= self._settings.max_tools:
                    break
        return tools[: self._settings.max_tools]

    async def call(self, tool: str, tool_input: dict[str, Any], call_id: str) -> CallToolResult | str:
        """Run a tool; returns its result, or why the server took the call and gave none.

        Cancelling this tells the server that the call is called off. Raises Overloaded, ServerUnreachable,
        ServerRefusedAuth, ServerForgot or ServerLost.
        """
        params = CallToolRequestParams(name=tool, arguments=tool_input, _meta={IDEMPOTENCY_KEY: call_id})
        async with self._places.place():
            try:
                return await self._run(params)
            except MCPError as error:
                failure = self._failure(error)
                if failure is not None:
                    raise failure from error
                return error.message
            except ValidationError:
                return "The server ran the tool, and its answer is not as MCP has it."

    async def _run(self, params: CallToolRequestParams) -> CallToolResult:
        client = self._session()
        request = CallToolRequest(params=params)
        try:
            return await client.session.send_request(request, CallToolResult)
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
        # Refused before it was run: this connection must have seen the tool's schema first.
        await client.list_tools()
        return await client.session.send_request(request, CallToolResult)

    def _session(self) -> Client:
        if self._client is None or not self.open:
            raise ServerForgot("the connection was closed")
        return self._client

    def _failure(self, error: MCPError) -> HecatonError | None:
        """Say what became of a request; None when the server itself has answered it with *error*."""
        found = trouble_of(error.data)
        if found is None:
            # Of a connection that ends in between, and of an answer that nobody can read, only the SDK tells.
            lost = error.code in (CONNECTION_CLOSED, PARSE_ERROR, REQUEST_TIMEOUT)
            return ServerLost(error.message) if lost else None
        trouble, retry_after = found
        match trouble:
            case Trouble.UNREACHABLE | Trouble.REJECTED:
                return ServerUnreachable(error.message)
            case Trouble.REFUSED:
                return ServerRefusedAuth(error.message)
            case Trouble.BUSY:
                return Overloaded(error.message, retry_after=retry_after or BUSY_SECONDS)
            case Trouble.FORGOTTEN:
                self.close()
                return ServerForgot(error.message)
            case Trouble.LOST:
                return ServerLost(error.message)
