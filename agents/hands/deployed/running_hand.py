"""One hand in this process: its MCP server object, called without a network, and what it remembers of its calls.

Invariants: a call id runs once (``agents.hands.call_memory``); at most ``concurrency`` calls run at a time, and a call
that was stopped keeps its place until its tool has really ended; an input that breaks the tool's schema never runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from agents.brains.fair_queue import FairQueue
from agents.errors import Overloaded, Unavailable
from agents.hand_settings import HandDefinition
from agents.hands.call_memory import CANCELLED, CallMemory, Key
from agents.hands.deployed.containment import contain
from agents.hands.deployed.cpu_time import CpuMeter, Metered, meter_threads
from agents.hands.deployed.inputs import InputChecks
from agents.hands.deployed.loading import HandUnusable
from agents.hands.deployed.table_shelf import MemoryShelf, TableShelf, put_on, take_from
from agents.hands.servers.content import blocks, offered
from agents.hands.servers.port import (
    IDEMPOTENCY_KEY,
    Caller,
    Consumption,
    OfferedTool,
    Outcome,
    ServerCall,
    ServerLost,
    ServerResult,
)
from agents.hands.servers.sizes import json_bytes
from agents.hands.tables import giving, take_tables
from agents.hands.threads import make_room_for_threads

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

    from agents.hands.deployed.loading import McpServer

logger = logging.getLogger(__name__)

_START_SECONDS = 60.0
_MOST_TOOLS = 500
_MOST_PAGES = 100
_MOST_TOLD = 10
_BUSY_SECONDS = 1.0
_STUCK_SECONDS = 60.0
"""How long stopped tools may keep every place of a hand; then it is replaced, and its threads with it."""


class RunningHand:
    """Lists and calls the tools of one MCP server object."""

    def __init__(
        self, hand: str, server: McpServer, definition: HandDefinition, shelf: TableShelf | None = None
    ) -> None:
        """*hand* is its id; *shelf* is where tables lie that go from one hand to another, where hands have one."""
        self._shelf = shelf or MemoryShelf()
        self.hand = hand
        self._server = server
        self._memory: CallMemory[ServerResult] = CallMemory()
        self._concurrency = definition.concurrency
        self._stopped: dict[asyncio.Task[CallToolResult], float] = {}
        """Calls that were stopped and have not ended, and since when: their tools are in threads, or do not listen."""
        self._places = FairQueue(
            definition.concurrency,
            most_waiting=definition.queue,
            patience=definition.deadline_seconds,
            refusal=self._overloaded,
        )
        self._tools: Sequence[OfferedTool] = ()
        self._checks = InputChecks(())
        self._client: Client | None = None
        self._closing = asyncio.Event()
        self._living: asyncio.Task[None] | None = None

    @property
    def tools(self) -> Sequence[OfferedTool]:
        return self._tools

    @property
    def calls(self) -> int:
        """Calls that run or wait."""
        return self._places.taken + self._places.waiting

    async def start(self) -> None:
        """Start the server object (its lifespan) and list its tools. Raises HandUnusable."""
        contain(self._server)
        meter_threads(self._server)
        make_room_for_threads(self._concurrency)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._living = asyncio.create_task(self._live(started))
        try:
            async with asyncio.timeout(_START_SECONDS):
                await started
        except TimeoutError:
            self._living.cancel()
            raise HandUnusable(f"{self.hand}: its server did not start within {_START_SECONDS:g} s") from None

    async def _live(self, started: asyncio.Future[None]) -> None:
        """Be the task in which the server's lifespan begins and ends, as the SDK asks for."""
        from mcp import Client

        try:
            async with Client(self._server) as client:
                listed = await _listed(client)
                self._tools = offered(listed)
                self._tell_left_out({tool.name for tool in listed} - {tool.name for tool in self._tools})
                self._checks = InputChecks(self._tools)
                self._client = client
                started.set_result(None)
                await self._closing.wait()
        except Exception as error:
            # Tool border: its lifespan is somebody else's code.
            if started.done():
                raise
            first = _first(error)
            said = f"{self.hand}: its server does not start: {type(first).__name__}: {first}"
            started.set_exception(first if isinstance(first, HandUnusable) else HandUnusable(said))

    def _tell_left_out(self, names: set[str]) -> None:
        if names:
            logger.warning("%s: no model can be shown %r; they are not offered", self.hand, sorted(names)[:_MOST_TOLD])

    def check(self) -> None:
        """Raise HandUnusable when the server has ended, or has no place left that a call could have."""
        if self._living is None or self._living.done():
            raise HandUnusable(f"{self.hand}: its server has ended")
        late = time.monotonic() - _STUCK_SECONDS
        if sum(stopped <= late for stopped in self._stopped.values()) >= self._concurrency:
            raise HandUnusable(f"{self.hand}: all {self._concurrency} places are kept by tools that were stopped")

    # -- calls -----------------------------------------------------------------------------------

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """Run a call, or join the run of its id, or answer with what came of it. Raises Overloaded, ServerLost."""
        key = (caller.session_id, call.call_id)
        known = key in self._memory
        if not known:
            if call.again and self._memory.has_forgotten:
                raise ServerLost(f"{self.hand} does not remember call {call.call_id}")
            if self._places.full:
                raise self._overloaded(f"{self.hand}: {self._places.waiting} calls wait already")
        remembered = self._memory.join(key, lambda: asyncio.create_task(self._answer(call, caller)))
        try:
            await asyncio.wait({remembered.run})
        finally:
            self._memory.leave(remembered)
        if remembered.run.cancelled():
            return ServerResult.error(call.call_id, CANCELLED, "cancelled")
        result = remembered.run.result()
        if not known or call.again:
            return result
        return replace(result, consumption=replace(result.consumption, repeated=True))

    def cancel(self, keys: Iterable[Key]) -> None:
        """Stop these calls; one that is not known yet will never run."""
        self._memory.cancel(keys)

    async def idle(self) -> None:
        """Return when no call runs."""
        await self._memory.idle()

    def _overloaded(self, message: str) -> Overloaded:
        return Overloaded(message, retry_after=_BUSY_SECONDS)

    async def _answer(self, call: ServerCall, caller: Caller) -> ServerResult:
        fault = self._checks.fault(call.tool, call.input)
        if fault is not None:
            return ServerResult.error(call.call_id, fault, "failed")
        run = _Run(call)
        work = asyncio.create_task(self._work(run, caller.principal))
        try:
            await asyncio.wait({work}, timeout=call.deadline)
        finally:
            # At the deadline, or because the call is cancelled; a tool in a thread ends when it ends.
            self._stop(work)
        if work.done() and not work.cancelled():
            return await self._told(run, work.result(), caller.principal)
        if not run.began:
            return run.failed(f"no place for the call came free within {call.deadline:g} s; it was not run", "failed")
        said = f"the tool did not answer within {call.deadline:g} s and was stopped; what it did until then stays done"
        return run.failed(said, "ambiguous")

    def _stop(self, work: asyncio.Task[CallToolResult]) -> None:
        work.cancel()
        if not work.done():
            self._stopped[work] = time.monotonic()
            work.add_done_callback(lambda _: self._stopped.pop(work, None))

    async def _told(self, run: _Run, result: CallToolResult, principal: str) -> ServerResult:
        """Return what the model is told of a result; its tables are kept for other hands."""
        tables = take_tables(result.meta)
        told = run.result(result, tables)
        try:
            handles = await put_on(self._shelf, tables, principal)
        except Unavailable as error:
            logger.warning("%s: a table is not kept: %s", self.hand, error.message)
            return told
        return replace(told, content=[*told.content, {"type": "text", "text": handles}]) if handles else told

    async def _work(self, run: _Run, principal: str) -> CallToolResult:
        from mcp import MCPError
        from mcp_types import CallToolResult, TextContent

        assert self._client is not None, "a hand is called after its start"
        async with self._places.place(principal, patience=run.call.deadline):
            given = await take_from(self._shelf, run.call.input, principal)
            run.begin()
            try:
                with giving(given):
                    return await Metered(
                        self._client.call_tool(run.call.tool, run.call.input, meta={IDEMPOTENCY_KEY: run.call.call_id}),
                        run.meter,
                    )
            except (MCPError, RuntimeError, ValueError) as error:
                # The tool has answered with a protocol error, or with what is no result: to the model, a failed tool.
                said = TextContent(text=f"{type(error).__name__}: {error}")
                return CallToolResult(content=[said], is_error=True)
            finally:
                run.end()
                # Nothing stops a thread: a place that was given away meanwhile would be one too many.
                await run.meter.threads_ended()

    async def aclose(self) -> None:
        """Stop what runs and end the server."""
        await self._memory.end()
        self._closing.set()
        if self._living is not None:
            await asyncio.wait({self._living}, timeout=_START_SECONDS)
            self._living.cancel()


class _Run:
    """The clock of one call."""

    def __init__(self, call: ServerCall) -> None:
        self.call = call
        self.meter = CpuMeter()
        self.began: float | None = None
        self._ended: float | None = None
        self._asked = time.perf_counter()

    def begin(self) -> None:
        self.began = time.perf_counter()

    def end(self) -> None:
        self._ended = time.perf_counter()

    def result(self, result: CallToolResult, tables: Sequence[Any]) -> ServerResult:
        size = json_bytes(result.model_dump(by_alias=True, exclude_none=True)) + sum(table.nbytes for table in tables)
        outcome: Outcome = "tool_error" if result.is_error else "ok"
        return ServerResult(
            self.call.call_id, blocks(result), bool(result.is_error), outcome, self._consumption(bytes_out=size)
        )

    def failed(self, message: str, outcome: Outcome) -> ServerResult:
        return ServerResult.error(self.call.call_id, message, outcome, self._consumption())

    def _consumption(self, *, bytes_out: int = 0) -> Consumption:
        now = time.perf_counter()
        began = now if self.began is None else self.began
        return Consumption(
            queue_seconds=began - self._asked,
            run_seconds=(self._ended or now) - began,
            cpu_seconds=self.meter.seconds,
            bytes_in=json_bytes(self.call.input),
            bytes_out=bytes_out,
        )


def _first(error: Exception) -> Exception:
    """Return what went wrong first, out of the groups that the SDK's task groups make of it."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


async def _listed(client: Client) -> list[Tool]:
    tools: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None or len(tools) >= _MOST_TOOLS:
            break
    return tools[:_MOST_TOOLS]
