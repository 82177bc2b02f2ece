"""Which URLs ``web_fetch`` may be asked for: those that a conversation already holds (spec C.1, ``url_sources``).

An URL that a model makes up can carry what it has read to somebody who waits for it. So an URL must have appeared in
a user's text, in a result of ``web_search`` or ``web_fetch``, or in a custom tool's: each of these sources can be
closed, or narrowed to some tools. What sandbox tools and MCP servers return is no source, nor what the model says,
nor a summary that took the place of what was said. The agent's own system prompt always is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agents.brains.summarizing import summary_in
from agents.catalog.toolsets import BUILTIN_TOOLS
from agents.net.guard import place_of

_SERVER_TOOLS = frozenset({"web_search", "web_fetch"})
_PARTS = re.compile(r"""\]\(|[\s<>"'`|\\^{}\x00-\x1f]+""")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_BEFORE = "([*_~,;:"
_AFTER = ".,;:!?)]*_~"

Block = Mapping[str, Any]


def appeared(url: str, messages: Sequence[Mapping[str, Any]], sources: Mapping[str, Any] | None) -> bool:
    """Whether one of the open *sources* of the conversation has *url*; the scheme and the fragment do not matter."""
    wanted = _same(url)
    if wanted is None:
        return False
    hosts = _spellings(wanted[0])
    return any(
        _same(each) == wanted
        for text in _texts(messages, sources or {})
        for host in hosts
        if host in text.lower()
        for each in _urls(text, host)
    )


def _spellings(host: str) -> set[str]:
    try:
        return {host, host.encode().decode("idna").lower()}
    except UnicodeError:
        return {host}


def _same(url: str) -> tuple[str, int, str, str] | None:
    """Return what two spellings of one URL have in common."""
    place = place_of(url)
    if place is None:
        return None
    # The port of http stands for that of https, as the scheme does.
    return place.host, 443 if place.port == 80 else place.port, place.path, place.query


def _urls(text: str, host: str) -> Iterator[str]:
    """Yield what may be URLs of *host* in a text, each with and without the punctuation that follows it."""
    for part in _PARTS.split(text):
        if host not in part.lower():
            continue
        found = _SCHEME.search(part)
        bare = part[found.start() :] if found else f"https://{part.lstrip(_BEFORE)}"
        yield bare
        while bare and bare[-1] in _AFTER:
            bare = bare[:-1]
            yield bare


def _texts(messages: Sequence[Mapping[str, Any]], sources: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in which an URL counts as given."""
    tools: dict[str, str] = {}
    for message in messages:
        content: Sequence[Block] = message["content"]
        if message["role"] == "assistant":
            tools |= {block["id"]: block["name"] for block in content if block["type"] == "tool_use"}
        elif message["role"] == "system":
            yield from _of_blocks(content)
        else:
            for block in content:
                if block["type"] != "tool_result":
                    if _source(sources, "user_input")["type"] == "all":
                        yield from (text for text in _of_blocks([block]) if summary_in(text) is None)
                elif _of_tool(tools.get(block["tool_use_id"], ""), sources):
                    yield from _of_result(block.get("content", ()))


def _of_blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if block["type"] == "text":
            yield block["text"]
        elif block["type"] == "document" and block["source"]["type"] == "text":
            yield block["source"]["data"]


def _of_result(content: str | Iterable[Block]) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    else:
        yield from _of_blocks(content)


def _source(sources: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return sources.get(key) or {"type": "all"}


def _of_tool(name: str, sources: Mapping[str, Any]) -> bool:
    """Whether results of the tool that the model knows by *name* count."""
    if name in _SERVER_TOOLS:
        source = _source(sources, "server_tool_results")
    elif not name or name in BUILTIN_TOOLS or name.startswith("mcp__"):  # no custom tool may be named so
        return False
    else:
        source = _source(sources, "client_tool_results")
    if source["type"] in ("all", "none"):
        return source["type"] == "all"
    named = {tool["name"] for tool in source["tools"]}
    return (name in named) == (source["type"] == "only")
