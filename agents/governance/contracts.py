"""The contracts of the versions of hands that there are, read once each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from agents.governance.contract import Contract, InvalidContract, SideEffects
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


def drafted(
    hand: str, version: str, tools: Sequence[OfferedTool], outputs: Mapping[str, dict[str, Any]] | None = None
) -> Contract:
    """Return a contract to begin with: what a server says of its tools, and nothing promised beyond the defaults.

    *outputs* are the schemas of structured results, by tool. Raises InvalidContract when no contract could say so.
    """
    found = {tool.name: _tool(tool, (outputs or {}).get(tool.name)) for tool in tools}
    return Contract.of({"hand": hand, "version": version, "tools": found}, f"the tools of {hand}")


def _tool(tool: OfferedTool, output: dict[str, Any] | None) -> dict[str, Any]:
    effects: SideEffects = "none" if tool.read_only else "idempotent" if tool.idempotent else "destructive"
    return {"description": tool.description, "input": tool.input_schema, "output": output, "side_effects": effects}


def lacking(contract: Contract, hand: HandVersion) -> Sequence[str]:
    """Return what a version that was started lacks of its contract: tools, and secrets that it was not given."""
    offered = {tool.name for tool in hand.tools or ()}
    tools = [f"tools.{name}: the server does not offer it" for name in contract.tools if name not in offered]
    given = hand.definition.secrets
    return [*tools, *(f"secrets: {name} is needed and was not given" for name in contract.secrets if name not in given)]


def beyond(contract: Contract, hand: HandVersion) -> Sequence[str]:
    """Return where a version that was started and its contract differ without harm to who calls it."""
    found = [
        f"tools.{tool.name}: the server offers it, and the contract does not say so"
        for tool in hand.tools or ()
        if tool.name not in contract.tools
    ]
    definition, allowed = hand.definition, contract.limits.concurrent_calls
    places = definition.max_replicas * definition.concurrency + definition.queue
    if allowed > places:
        found.append(f"limits.concurrent_calls: allows {allowed} calls at a time, and there is room for {places}")
    return found
