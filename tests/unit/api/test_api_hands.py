"""Hands over HTTP: adding a version, what there is, taking it away (ours).

Bug class this catches: a version that is another code for some of its callers, or runs on after it was removed.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from api_fakes import Server

from agents.config import Settings
from agents.hands.deployed.deployments import HandState
from agents.hands.deployed.local_hands import LocalHands
from agents.hands.deployed.records import HandVersion
from agents.hands.deployed.source import packed_files
from tests.unit.waiting import until

CODE = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("crm")

@server.tool()
async def find(name: str) -> str:
    '''Find a customer.'''
    return "found " + name
"""


def source(code: str = CODE) -> str:
    return base64.b64encode(packed_files({"crm.py": code.encode()})).decode()


class Deployer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.running: dict[str, HandVersion] = {}

    async def deploy(self, hand: HandVersion) -> None:
        self.running[hand.id] = hand

    async def end(self, hand: HandVersion) -> None:
        self.running.pop(hand.id, None)

    async def states(self) -> Mapping[str, HandState]:
        return {hand: HandState("RUNNING", 2) for hand in self.running}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(
        Settings(data_dir=tmp_path),
        lambda store: {"deployed": LocalHands(store.hands, tmp_path / "sources"), "deployer": Deployer()},
    )
    yield made
    await made.client.aclose()
    await made.platform.deployed.close()


async def add(server: Server, status: int = 200, **fields: Any) -> dict[str, Any]:
    body = {"name": "crm", "definition": {"server": "crm:server", "version": "1.4"}, "source": source(), **fields}
    answer = await server.client.post("/-/hands", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_hand_is_added_deployed_listed_and_removed(server: Server) -> None:
    deployer: Any = server.platform.deployer
    added = await add(server)
    assert {name: added[name] for name in ("id", "url", "state", "replicas", "tools")} == {
        "id": "crm@1.4",
        "url": "hand://crm@1.4",
        "state": "RUNNING",
        "replicas": 2,
        "tools": None,
    }
    assert list(deployer.running) == ["crm@1.4"]
    # What it offers is asked of its first replica, and known from then on.
    await until(lambda: server.store.hands._rows["crm@1.4"]["tools"] is not None, seconds=60)
    tool = {"name": "find", "description": "Find a customer.", "read_only": False, "idempotent": False}
    listed = (await server.client.get("/-/hands")).json()["data"]
    assert [(hand["id"], hand["tools"]) for hand in listed] == [("crm@1.4", [tool])]
    assert (await server.client.get("/-/hands/crm")).json() == listed[0]
    gone = await server.client.delete("/-/hands/crm@1.4")
    assert gone.json() == {"type": "hand_deleted", "id": "crm@1.4"}
    assert (deployer.running, (await server.client.get("/-/hands")).json()) == ({}, {"data": []})
    assert (await server.client.delete("/-/hands/crm")).status_code == 404


async def test_a_version_never_becomes_another_code_but_may_run_another_way(server: Server) -> None:
    first = await add(server)
    refused = await add(server, 409, source=source(CODE + "\n"))
    assert "its source differs; make it another version" in refused["error"]["message"]
    larger = await add(server, definition={"server": "crm:server", "version": "1.4", "max_replicas": 9})
    assert larger["digest"] == first["digest"]
    assert server.platform.deployer.running["crm@1.4"].definition.max_replicas == 9  # type: ignore[attr-defined]


async def test_of_several_versions_one_must_be_named(server: Server) -> None:
    for version in ("1", "2"):
        await add(server, definition={"server": "crm:server", "version": version})
    answer = await server.client.delete("/-/hands/crm")
    assert (answer.status_code, "crm@1, crm@2" in answer.text) == (400, True)
    assert (await server.client.get("/-/hands/crm@2")).json()["version"] == "2"
    missing = await server.client.get("/-/hands/crm@3")
    assert (missing.status_code, "there are crm@1, crm@2" in missing.text) == (404, True)


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"name": "Crm"}, 400, "name: must be"),
        ({"name": "crm@1"}, 400, "name: must be"),
        ({"definition": {}}, 400, "definition.server: Field required"),
        ({"definition": {"server": "crm"}}, 400, "must name an MCP server object"),
        ({"definition": {"server": "./crm.py:server"}}, 400, "server: must name a module"),
        ({"definition": {"server": "crm:server", "replicas": 3}}, 400, "definition.replicas"),
        ({"definition": {"server": "crm:server", "min_replicas": 9}}, 400, "min_replicas 9 is above max_replicas 4"),
        ({"definition": {"server": "~no-such-user/crm.py:server"}}, 400, "definition.server: "),
        ({"definition": {"server": "crm:server", "working_dir": "~no-such-user"}}, 400, "definition.working_dir: "),
        ({"source": "?"}, 400, "source: must be a zip archive in base64"),
        ({"source": base64.b64encode(b"no zip").decode()}, 400, "source: is no zip archive"),
        ({"sources": "x"}, 400, "sources: unknown field"),
    ],
)
async def test_what_is_wrong_with_a_hand_is_named_and_nothing_is_deployed(
    server: Server, fields: dict[str, Any], status: int, word: str
) -> None:
    refused = await add(server, status, **fields)
    assert word in refused["error"]["message"]
    assert server.platform.deployer.running == {}  # type: ignore[attr-defined]
