"""Contracts of hands: read, refused by name, written.

Bug class this catches: a promise, a price or a limit that is misread in silence.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import yaml

from agents.governance.contract import Contract, InvalidContract
from agents.governance.contracts import drafted
from agents.hands.servers.port import OfferedTool

CRM = """
hand: crm
version: "1.10"
tools:
  find:
    description: Find customers.
    input:
      type: object
      properties: {name: {$ref: '#/$defs/name'}}
      required: [name]
      $defs: {name: {type: string, minLength: 1}}
    output: {type: object}
    side_effects: none
  delete: {input: {type: object}}
sla: {p95_seconds: 0.8, availability: 0.995, error_rate: 0.02, window_seconds: 86400}
limits: {calls_per_minute: 60, concurrent_calls: 4, input_bytes: 1000}
data_classes: [customer]
egress: ['*.crm.example.com', api.example.com]
secrets: [CRM_TOKEN]
price: {per_call: 0.002, per_mb: '0.000000001', cached_rate: 0.1, provider_share: 0.7}
"""


def changed(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(CRM), **changes}


def test_a_contract_says_what_was_promised_and_what_it_costs_to_the_last_digit() -> None:
    contract = Contract.parse(CRM, "crm.yaml")
    assert contract.id == "crm@1.10"
    assert (contract.price.per_call, contract.price.per_mb) == (Decimal("0.002"), Decimal("1e-9"))
    assert (contract.price.cached_rate, contract.price.provider_share) == (Decimal("0.1"), Decimal("0.7"))
    assert [tool.repeatable for tool in contract.tools.values()] == [True, False]
    assert (contract.sla.p95_seconds, contract.limits.concurrent_calls) == (0.8, 4)


def test_a_contract_that_is_written_is_read_as_the_same() -> None:
    contract = Contract.parse(CRM, "crm.yaml")
    assert Contract.parse(contract.text(), "again") == contract
    assert "min_calls" not in contract.text()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"version": 1.1}, "version: is a number; put it in quotes, or 1.10 and 1.1 are the same"),
        ({"version": "a@b"}, "version: "),
        ({"hand": "C R M"}, "hand: "),
        ({"tools": {}}, "tools: "),
        ({"tools": {"a b": {"input": {"type": "object"}}}}, "tools.a b: "),
        ({"tools": {"a": {}}}, "tools.a.input: Field required"),
        ({"tools": {"a": {"input": {"type": "string"}}}}, "tools.a.input: type: must be 'object'"),
        ({"tools": {"a": {"input": {"type": "object", "required": "b"}}}}, "tools.a.input: required: 'b' is not"),
        ({"tools": {"a": {"input": {"type": "object"}, "side_effects": "some"}}}, "tools.a.side_effects: "),
        ({"sla": {"availability": 1.5}}, "sla.availability: "),
        ({"sla": {"latency": 1}}, "sla.latency: Extra inputs are not permitted"),
        ({"limits": {"calls_per_minute": 0}}, "limits.calls_per_minute: "),
        ({"price": {"per_call": -1}}, "price.per_call: "),
        ({"price": {"per_call": "0.0000000001"}}, "price.per_call: "),
        ({"price": {"provider_share": 2}}, "price.provider_share: "),
        ({"egress": ["http://x"]}, "egress: [0]: 'http://x' is not a host"),
        ({"secrets": ["A", "A"]}, "secrets: 'A' is listed twice"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
    ],
)
def test_a_fault_is_told_with_its_file_and_field(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidContract) as refused:
        Contract.of(changed(**changes), "crm.yaml")
    assert f"crm.yaml: {fault}" in refused.value.message


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"$ref": "https://elsewhere.example/schema"}, "is not in this schema"),
        ({"$ref": "#/$defs/missing"}, "is not in this schema"),
        ({"$ref": "#name"}, "is not in this schema"),
        ({"$id": "x"}, "$id: is not taken"),
        ({"$dynamicRef": "#x"}, "$dynamicRef: is not taken"),
        ({"$defs": {"a": {"allOf": [{"$ref": "#/properties/x/$defs/a"}]}}}, "refers to itself without end"),
        ({"minimum": "1"}, "minimum"),
    ],
)
def test_a_schema_that_cannot_be_checked_here_is_refused(schema: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidContract) as refused:
        Contract.of(changed(tools={"a": {"input": {"type": "object", "properties": {"x": schema}}}}), "crm.yaml")
    assert f"properties.x.{fault}" in refused.value.message or fault in refused.value.message


def test_a_server_whose_tool_no_contract_could_have_is_told_which_one() -> None:
    """Its version has no contract, and is compared with one by what it offers."""
    tools = [OfferedTool("find", "", {"type": "object"}), OfferedTool("count", "", {"type": "array"})]
    with pytest.raises(InvalidContract, match=r"^the tools of crm: tools\.count\.input: type: must be 'object'"):
        drafted("crm", "1", tools)


def test_a_schema_may_describe_what_is_within_itself() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    Contract.of(changed(tools={"a": {"input": tree}}), "crm.yaml")


def test_a_schema_may_not_be_too_deep() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(40):
        deep = {"type": "array", "items": {"anyOf": [deep]}}
    with pytest.raises(InvalidContract, match="nested more than 64 deep"):
        Contract.of(changed(tools={"a": {"input": {"type": "object", "properties": {"x": deep}}}}), "crm.yaml")


@pytest.mark.parametrize("text", ["- a", "3", "", ": ["])
def test_what_is_no_mapping_is_no_contract(text: str) -> None:
    with pytest.raises(InvalidContract, match=r"^crm\.yaml: "):
        Contract.parse(text, "crm.yaml")
