"""Toolsets, custom tools, MCP servers and domain lists (spec C.1-C.4)."""

from __future__ import annotations

from typing import Any

import pytest

from agents.catalog.tools import check_servers_match, resolve_mcp_servers, resolve_tools
from agents.errors import InvalidRequest

ALLOW, ASK = {"type": "always_allow"}, {"type": "always_ask"}


def toolset(**fields: Any) -> dict[str, Any]:
    return {"type": "agent_toolset_20260401", **fields}


def custom(**fields: Any) -> dict[str, Any]:
    return {"type": "custom", "name": "t", "description": "d", "input_schema": {"type": "object"}, **fields}


def refused(tools: list[dict[str, Any]]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        resolve_tools(tools)
    return caught.value.message


def test_a_bare_toolset_resolves_to_everything_enabled_and_allowed() -> None:
    assert resolve_tools([toolset()]) == [
        toolset(default_config={"enabled": True, "permission_policy": ALLOW}, configs=[])
    ]


def test_an_entry_beats_the_default_and_inherits_what_it_leaves_out() -> None:
    tool = toolset(
        default_config={"enabled": False, "permission_policy": ASK},
        configs=[{"name": "bash", "enabled": True}, {"name": "read", "permission_policy": ALLOW, "type": "read"}],
    )
    assert resolve_tools([tool])[0]["configs"] == [
        {"name": "bash", "type": "bash", "enabled": True, "permission_policy": ASK},
        {"name": "read", "type": "read", "enabled": False, "permission_policy": ALLOW},
    ]


def test_an_mcp_toolset_asks_by_default_and_its_entries_have_no_type() -> None:
    tool = {"type": "mcp_toolset", "mcp_server_name": "crm", "configs": [{"name": "find"}]}
    assert resolve_tools([tool]) == [
        {
            "type": "mcp_toolset",
            "mcp_server_name": "crm",
            "default_config": {"enabled": True, "permission_policy": ASK},
            "configs": [{"name": "find", "enabled": True, "permission_policy": ASK}],
        }
    ]


def test_web_tools_show_all_their_settings() -> None:
    fetch = {"name": "web_fetch", "allowed_domains": ["docs.example.com"], "url_sources": {"user_input": "all"}}
    search = {"name": "web_search", "user_location": {"type": "approximate", "country": "DE"}}
    resolved = resolve_tools([toolset(configs=[fetch, search])])[0]["configs"]
    assert resolved[0] == {
        "name": "web_fetch",
        "type": "web_fetch",
        "enabled": True,
        "permission_policy": ALLOW,
        "allowed_domains": ["docs.example.com"],
        "blocked_domains": None,
        "max_content_tokens": None,
        "url_sources": {"user_input": {"type": "all"}, "server_tool_results": None, "client_tool_results": None},
    }
    assert resolved[1]["user_location"] == {
        "type": "approximate",
        "city": None,
        "region": None,
        "country": "DE",
        "timezone": None,
    }


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"name": "web_fetch", "max_content_tokens": 0}, "max_content_tokens"),
        ({"name": "web_fetch", "allowed_domains": ["a.com"], "blocked_domains": ["b.com"]}, "allowed_domains"),
        ({"name": "web_search", "user_location": {"type": "approximate", "country": "Germany"}}, "country"),
        (
            {
                "name": "web_fetch",
                "url_sources": dict.fromkeys(("user_input", "server_tool_results", "client_tool_results"), "none"),
            },
            "url_sources",
        ),
        (
            {
                "name": "web_fetch",
                "url_sources": {
                    "client_tool_results": {"type": "only", "tools": [{"type": "tool_reference", "name": "no"}]}
                },
            },
            "client_tool_results.tools[0].name",
        ),
        ({"name": "web_fetch", "url_sources": {"server_tool_results": {"type": "only", "tools": []}}}, "tools"),
    ],
)
def test_bad_web_settings_are_refused_by_name(config: dict[str, Any], named: str) -> None:
    message = refused([toolset(configs=[config])])
    assert message.startswith("tools[0].configs[0]")
    assert named in message


def test_a_url_source_filter_may_name_a_custom_tool_beside_it() -> None:
    source = {"type": "only", "tools": [{"type": "tool_reference", "name": "t"}]}
    config = {"name": "web_fetch", "url_sources": {"client_tool_results": source}}
    assert resolve_tools([toolset(configs=[config]), custom()])


@pytest.mark.parametrize(
    "domain",
    [
        "https://example.com",
        "example.com:443",
        "example.com/path",
        "*.example.com",
        "10.0.0.1",
        "[::1]",
        "localhost",
        "example",
        "printer.local",
        "db.internal",
        "x.localdomain",
        "x.invalid",
        "exämple.com",
        "-a.example.com",
        "a..example.com",
        "",
        "a" * 256,
    ],
)
def test_a_domain_that_is_no_plain_public_hostname_is_refused_with_list_and_index(domain: str) -> None:
    message = refused([toolset(configs=[{"name": "web_fetch", "blocked_domains": ["ok.example.com", domain]}])])
    assert message.startswith("tools[0].configs[0].blocked_domains[1]:")


def test_domain_lists_are_neither_empty_nor_long_nor_repeating() -> None:
    def config(domains: list[str]) -> list[dict[str, Any]]:
        return [toolset(configs=[{"name": "web_search", "allowed_domains": domains}])]

    assert "must not be empty" in refused(config([]))
    assert "at most 64" in refused(config([f"d{n}.com" for n in range(65)]))
    assert "listed twice" in refused(config(["a.com", "A.com"]))
    assert resolve_tools(config([f"d{n}.com" for n in range(64)]))
    assert resolve_tools(config(["example.com/docs", "xn--exmple-cua.com"]))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "has space"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": ""}, "name"),
        ({"name": "bash"}, "name"),
        ({"name": "mcp__crm"}, "name"),
        ({"description": "  "}, "description"),
        ({"input_schema": {"type": "object", "properties": {"a": {"$ref": "#/x"}}}}, "input_schema"),
        ({"input_schema": {"type": "object", "x": [[{"$dynamicRef": "#"}]]}}, "input_schema"),
        ({"input_schema": {"type": "object", "anyOf": []}}, "input_schema.anyOf"),
        ({"input_schema": {"type": "object", "properties": {"a b": {}}}}, "input_schema.properties"),
        ({"input_schema": {"type": "object", "properties": {"x" * 65: {}}}}, "input_schema.properties"),
    ],
)
def test_a_bad_custom_tool_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    assert refused([custom(**fields)]).startswith(f"tools[0].{named}:")


def test_a_custom_tools_schema_passes_other_keywords_and_drops_nulls() -> None:
    schema = {
        "type": "object",
        "title": "T",
        "additionalProperties": False,
        "required": None,
        "properties": {"a": {"enum": [{"$ref": "data, not a keyword"}], "anyOf": [{"type": "string"}]}},
    }
    kept = {key: value for key, value in schema.items() if key != "required"}
    assert resolve_tools([custom(input_schema=schema)])[0]["input_schema"] == kept


@pytest.mark.parametrize(
    "tools",
    [
        [toolset(), toolset()],
        [custom(), custom()],
        [{"type": "mcp_toolset", "mcp_server_name": "a"}] * 2,
        [toolset(configs=[{"name": "bash"}, {"name": "bash"}])],
    ],
)
def test_what_is_given_twice_is_refused(tools: list[dict[str, Any]]) -> None:
    assert "twice" in refused(tools)


def test_all_toolsets_together_have_at_most_256_tools() -> None:
    fits = [toolset(), *(custom(name=f"t{n}") for n in range(248))]
    assert len(resolve_tools(fits)) == 249
    assert "at most 256" in refused([*fits, custom(name="more")])


def server(name: str = "crm", url: str = "https://crm.example.com/mcp") -> dict[str, Any]:
    return {"type": "url", "name": name, "url": url}


@pytest.mark.parametrize(
    "servers",
    [
        [server(), server()],
        [server("")],
        [server("x" * 256)],
        [server(url="ftp://x/")],
        [server(url="https://")],
        [server(url="https://[bad")],
        [server(url="https://x/" + "y" * 2048)],
        [server(f"s{n}") for n in range(21)],
    ],
)
def test_bad_mcp_servers_are_refused(servers: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidRequest, match="mcp_servers"):
        resolve_mcp_servers(servers)


def test_a_hand_of_this_platform_is_a_server_too() -> None:
    assert resolve_mcp_servers([server(url="hand://crm")])[0]["url"] == "hand://crm"


def test_servers_and_toolsets_must_match_both_ways() -> None:
    tools = [{"type": "mcp_toolset", "mcp_server_name": "crm"}]
    check_servers_match(tools, [server()])
    with pytest.raises(InvalidRequest, match="'crm', which is not"):
        check_servers_match(tools, [])
    with pytest.raises(InvalidRequest, match="'crm' is not used"):
        check_servers_match([], [server()])
