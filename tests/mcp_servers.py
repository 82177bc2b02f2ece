"""MCP servers on local ports, of every kind, that refuse, hang, die and come back when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from starlette.responses import PlainTextResponse

from tests.stub_model.serving import address, listen
from tests.unit.waiting import until

Kind = Literal["new", "json", "handshake", "sse"]
"""Streamable HTTP of 2026, the same without event streams, with sessions as before that, and HTTP+SSE of 2024."""


class _Server(uvicorn.Server):
    """Ends when it is told, instead of looking every tenth of a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.over = asyncio.Event()

    async def main_loop(self) -> None:
        await self.over.wait()


class LiveMcp:
    """One server with tools of every temper, and what came of their calls."""

    def __init__(self, kind: Kind = "new") -> None:
        self.kind = kind
        self.token: str | None = None
        """What must be shown as bearer token."""
        self.status: int | None = None
        """Answered to every tool call instead of running it."""
        self.calls: list[str] = []
        self.keys: list[object] = []
        self.cancelled: list[str] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.stopped = asyncio.Event()
        self.connections = 0
        """Handshakes, or discoveries, so far."""
        self._listener = listen()
        self._address = address(self._listener)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return self._address + ("/sse" if self.kind == "sse" else "/mcp")

    # -- tools -----------------------------------------------------------------------------------

    def _tools(self) -> MCPServer:
        news = InMemorySubscriptionBus()
        server = MCPServer("crm", log_level="CRITICAL", subscriptions=news)

        @server.tool(annotations=ToolAnnotations(read_only_hint=True))
        async def find(who: str, ctx: Context) -> str:
            """Find a customer."""
            return await self._hold("find", f"found {who}", ctx)

        @server.tool()
        async def charge(who: str, ctx: Context) -> str:
            """Charge a customer."""
            return await self._hold("charge", f"charged {who}", ctx)

        @server.tool()
        async def quick(who: str, ctx: Context) -> str:
            """Answer at once."""
            self._note("quick", ctx)
            return f"hello {who}"

        @server.tool()
        async def refuse() -> CallToolResult:
            """Report an error."""
            return CallToolResult(content=[TextContent(text="no such customer")], is_error=True)

        @server.tool()
        async def parrot(ctx: Context) -> CallToolResult:
            """Repeat what must not be repeated."""
            said = f"you sent {(ctx.headers or {}).get('authorization')}"
            return CallToolResult(content=[TextContent(text=said)], structured_content={"said": said})

        @server.tool()
        async def flood() -> str:
            """Say more than anybody reads."""
            return "x" * 300_000

        @server.tool()
        async def learn(ctx: Context) -> str:
            """Offer one more tool from now on, and tell whoever listens."""
            server.add_tool(_nothing, name="learned")
            await news.publish(ToolsListChanged())
            if self.kind == "handshake":
                await ctx.session.send_tool_list_changed()
            return "learnt"

        return server

    def _note(self, tool: str, ctx: Context) -> None:
        self.calls.append(tool)
        self.keys.append((ctx.request_context.meta or {}).get("hecaton/idempotency-key"))
        self.begun.set()

    async def _hold(self, tool: str, answer: str, ctx: Context) -> str:
        self._note(tool, ctx)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(tool)
            self.stopped.set()
            raise
        return answer

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve, on the same port as before."""
        if self._listener.fileno() < 0:
            self._listener = listen(port=int(self._address.rpartition(":")[2]))
        mcp = self._tools()
        app: Any = mcp.sse_app() if self.kind == "sse" else mcp.streamable_http_app(json_response=self.kind == "json")
        config = uvicorn.Config(
            self._gate(app), log_level="critical", access_log=False, timeout_graceful_shutdown=1, lifespan="on"
        )
        server = self._server = _Server(config)
        # The server's signal handlers belong to the test runner here.
        self._task = asyncio.create_task(server._serve([self._listener]))
        await until(lambda: server.started)

    async def stop(self) -> None:
        """Go away at once: connections are reset, the port is closed."""
        if self._task is None or self._server is None:
            self._listener.close()
            return
        self._server.force_exit = True
        self._server.over.set()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(self._task, return_exceptions=True)
        self._listener.close()
        self._task = None

    def _gate(self, app: Any) -> Any:
        async def gate(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            refusal = self._refusal({key.decode(): value.decode() for key, value in scope["headers"]})
            if refusal is not None:
                await PlainTextResponse("no", refusal)(scope, receive, send)
                return
            if scope["method"] == "POST" and self.kind != "sse":
                body = await _body(receive)
                self.connections += b'"initialize"' in body or b'"server/discover"' in body
                if self.status is not None and b'"tools/call"' in body:
                    headers = {"retry-after": "7"} if self.status == 429 else {}
                    await PlainTextResponse("no", self.status, headers)(scope, receive, send)
                    return
                receive = _again(body, receive)
            await app(scope, receive, send)

        return gate

    def _refusal(self, headers: dict[str, str]) -> int | None:
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            return 401
        new = headers.get("mcp-protocol-version", "").startswith("2026")
        return 400 if new and self.kind == "handshake" else None


async def _nothing() -> str:
    return "nothing"


async def _body(receive: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Any) -> Any:
    told = False

    async def again() -> Any:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


@asynccontextmanager
async def live_mcp(kind: Kind = "new", *, started: bool = True) -> AsyncIterator[LiveMcp]:
    """Run a server in this event loop."""
    server = LiveMcp(kind)
    if started:
        await server.start()
    try:
        yield server
    finally:
        server.go.set()
        await server.stop()
