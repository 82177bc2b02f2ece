"""What an agent may be given as tools (spec C.1, C.3, C.4): checked when it is made or changed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import CUSTOM, MODEL, toolset

SERVER = {"type": "url", "name": "crm", "url": "https://crm.example.com/mcp"}
TOOLSET = {"type": "mcp_toolset", "mcp_server_name": "crm"}


def create(http: httpx.Client, tools: list[Any], servers: list[Any] | None = None) -> httpx.Response:
    body = {"name": "tools", "model": MODEL, "tools": tools, "mcp_servers": servers or []}
    return http.post("/v1/agents", json=body)


def fault(http: httpx.Client, tools: list[Any], servers: list[Any] | None = None) -> str:
    answer = create(http, tools, servers)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["message"]


def custom(**schema: Any) -> dict[str, Any]:
    return {**CUSTOM, "input_schema": {"type": "object", **schema}}


@requirement("agents:mcp:both-ways")
def test_servers_and_toolsets_need_each_other(http: httpx.Client) -> None:
    assert create(http, [TOOLSET], [SERVER]).status_code == 200
    assert "crm" in fault(http, [TOOLSET])
    assert "crm" in fault(http, [], [SERVER])
    agent = create(http, [TOOLSET], [SERVER]).json()
    path = f"/v1/agents/{agent['id']}"
    assert http.post(path, json={"tools": []}).status_code == 400
    assert http.post(path, json={"mcp_servers": None}).status_code == 400
    assert http.post(path, json={"tools": [], "mcp_servers": []}).status_code == 200


@requirement("agents:mcp:limits")
def test_servers_are_few_unique_and_have_urls(http: httpx.Client) -> None:
    servers = [{**SERVER, "name": f"s{n}"} for n in range(21)]
    toolsets = [{**TOOLSET, "mcp_server_name": f"s{n}"} for n in range(21)]
    assert create(http, toolsets[:20], servers[:20]).status_code == 200
    assert fault(http, toolsets, servers).startswith("mcp_servers")
    assert "mcp_servers[1].name" in fault(http, [TOOLSET], [SERVER, SERVER])
    assert "mcp_servers[0].url" in fault(http, [TOOLSET], [{**SERVER, "url": "https://x/" + "a" * 2048}])
    assert "mcp_servers[0].url" in fault(http, [TOOLSET], [{**SERVER, "url": "crm"}])
    assert "mcp_servers[0].name" in fault(http, [TOOLSET], [{**SERVER, "name": "n" * 256}])
    assert "twice" in fault(http, [TOOLSET, TOOLSET], [SERVER])


@requirement("agents:custom:names")
@pytest.mark.parametrize("name", ["bash", "web_search", "mcp__crm", "", "a" * 129, "has space", "ünicode", "a.b"])
def test_custom_names_have_rules(http: httpx.Client, name: str) -> None:
    assert fault(http, [{**CUSTOM, "name": name}]).startswith("tools[0].name")


@requirement("agents:custom:names")
def test_custom_names_are_unique_and_described(http: httpx.Client) -> None:
    assert "tools[1]" in fault(http, [CUSTOM, CUSTOM])
    assert "tools[0].description" in fault(http, [{**CUSTOM, "description": " "}])
    assert create(http, [{**CUSTOM, "name": "A-z_9" + "x" * 123}]).status_code == 200
    assert "twice" in fault(http, [toolset(), toolset()])


@requirement("agents:custom:schema")
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}},
        {"properties": {"a": {"items": [{"$ref": "x"}]}}},
        {"oneOf": [{"required": ["a"]}]},
        {"anyOf": []},
        {"allOf": [{}]},
        {"properties": {"has space": {}}},
        {"properties": {"p" * 65: {}}},
    ],
    ids=["$ref", "deep-$ref", "oneOf", "anyOf", "allOf", "property", "long-property"],
)
def test_schemas_that_no_model_takes_are_refused(http: httpx.Client, schema: dict[str, Any]) -> None:
    assert fault(http, [custom(**schema)]).startswith("tools[0].input_schema")


@requirement("agents:custom:schema")
def test_other_schema_keywords_pass_unchanged(http: httpx.Client) -> None:
    tool = custom(
        title="T",
        additionalProperties=False,
        properties={"a.b-c_1": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"}},
        required=["a.b-c_1"],
    )
    assert create(http, [tool]).json()["tools"] == [tool]
    assert fault(http, [{**CUSTOM, "input_schema": {"type": "array"}}]).startswith("tools[0].input_schema")


@requirement("agents:web-domains")
@pytest.mark.parametrize(
    "domain",
    [
        "https://a.example.com",
        "a.example.com:8080",
        "*.example.com",
        "10.0.0.1",
        "[::1]",
        "example",
        "localhost",
        "db.internal",
        "printer.local",
        "bücher.example",
        "a.example.com/path",
        "",
    ],
)
def test_a_domain_that_is_no_public_hostname_is_refused_with_its_index(http: httpx.Client, domain: str) -> None:
    config = {"allowed_domains": ["docs.example.com", domain]}
    assert "tools[0].configs[0].allowed_domains[1]" in fault(http, [toolset(web_fetch=config)])


@requirement("agents:web-domains")
def test_domain_lists_are_one_kind_bounded_and_unique(http: httpx.Client) -> None:
    both = {"allowed_domains": ["a.example.com"], "blocked_domains": ["b.example.com"]}
    assert fault(http, [toolset(web_fetch=both)]).startswith("tools[0].configs[0]")
    many = [f"h{n}.example.com" for n in range(65)]
    assert create(http, [toolset(web_search={"blocked_domains": many[:64]})]).status_code == 200
    assert "blocked_domains" in fault(http, [toolset(web_search={"blocked_domains": many})])
    assert "blocked_domains" in fault(http, [toolset(web_search={"blocked_domains": []})])
    assert "[1]" in fault(http, [toolset(web_search={"blocked_domains": ["a.example.com", "A.example.com"]})])
    assert create(http, [toolset(web_search={"allowed_domains": ["a.example.com/docs"]})]).status_code == 200


@requirement("agents:toolset:resolved", "agents:policies")
def test_defaults_fill_what_an_entry_leaves_out(http: httpx.Client) -> None:
    given = toolset({"enabled": False, "permission_policy": {"type": "auto"}}, bash={"enabled": True}, read={})
    resolved = create(http, [given]).json()["tools"][0]
    auto = {"type": "auto"}
    assert resolved["default_config"] == {"enabled": False, "permission_policy": auto}
    assert resolved["configs"] == [
        {"name": "bash", "type": "bash", "enabled": True, "permission_policy": auto},
        {"name": "read", "type": "read", "enabled": False, "permission_policy": auto},
    ]
    assert "configs[1]" in fault(
        http, [{"type": "agent_toolset_20260401", "configs": [{"name": "bash"}, {"name": "bash"}]}]
    )
    assert fault(http, [toolset(hammer={})]).startswith("tools[0].configs[0]")
