"""``hecaton hands contract`` and ``hecaton hands test``, on servers in files.

Bug class this catches: a server that does not keep its contract, or answers otherwise than before, and passes.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from agents.commands.failures import CommandFailed
from agents.commands.hand_trials import try_hand, write_contract
from agents.governance.contract import Contract

SERVER = """
import itertools
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("crm")
numbers = itertools.count()

@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find(name: str, most: int = 3) -> dict:
    '''Find customers.'''
    return {"name": name, "serial": next(numbers)}

@server.tool()
def drop(name: str) -> str:
    return f"dropped {name}"
"""


class Bench:
    """A directory with a server, and what is printed about it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said = io.StringIO()
        self.console = Console(file=self.said, width=200)
        self.contract, self.golden = directory / "crm.yaml", directory / "golden.jsonl"
        self.write(SERVER)
        self.golden.write_text(json.dumps({"tool": "find", "input": {"name": "a"}}))

    def write(self, code: str) -> None:
        (self.directory / "crm_trial.py").write_text(code)

    @property
    def server(self) -> str:
        return f"{self.directory / 'crm_trial.py'}:server"

    def draft(self) -> None:
        write_contract(self.console, self.server, "crm", "1.0", self.contract)

    def test(self, *, record: bool = False, against: Path | None = None) -> str:
        self.said.truncate(0)
        try_hand(self.console, self.server, self.contract, self.golden, against, record=record)
        return self.said.getvalue()

    def faults(self) -> str:
        with pytest.raises(CommandFailed):
            self.test()
        return self.said.getvalue()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_contract_is_drafted_recorded_against_and_held(bench: Bench) -> None:
    bench.draft()
    contract = Contract.parse(bench.contract.read_text(), "crm.yaml")
    assert {name: tool.side_effects for name, tool in contract.tools.items()} == {"find": "none", "drop": "destructive"}
    assert contract.tools["drop"].output is not None
    assert "nothing is expected of it yet; run with --record" in bench.faults()
    assert "wrote 1 golden calls" in bench.test(record=True)
    assert '"content": [{"name": "a", "serial": {"$type": "integer"}}]' in bench.golden.read_text()
    assert "keeps to the contract of crm@1.0, 1 golden calls" in bench.test()
    with pytest.raises(CommandFailed, match="File exists"):
        bench.draft()


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ('"name": name', '"name": name.upper()', 'content[0].name: is "A", not "a"'),
        ("most: int = 3", "most: int", "tools.find.input.most: is required"),
        ("def drop", "def remove", "tools.drop: the server has no such tool"),
        ("def drop", "def remove", "tools.remove: the server has it, and the contract does not say so"),
        ('-> str:\n    return f"dropped', '-> int:\n    return f"dropped', "tools.drop.output.result: type: integer"),
    ],
)
def test_a_server_that_changed_is_told_of(bench: Bench, was: str, now: str, fault: str) -> None:
    bench.draft()
    bench.test(record=True)
    bench.write(SERVER.replace(was, now))
    assert fault in bench.faults()


def test_a_server_that_is_slower_than_promised_is_told_of(bench: Bench) -> None:
    bench.draft()
    bench.test(record=True)
    bench.contract.write_text(bench.contract.read_text() + "sla: {p95_seconds: 0.0000001}\n")
    assert "and the contract promises 1e-07 s" in bench.faults()


def test_the_contract_that_it_follows_must_be_kept_to(bench: Bench, tmp_path: Path) -> None:
    bench.draft()
    before = tmp_path / "before.yaml"
    before.write_text(bench.contract.read_text().replace("drop:", "delete:"))
    bench.test(record=True)
    with pytest.raises(CommandFailed, match="1 faults"):
        bench.test(against=before)
    assert "tools.delete: is no longer there" in bench.said.getvalue()


def test_something_must_be_given_to_hold_it_against(bench: Bench) -> None:
    with pytest.raises(CommandFailed, match="give one of them, or both"):
        try_hand(bench.console, bench.server, None, None, None, record=False)
    with pytest.raises(CommandFailed, match="--against: needs the contract of the new version"):
        try_hand(bench.console, bench.server, None, bench.golden, bench.golden, record=False)
