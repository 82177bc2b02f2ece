"""A world with one MCP server, and what tests ask of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from agents.hands.servers.memory import MemoryServer, MemoryServers
from agents.hands.servers.port import OfferedTool
from agents.ids import SessionId
from agents.sessions.events import Event, EventType
from agents.sessions.harness import Harness

from .conftest import ALLOW, World, make_world

SCHEMA = {"type": "object"}
FIND = OfferedTool("find", "Finds a customer.", SCHEMA, read_only=True)
CHARGE = OfferedTool("charge", "Charges a customer.", SCHEMA)


def mcp_toolset(server: str = "crm", policy: dict[str, Any] = ALLOW, **configs: dict[str, Any]) -> dict[str, Any]:
    """A server's toolset, with some tools under another policy (or {"enabled": False})."""
    entries = [
        {
            "name": name,
            "enabled": config.get("enabled", True),
            "permission_policy": config if "type" in config else policy,
        }
        for name, config in configs.items()
    ]
    default = {"enabled": True, "permission_policy": policy}
    return {"type": "mcp_toolset", "mcp_server_name": server, "default_config": default, "configs": entries}


class ServedWorld:
    """A harness over in-memory twins, tool servers among them."""

    def __init__(self, **servers: MemoryServer) -> None:
        self.crm = MemoryServer([FIND, CHARGE])
        self.servers = MemoryServers(**({"crm": self.crm} | servers))
        self.world: World = make_world()
        self.brain = self.world.brain
        self.world.ports = replace(self.world.ports, servers=self.servers)
        self.world.harness = Harness(self.world.ports, owner="harness-0")
        self.harnesses = [self.world.harness]

    async def start(self) -> None:
        await self.world.harness.start()

    async def stop(self) -> None:
        for harness in self.harnesses:
            await harness.stop()
        await self.servers.close()

    async def owner_dies(self) -> None:
        """Another owner takes over; the one before is stale, whatever it still does."""
        self.world.harness = self.world.another_harness()
        self.harnesses.append(self.world.harness)
        await self.world.harness.start()

    async def settled(self, session: SessionId) -> None:
        """Wait for the end of the turn, whoever its owner is by then."""
        async with asyncio.timeout(5):
            while (await self.world.record(session)).status != "idle":
                await asyncio.sleep(0)

    async def create(self, *tools: dict[str, Any], **urls: str) -> SessionId:
        """Create a session with these tools, and a server for each of its MCP toolsets."""
        chosen = list(tools) or [mcp_toolset()]
        names = [tool["mcp_server_name"] for tool in chosen if tool["type"] == "mcp_toolset"]
        servers = [{"type": "url", "name": name, "url": urls.get(name, f"http://{name}")} for name in names]
        record = self.world.new_record(*chosen, principal="team-a")
        record = replace(record, agent={**record.agent, "mcp_servers": servers}, vault_ids=("vlt_1",))
        await self.world.harness.create(record, [])
        return SessionId(record.id)

    async def events(self, session: SessionId, *types: EventType) -> list[Event]:
        return [event for event in (await self.world.store.log.load(session)).events if event.type in types]

    async def errors(self, session: SessionId) -> list[dict[str, Any]]:
        return [event.body["error"] for event in await self.events(session, EventType.SESSION_ERROR)]

    async def result(self, session: SessionId) -> Event:
        """Return the only result of the only call."""
        (result,) = await self.events(session, EventType.AGENT_MCP_TOOL_RESULT)
        return result
