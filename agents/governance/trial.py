"""An MCP server object tried out where it lies, before it is a hand: its tools, its contract, its golden calls."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents.governance.contract import Contract, ToolContract
from agents.governance.contracts import drafted
from agents.governance.golden import GoldenCall
from agents.governance.schema_change import narrowings
from agents.hand_settings import HandDefinition
from agents.hands.deployed.loading import load_apart
from agents.hands.deployed.running_hand import RunningHand
from agents.hands.deployed.source import digest_of, pack, unpack
from agents.hands.servers.port import Caller, OfferedTool, ServerCall, ServerResult, ToolServer

_CALL_SECONDS = 120.0


class TriedHand:
    """A server that runs in this process."""

    def __init__(self, running: RunningHand, outputs: Mapping[str, dict[str, Any]]) -> None:
        self._running = running
        self.outputs = outputs
        """What its tools say of their structured results."""

    @property
    def tools(self) -> Sequence[OfferedTool]:
        return self._running.tools

    async def ask(self, call: GoldenCall, number: int) -> ServerResult:
        """Make a golden call."""
        made = ServerCall(f"golden-{number}", _HERE, call.tool, call.input, _CALL_SECONDS, self._running.hand)
        return await self._running.call(made, Caller("golden", "golden"))

    def draft(self, name: str, version: str) -> Contract:
        """Return a contract to begin with: what the server says of its tools, and nothing promised but the defaults."""
        return drafted(name, version, self.tools, self.outputs)

    def faults(self, contract: Contract) -> Sequence[str]:
        """Return where the server does not keep to *contract*: tools, what they take, what they give."""
        offered = {tool.name: tool for tool in self.tools}
        found: list[str] = []
        for name, promised in contract.tools.items():
            if name not in offered:
                found.append(f"tools.{name}: the server has no such tool")
            else:
                found += [f"tools.{name}{fault}" for fault in self._tool_faults(offered[name], promised)]
        more = sorted(offered.keys() - contract.tools.keys())
        return [*found, *(f"tools.{name}: the server has it, and the contract does not say so" for name in more)]

    def _tool_faults(self, tool: OfferedTool, promised: ToolContract) -> Sequence[str]:
        # Whatever the contract lets be asked, the server must take.
        found = [f".input.{each.path}: {each.reason}" for each in narrowings(promised.input, tool.input_schema)]
        if promised.output is None:
            return found
        if tool.name not in self.outputs:
            return [*found, ".output: the server does not say what its results look like"]
        more = narrowings(self.outputs[tool.name], promised.output)
        return [*found, *(f".output.{each.path}: {each.reason}" for each in more)]


_HERE = ToolServer("trial", "")


@asynccontextmanager
async def tried(server: str) -> AsyncGenerator[TriedHand]:
    """Run ``./crm.py:server`` as a hand would run, in this process. Raises HandUnusable, InvalidRequest."""
    from mcp import Client

    definition, archive = pack(HandDefinition(server=server))
    with tempfile.TemporaryDirectory(prefix="hecaton-trial-") as scratch:
        directory = None if archive is None else unpack(archive, digest_of(archive), Path(scratch))
        found = await asyncio.to_thread(load_apart, definition.server, directory)
        async with Client(found) as client:
            listed = (await client.list_tools()).tools
        running = RunningHand(server, found, definition)
        await running.start()
        try:
            yield TriedHand(running, {tool.name: tool.output_schema for tool in listed if tool.output_schema})
        finally:
            await running.aclose()
