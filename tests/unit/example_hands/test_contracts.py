"""The contracts of the example hands say what their servers do (ours)."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from mcp import Client

import agents.example_hands
from agents.governance.contract import Contract
from agents.hands.servers.port import REPEATS_BY_KEY

FOLDER = Path(agents.example_hands.__file__).parent


@pytest.mark.parametrize("name", ["crm", "billing", "analytics"])
async def test_a_contract_has_the_tools_of_its_server(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HECATON_DATA_DIR", str(tmp_path))
    source = FOLDER / f"{name}.contract.yaml"
    contract = Contract.parse(source.read_text(encoding="utf-8"), source.name)
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
