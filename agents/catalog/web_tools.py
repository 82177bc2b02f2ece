"""Configuration of the two web tools: domain lists, URL sources, location (spec C.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agents.catalog.domains import check_domains
from agents.errors import InvalidRequest

_COUNTRY = re.compile(r"[A-Z]{2}")
_URL_SOURCES = ("user_input", "server_tool_results", "client_tool_results")
_SERVER_TOOLS = frozenset({"web_search", "web_fetch"})
_MAX_FILTER_TOOLS = 128  # the SDK's field text


def resolve_web_search(where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return web_search's own settings, resolved. Raises InvalidRequest."""
    return {
        **_domain_lists(where, config, paths=True),
        "user_location": _user_location(f"{where}.user_location", config.get("user_location")),
    }


def resolve_web_fetch(where: str, config: Mapping[str, Any], custom_names: frozenset[str]) -> dict[str, Any]:
    """Return web_fetch's own settings, resolved; *custom_names* stand beside it. Raises InvalidRequest."""
    tokens = config.get("max_content_tokens")
    if tokens is not None and tokens < 1:
        raise InvalidRequest(f"{where}.max_content_tokens: must be at least 1, not {tokens}")
    return {
        **_domain_lists(where, config, paths=False),
        "max_content_tokens": tokens,
        "url_sources": _url_sources(f"{where}.url_sources", config.get("url_sources"), custom_names),
    }


def _domain_lists(where: str, config: Mapping[str, Any], *, paths: bool) -> dict[str, Any]:
    allowed, blocked = config.get("allowed_domains"), config.get("blocked_domains")
    if allowed is not None and blocked is not None:
        raise InvalidRequest(f"{where}: allowed_domains and blocked_domains cannot be combined")
    for key, domains in (("allowed_domains", allowed), ("blocked_domains", blocked)):
        if domains is not None:
            check_domains(f"{where}.{key}", domains, paths=paths)
    return {"allowed_domains": allowed, "blocked_domains": blocked}


def _user_location(where: str, location: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if location is None:
        return None
    country = location.get("country")
    if country is not None and not _COUNTRY.fullmatch(country):
        raise InvalidRequest(f"{where}.country: must be two upper-case letters such as DE, not {country[:20]!r}")
    return {
        "type": location["type"],
        "city": location.get("city"),
        "region": location.get("region"),
        "country": country,
        "timezone": location.get("timezone"),
    }


def _url_sources(where: str, sources: Mapping[str, Any] | None, custom_names: frozenset[str]) -> dict[str, Any] | None:
    if sources is None:
        return None
    resolved: dict[str, Any] = {}
    for key in _URL_SOURCES:
        source = sources.get(key)
        resolved[key] = {"type": source} if isinstance(source, str) else source
    if all(source is not None and source["type"] == "none" for source in resolved.values()):
        raise InvalidRequest(f"{where}: setting every source to none would leave nothing to fetch")
    _check_filter(f"{where}.server_tool_results", resolved["server_tool_results"], _SERVER_TOOLS)
    _check_filter(f"{where}.client_tool_results", resolved["client_tool_results"], custom_names)
    return resolved


def _check_filter(where: str, source: Mapping[str, Any] | None, known: frozenset[str]) -> None:
    tools: Sequence[Mapping[str, Any]] | None = (source or {}).get("tools")
    if tools is None:
        return
    if not 1 <= len(tools) <= _MAX_FILTER_TOOLS:
        raise InvalidRequest(f"{where}.tools: must have 1 to {_MAX_FILTER_TOOLS} entries, not {len(tools)}")
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        name = tool["name"]
        if name not in known:
            raise InvalidRequest(f"{where}.tools[{index}].name: {name[:80]!r} is no tool whose results it could filter")
        if name in seen:
            raise InvalidRequest(f"{where}.tools[{index}].name: {name[:80]!r} is listed twice")
        seen.add(name)
