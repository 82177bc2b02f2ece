"""The contracts and golden calls of the example hands say what their servers do (ours)."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from mcp import Client

import agents.example_hands
from agents.governance.contract import Contract
from agents.governance.golden import GoldenCall, parse_golden, replay
from agents.hands.servers.port import REPEATS_BY_KEY, ServerResult

FOLDER = Path(agents.example_hands.__file__).parent


@pytest.mark.parametrize("name", ["crm", "billing", "analytics"])
async def test_a_contract_has_the_tools_of_its_server(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_HANDS_DIR", str(tmp_path))
    contract = _contract(name)
    server = importlib.import_module(f"agents.example_hands.{name}").server
    async with Client(server) as client:
        offered = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert contract.id == f"{name}@{server.version}"
    assert contract.tools.keys() == offered.keys()
    for tool, promised in contract.tools.items():
        assert promised.input == offered[tool].input_schema
        assert promised.output == offered[tool].output_schema
        annotations, meta = offered[tool].annotations, offered[tool].meta or {}
        assert annotations is not None
        assert (promised.side_effects == "none") is annotations.read_only_hint
        assert promised.repeatable == bool(
            annotations.read_only_hint or annotations.idempotent_hint or meta.get(REPEATS_BY_KEY)
        )


@pytest.mark.parametrize("name", ["crm", "billing", "analytics"])
async def test_golden_calls_come_out_as_they_were_recorded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_HANDS_DIR", str(tmp_path))
    source = FOLDER / f"{name}.golden.jsonl"
    golden = parse_golden(source.read_text(encoding="utf-8"), source.name)
    server = importlib.import_module(f"agents.example_hands.{name}").server
    async with Client(server) as client:

        async def ask(call: GoldenCall, number: int) -> ServerResult:
            result = await client.call_tool(call.tool, call.input)
            content = [block.model_dump(mode="json", exclude_none=True) for block in result.content]
            return ServerResult(str(number), content, outcome="tool_error" if result.is_error else "ok")

        replayed = await replay(golden, ask, _contract(name))
    assert [(each.call.title, each.faults) for each in replayed if each.faults] == []
    assert len(replayed) >= 6
    assert {each.outcome for each in golden} == {"ok", "tool_error"}


def _contract(name: str) -> Contract:
    source = FOLDER / f"{name}.contract.yaml"
    return Contract.parse(source.read_text(encoding="utf-8"), source.name)
