"""``/hands/{name}/mcp``: every hand, to any MCP client, over Streamable HTTP and with this platform's keys.

The protocol is the SDK's; here its one server stands for all hands, and passes calls on to where they run. It keeps no
state between requests, so that any gateway answers any of them. A call has a record in the books before it has an
answer (``agents.economics.metered_calls``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.api.platform import Platform
from agents.api.routes import Operation
from agents.economics.call_prices import PricedServers, contract_texts
from agents.economics.metered_calls import MeteredCalls
from agents.errors import HecatonError, NotFound
from agents.hands.deployed.records import SCHEME, hand_of
from agents.hands.servers.port import (
    IDEMPOTENCY_KEY,
    Caller,
    Offer,
    ServerCall,
    ServerUnreachable,
    ToolServer,
    VersionMismatch,
)
from agents.ids import new_event_id

if TYPE_CHECKING:
    from mcp.server import Server, ServerRequestContext
    from mcp.server.context import CallNext, HandlerResult
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams

_FAILED = -32000
"""JSON-RPC's first code for a server's own errors."""
_MOST_KEY = 200


class HandMcpRoutes:
    """One path for each hand."""

    def __init__(self, platform: Platform) -> None:
        self._deployed = platform.deployed
        contracts = contract_texts(platform.store.hands)
        priced = PricedServers(platform.deployed, platform.prices, contracts, repeats_are_hits=True)
        self._calls = MeteredCalls(priced, platform.store.calls, platform.clock)
        self._deadline = platform.settings.mcp.call_timeout_seconds
        self._manager: asyncio.Task[StreamableHTTPSessionManager] | None = None
        self._living: asyncio.Task[None] | None = None

    def operations(self) -> list[Operation]:
        """Return the operation, which MCP describes and not this API."""
        return [Operation("POST", "/hands/{name}/mcp", self.post, "callHandOverMcp", "hands")]

    async def post(self, request: Request) -> Response:
        request.state.offer = await self._offer(request)
        if self._manager is None:
            self._manager = asyncio.create_task(self._start())
        return _McpAnswer(await asyncio.shield(self._manager))

    async def _start(self) -> StreamableHTTPSessionManager:
        # Only now: most gateways never need it, and it takes half a second to load.
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        manager = StreamableHTTPSessionManager(self._server(), stateless=True, json_response=True)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._living = asyncio.create_task(_live(manager, started))
        await started
        return manager

    def _server(self) -> Server[Any]:
        from mcp.server import Server

        server: Server[Any] = Server("hecaton", on_list_tools=_list_tools, on_call_tool=self._call_tool)
        server.middleware.append(_introduced)
        return server

    async def _offer(self, request: Request) -> Offer:
        """Return what the hand in the path offers. Raises NotFound."""
        name = request.path_params["name"]
        hand_of(name)
        try:
            return await self._deployed.offer(_server_of(name), _caller_of(request))
        except (ServerUnreachable, VersionMismatch) as error:
            if error.retry_after is not None:
                raise
            raise NotFound(error.message) from error

    async def _call_tool(self, context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        from mcp import MCPError
        from mcp_types import INVALID_PARAMS

        from agents.hands.servers.mcp_words import mcp_result

        request, offer = _request_of(context), _offer_of(context)
        if params.name not in (names := [tool.name for tool in offer.tools]):
            said = f"hand {offer.hand} has no tool {params.name[:100]!r}; there are: {', '.join(names)}"
            raise MCPError(INVALID_PARAMS, said)
        key = (context.meta or {}).get(IDEMPOTENCY_KEY)
        call_id = key[:_MOST_KEY] if isinstance(key, str) and key else new_event_id()
        server = _server_of(request.path_params["name"])
        call = ServerCall(call_id, server, params.name, params.arguments or {}, self._deadline, offer.hand)
        try:
            return mcp_result(await self._calls.call(call, _caller_of(request)))
        except HecatonError as error:
            raise MCPError(_FAILED, error.message, {"type": error.code, "retry_after": error.retry_after}) from error


async def _list_tools(context: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
    from mcp_types import ListToolsResult

    from agents.hands.servers.mcp_words import mcp_tool

    del params
    return ListToolsResult(tools=[mcp_tool(tool) for tool in _offer_of(context).tools])


async def _introduced(ctx: ServerRequestContext[Any], call_next: CallNext) -> HandlerResult:
    """Let the server bear the name and the version of the hand that it stands for (a middleware of the SDK's)."""
    from mcp_types import SERVER_INFO_META_KEY

    result = await call_next(ctx)
    if not isinstance(result, dict):
        return result
    name, _, version = _offer_of(ctx).hand.partition("@")
    info = {"name": name, "version": version}
    # In the protocol of 2025 it is told once, in that of 2026 with every result.
    if ctx.method == "initialize":
        result["serverInfo"] = info
    meta: dict[str, Any] = result.get("_meta") or {}
    if SERVER_INFO_META_KEY in meta:
        result["_meta"] = {**meta, SERVER_INFO_META_KEY: info}
    return result


class _McpAnswer(Response):
    """Lets the SDK answer."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        super().__init__()
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


async def _live(manager: StreamableHTTPSessionManager, started: asyncio.Future[None]) -> None:
    """Be the task in which the manager lives, as the SDK asks for: as long as this process."""
    async with manager.run():
        started.set_result(None)
        await asyncio.Event().wait()


def _server_of(name: str) -> ToolServer:
    return ToolServer(name, f"{SCHEME}{name}")


def _caller_of(request: Request) -> Caller:
    """Say whose calls a client's are: those of one key share a memory of calls, as those of a session do."""
    principal: str = request.state.principal
    return Caller(f"mcp:{principal}", principal)


def _request_of(context: ServerRequestContext[Any]) -> Request:
    assert context.request is not None, "requests come over HTTP here"
    return cast("Request", context.request)


def _offer_of(context: ServerRequestContext[Any]) -> Offer:
    """Return what the hand offered as the request came in: all of a request is of one version."""
    return _request_of(context).state.offer
