"""Which URLs ``web_fetch`` may be asked for: those that a conversation already holds (spec C.1, ``url_sources``).

An URL that a model makes up can carry what it has read to somebody who waits for it. So an URL must have appeared in
a user's text, in a result of ``web_search`` or ``web_fetch``, or in a custom tool's: each of these sources can be
closed, or narrowed to some tools. What sandbox tools and MCP servers return is no source, nor what the model says,
nor a summary of what was said: what that replaced still counts (PastUrls). The agent's own system prompt always does.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.brains.summarizing import summary_in
from agents.catalog.toolsets import BUILTIN_TOOLS
from agents.net.guard import MAX_URL_CHARS, place_of

_SERVER_TOOLS = frozenset({"web_search", "web_fetch"})
_PARTS = re.compile(r"""\]\(|[\s<>"'`|\\^{}\x00-\x1f]+""")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_BEFORE = "([*_~,;:"
_AFTER = ".,;:!?)]*_~"
_USER, _AUTHOR = " user", " author"
"""Givers that are no tools: no tool's name has a space."""
_MOST_PAST = 5000

Block = Mapping[str, Any]


def appeared(url: str, messages: Sequence[Mapping[str, Any]], sources: Mapping[str, Any] | None) -> bool:
    """Whether one of the open *sources* of the conversation has *url*; the scheme and the fragment do not matter."""
    wanted = _same(url)
    if wanted is None:
        return False
    hosts = _spellings(wanted[0])
    return any(
        _same(each) == wanted
        for giver, text in _given(messages)
        if _is_open(giver, sources or {})
        for host in hosts
        if host in text.lower()
        for each in _urls(text, host)
    )


@dataclass(slots=True)
class PastUrls:
    """What the part of a conversation that was replaced by a summary had of URLs, by who gave them; bounded."""

    _urls: OrderedDict[tuple[str, str], None] = field(default_factory=lambda: OrderedDict[tuple[str, str], None]())

    def add(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take the URLs of *messages*, which go."""
        for giver, text in _given(messages):
            for part in _PARTS.split(text):
                if _SCHEME.search(part) and len(part) <= MAX_URL_CHARS:
                    self._urls[giver, part] = None
                    self._urls.move_to_end((giver, part))
        while len(self._urls) > _MOST_PAST:
            self._urls.popitem(last=False)

    def messages(self) -> list[dict[str, Any]]:
        """Return messages that give the same URLs."""
        by_giver: dict[str, list[str]] = {}
        for giver, url in self._urls:
            by_giver.setdefault(giver, []).append(url)
        made: list[dict[str, Any]] = []
        for giver, urls in by_giver.items():
            block: dict[str, Any] = {"type": "text", "text": "\n".join(urls)}
            if giver != _USER:
                made.append({"role": "assistant", "content": [{"type": "tool_use", "id": giver, "name": giver}]})
                block = {"type": "tool_result", "tool_use_id": giver, "content": [block]}
            made.append({"role": "user", "content": [block]})
        return made


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


def _given(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the texts in which an URL counts as given, and who gives them: the user, the author, or a tool's name."""
    tools: dict[str, str] = {}
    for message in messages:
        content: Sequence[Block] = message["content"]
        if message["role"] == "assistant":
            tools |= {block["id"]: block["name"] for block in content if block["type"] == "tool_use"}
        elif message["role"] == "system":
            yield from ((_AUTHOR, text) for text in _of_blocks(content))
        else:
            for block in content:
                if block["type"] != "tool_result":
                    yield from ((_USER, text) for text in _of_blocks([block]) if summary_in(text) is None)
                elif _may_give(giver := tools.get(block["tool_use_id"], "bash")):
                    yield from ((giver, text) for text in _of_result(block.get("content", ())))


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


def _may_give(tool: str) -> bool:
    """Whether results of the tool that the model knows by this name are a source at all."""
    if tool in BUILTIN_TOOLS:
        return tool in _SERVER_TOOLS
    return not tool.startswith("mcp__")  # no custom tool may be named so


def _is_open(giver: str, sources: Mapping[str, Any]) -> bool:
    if giver == _AUTHOR:
        return True
    if giver == _USER:
        return _source(sources, "user_input")["type"] == "all"
    source = _source(sources, "server_tool_results" if giver in _SERVER_TOOLS else "client_tool_results")
    if source["type"] in ("all", "none"):
        return source["type"] == "all"
    return (giver in {tool["name"] for tool in source["tools"]}) == (source["type"] == "only")
