"""The built-in web tools as tool servers: ``web_fetch`` and ``web_search``, run by the harness itself (spec C.1).

They only look, so a call may always be run again. What a call is allowed comes with it: the agent's settings
(``ServerCall.config``) and the conversation (``ServerCall.context``). A call ends with the task that waits for it; to
have it go on, and to call it off, is up to RememberedServers around these.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from agents.errors import Overloaded
from agents.hands.servers.port import (
    Caller,
    Consumption,
    Offer,
    Outcome,
    ServerCall,
    ServerResult,
    ServerUnreachable,
    ToolServer,
)
from agents.net.guard import Guard
from agents.web.definitions import WEB_FETCH, WEB_SEARCH, FetchInput, SearchInput, read_input
from agents.web.failures import WebFailure
from agents.web.fetch import Fetcher
from agents.web.pages import Block, blocks_of
from agents.web.provenance import appeared
from agents.web.robots import Robots
from agents.web.search import MAX_QUERY_CHARS, Hit, Search, provider_of
from agents.web.settings import WebSettings

_WAITING_PER_PLACE = 4
_RETRY_SECONDS = 2.0
_NO_PROVIDER = (
    "web search is not set up on this server; its operator has to set web.search_provider. Trying again does not help"
)


class WebTools:
    """Runs calls of the web tools, so many at a time."""

    def __init__(self, settings: WebSettings, guard: Guard) -> None:
        self._settings = settings
        self._guard = guard
        self._places = asyncio.Semaphore(settings.max_parallel)
        self._calls = 0
        self._fetcher: Fetcher | None = None
        self._robots: Robots | None = None
        self._search: Search | None = None

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer: these tools are in the built-in toolset, and no server offers them."""
        del caller
        raise ServerUnreachable(f"{server.name or 'the built-in toolset'} is no server that offers tools")

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call. Raises Overloaded."""
        del caller
        if self._calls >= self._settings.max_parallel * (1 + _WAITING_PER_PLACE):
            raise Overloaded("too many web calls are waiting", retry_after=_RETRY_SECONDS)
        self._calls += 1
        try:
            return await self._run(call)
        finally:
            self._calls -= 1

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel: nothing is left to stop once the task that waits has ended."""

    async def close(self) -> None:
        """See ToolServers.close."""
        for each in (self._fetcher, self._search):
            if each is not None:
                await each.close()

    # -- one call --------------------------------------------------------------------------------

    async def _run(self, call: ServerCall) -> ServerResult:
        asked = time.monotonic()
        started: float | None = None
        outcome: Outcome = "ok"
        try:
            async with asyncio.timeout(call.deadline), self._places:
                started = time.monotonic()
                content = await self._content(call)
        except WebFailure as failure:
            outcome, content = "tool_error", _error(call.tool, failure)
        except TimeoutError:
            failure = WebFailure("unavailable", f"it took longer than {call.deadline:.0f} s")
            outcome, content = "tool_error", _error(call.tool, failure)
        ended = time.monotonic()
        used = Consumption(
            queue_seconds=(started or ended) - asked,
            run_seconds=ended - (started or ended),
            bytes_in=_size(call.input),
            bytes_out=_size(content),
        )
        return _result(call, content, outcome, used)

    async def _content(self, call: ServerCall) -> list[Block]:
        if call.tool == WEB_FETCH:
            return await self._fetch(call)
        if call.tool == WEB_SEARCH:
            return await self._find(call)
        raise WebFailure("invalid_tool_input", f"{call.tool!r} is no web tool")

    async def _fetch(self, call: ServerCall) -> list[Block]:
        url = read_input(FetchInput, call.input).url.strip()
        fetcher, robots = self._reader()
        fetcher.check(url, call.config)
        # A long conversation is text to search: not on the loop.
        await asyncio.to_thread(_check_source, url, call)
        limit = self._settings.fetch_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                if robots is not None:
                    await robots.check(url)
                page = await fetcher.read(url, call.config)
                tokens = call.config.get("max_content_tokens") or self._settings.max_content_tokens
                return await blocks_of(page, max_tokens=tokens)
        except TimeoutError:
            raise WebFailure("url_not_accessible", f"it took longer than {limit:g} s") from None

    async def _find(self, call: ServerCall) -> list[Block]:
        query = " ".join(read_input(SearchInput, call.input).query.split())
        if len(query) > MAX_QUERY_CHARS:
            raise WebFailure("query_too_long", f"a query has at most {MAX_QUERY_CHARS} characters")
        if not query:
            raise WebFailure("invalid_tool_input", "query: must not be empty")
        search, limit = self._finder(), self._settings.search_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                hits = await search.find(query, call.config)
        except TimeoutError:
            raise WebFailure("unavailable", f"the search provider did not answer within {limit:g} s") from None
        return _text("\n\n".join(map(_shown, range(1, len(hits) + 1), hits)) or f"Nothing was found for {query!r}.")

    def _reader(self) -> tuple[Fetcher, Robots | None]:
        # Made on first use: most harnesses never need the clients, which take a while to import.
        if self._fetcher is None:
            settings = self._settings
            self._fetcher = Fetcher(
                self._guard,
                user_agent=settings.user_agent,
                max_bytes=settings.max_page_bytes,
                connections=settings.max_parallel,
            )
            if settings.obey_robots:
                self._robots = Robots(self._fetcher, settings.user_agent, time.monotonic)
        return self._fetcher, self._robots

    def _finder(self) -> Search:
        if self._search is None:
            provider = provider_of(self._settings)
            if provider is None:
                raise WebFailure("unavailable", _NO_PROVIDER)
            self._search = Search(
                provider, results=self._settings.search_results, timeout=self._settings.search_timeout_seconds
            )
        return self._search


def _check_source(url: str, call: ServerCall) -> None:
    sources = call.config.get("url_sources")
    if appeared(url, call.context, sources):
        return
    if sources is not None and appeared(url, call.context, None):
        raise WebFailure("url_not_allowed", "this agent's url_sources do not let it be taken from where it was found")
    words = "the URL has appeared in nothing that the user, a search, a page or a custom tool said; search for it"
    raise WebFailure("url_not_in_prior_context", f"{words} or ask the user for it")


def _shown(number: int, hit: Hit) -> str:
    lines = [f"{number}. {hit.title or hit.url}" + (f" ({hit.age})" if hit.age else ""), f"   {hit.url}"]
    return "\n".join([*lines, f"   {hit.snippet}"] if hit.snippet else lines)


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}]


def _error(tool: str, failure: WebFailure) -> list[Block]:
    # What a URL is quoted from may hold unpaired surrogates, which no JSON may.
    return _text(f"{tool} failed ({failure.code}): {failure.words}.".encode(errors="replace").decode())


def _result(call: ServerCall, content: list[dict[str, Any]], outcome: Outcome, used: Consumption) -> ServerResult:
    return ServerResult(call.call_id, content, is_error=outcome != "ok", outcome=outcome, consumption=used)
