"""The contracts of the versions of hands that there are, read once each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from agents.governance.contract import Contract, InvalidContract, SideEffects, ToolContract
from agents.hands.deployed.records import HandVersion
from agents.hands.servers.port import OfferedTool

_MOST = 512


def contract_of(hand: HandVersion) -> Contract | None:
    """Return the contract of a version; None without one. Raises InvalidContract."""
    return _parsed(hand.contract, hand.id) if hand.contract else None


@lru_cache(_MOST)
def _parsed(text: str, hand: str) -> Contract:
    contract = Contract.parse(text, f"contract of {hand}")
    if contract.id != hand:
        raise InvalidContract(f"contract of {hand}: hand, version: it is the contract of {contract.id}")
    return contract


def check_contract(hand: HandVersion) -> None:
    """Raise InvalidContract unless the contract of a version, if it has one, can be used and is its own."""
    contract_of(hand)


def drafted(hand: str, version: str, tools: Sequence[OfferedTool]) -> Contract:
    """Return a contract to begin with: what a server says of its tools, and nothing promised beyond the defaults."""
    found = {tool.name: _tool(tool) for tool in tools}
    return Contract.of({"hand": hand, "version": version, "tools": found}, f"the tools of {hand}")


def _tool(tool: OfferedTool) -> ToolContract:
    effects: SideEffects = "none" if tool.read_only else "idempotent" if tool.idempotent else "destructive"
    return ToolContract(description=tool.description, input=tool.input_schema, side_effects=effects)


def undeclared(contract: Contract, tools: Sequence[OfferedTool]) -> Sequence[str]:
    """Return how the tools that a server offers differ from those of its contract; nothing when it keeps to it."""
    offered = {tool.name: tool for tool in tools}
    missing = [f"tools.{name}: the server does not offer it" for name in contract.tools if name not in offered]
    more = [f"tools.{name}: the server offers it, and the contract does not say so" for name in offered]
    return [*missing, *(each for each, name in zip(more, offered, strict=True) if name not in contract.tools)]
