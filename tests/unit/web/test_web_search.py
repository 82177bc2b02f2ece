"""web_search: what each provider is asked, as its API documents, and what the model gets of its answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from agents.hands.servers.port import Caller, ServerCall, ServerResult, ToolServer
from agents.web.settings import WebSettings
from agents.web.tools import WebTools
from tests.unit.web.sites import GUARD, Answer, Request, Sites

KEY = "canary-search-key"
PLACE = {"type": "approximate", "city": "Köln", "region": "NRW", "country": "DE", "timezone": "Europe/Berlin"}


def json_answer(value: Any, status: str = "200 OK") -> Answer:
    return Answer(json.dumps(value).encode(), "application/json", status)


def found(provider: str, urls: Sequence[str]) -> Any:
    """Return an answer in the form that *provider* documents."""
    match provider:
        case "searxng":
            hits = [{"url": url, "title": f"T {url}", "content": "snip\n pet", "engine": "x"} for url in urls]
            return {"query": "q", "number_of_results": 0, "results": hits, "answers": [], "suggestions": []}
        case "brave":
            hits = [{"url": url, "title": f"T {url}", "description": "snip\n pet", "age": "2 days ago"} for url in urls]
            return {"type": "search", "query": {"original": "q"}, "web": {"type": "search", "results": hits}}
        case _:
            hits = [{"url": url, "title": f"T {url}", "content": "snip\n pet", "score": 0.9} for url in urls]
            return {"query": "q", "answer": None, "images": [], "results": hits, "response_time": 0.5}


async def search(
    sites: Sites, provider: Any, query: str = "big news", config: dict[str, Any] | None = None, **settings: Any
) -> ServerResult:
    web = WebTools(
        WebSettings(
            search_provider=provider, search_url=f"http://127.0.0.1:{sites.port}", search_api_key=KEY, **settings
        ),
        GUARD,
    )
    call = ServerCall("c1", ToolServer("", ""), "web_search", {"query": query}, 10.0, config=config or {})
    try:
        return await web.call(call, Caller("sesn_1"))
    finally:
        await web.close()


def asked(sites: Sites) -> tuple[str, dict[str, str]]:
    """Return path and parameters of the only request."""
    (request,) = sites.requests
    parts = urlsplit(request.target)
    if request.body:
        return parts.path, json.loads(request.body)
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}


async def test_without_a_provider_the_error_says_what_to_set() -> None:
    web = WebTools(WebSettings(), GUARD)
    result = await web.call(ServerCall("c1", ToolServer("", ""), "web_search", {"query": "x"}, 5.0), Caller("s"))

    assert result.is_error
    assert "(unavailable)" in result.content[0]["text"]
    assert "web.search_provider" in result.content[0]["text"]
    await web.close()


@pytest.mark.parametrize("provider", ["searxng", "brave", "tavily"])
async def test_hits_are_told_in_order_with_title_url_and_excerpt(sites: Sites, provider: str) -> None:
    urls = ["https://a.example.com/1", "javascript:alert(1)", "https://b.example.com/2"]
    sites.answer = lambda request: json_answer(found(provider, urls))

    result = await search(sites, provider)

    age = " (2 days ago)" if provider == "brave" else ""
    assert result.content == [
        {
            "type": "text",
            "text": f"1. T {urls[0]}{age}\n   {urls[0]}\n   snip pet\n\n2. T {urls[2]}{age}\n   {urls[2]}\n   snip pet",
        }
    ]


@pytest.mark.parametrize("provider", ["searxng", "brave", "tavily"])
async def test_domain_lists_hold_whatever_the_provider_returns(sites: Sites, provider: str) -> None:
    urls = ["https://evil.org/", "https://docs.example.com/api/x", "https://docs.example.com/blog"]
    sites.answer = lambda request: json_answer(found(provider, urls))

    allowed = await search(sites, provider, config={"allowed_domains": ["example.com/api"]})
    blocked = await search(sites, provider, config={"blocked_domains": ["example.com/api", "evil.org"]})

    assert [url in allowed.content[0]["text"] for url in urls] == [False, True, False]
    assert [url in blocked.content[0]["text"] for url in urls] == [False, False, True]


async def test_searxng_is_asked_as_it_documents(sites: Sites) -> None:
    sites.answer = lambda request: json_answer(found("searxng", []))

    result = await search(sites, "searxng", config={"blocked_domains": ["evil.org"], "user_location": PLACE})

    assert asked(sites) == ("/search", {"q": "big news -site:evil.org", "format": "json"})
    assert result.content[0]["text"] == "Nothing was found for 'big news'."
    assert not result.is_error


async def test_brave_is_asked_as_it_documents(sites: Sites) -> None:
    sites.answer = lambda request: json_answer({"type": "search", "query": {"original": "q"}})

    result = await search(
        sites, "brave", config={"allowed_domains": ["a.com", "b.com"], "user_location": PLACE}, search_results=5
    )

    query = "big news (site:a.com OR site:b.com)"
    assert asked(sites) == (
        "/res/v1/web/search",
        {"q": query, "count": "20", "text_decorations": "false", "country": "DE"},
    )
    headers = sites.requests[0].headers
    assert headers["x-subscription-token"] == KEY
    assert {name: headers[name] for name in headers if name.startswith("x-loc")} == {
        "x-loc-state-name": "NRW",
        "x-loc-country": "DE",
        "x-loc-timezone": "Europe/Berlin",
    }
    assert not result.is_error


async def test_tavily_is_asked_as_it_documents(sites: Sites) -> None:
    sites.answer = lambda request: json_answer(found("tavily", []))

    await search(sites, "tavily", config={"allowed_domains": ["a.com/x", "a.com/y"], "user_location": PLACE})

    path, body = asked(sites)
    assert path == "/search"
    assert body == {
        "query": "big news",
        "max_results": 20,
        "search_depth": "basic",
        "topic": "general",
        "include_domains": ["a.com"],
        "country": "germany",
    }
    assert sites.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_tavily_excludes_whole_sites_only(sites: Sites) -> None:
    sites.answer = lambda request: json_answer(found("tavily", []))

    await search(sites, "tavily", config={"blocked_domains": ["a.com/x", "b.com"]})

    assert asked(sites)[1]["exclude_domains"] == ["b.com"]


async def test_no_more_hits_than_are_set(sites: Sites) -> None:
    sites.answer = lambda request: json_answer(found("brave", [f"https://a.com/{n}" for n in range(20)]))

    result = await search(sites, "brave", search_results=3)

    assert result.content[0]["text"].count("https://a.com/") == 6  # in the title, too
    assert asked(sites)[1]["count"] == "3"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (json_answer({"detail": {"error": KEY}}, "401 Unauthorized"), "unavailable"),
        (json_answer({}, "403 Forbidden"), "unavailable"),
        (json_answer({}, "422 Unprocessable Entity"), "unavailable"),
        (json_answer({}, "429 Too Many Requests"), "too_many_requests"),
        (json_answer({}, "432 Plan"), "too_many_requests"),
        (json_answer({}, "500 Internal Server Error"), "unavailable"),
        (Answer(b"<html>", "text/html"), "unavailable"),
        (json_answer({"answers": []}), "unavailable"),
        (json_answer([1]), "unavailable"),
        (json_answer({"results": [{"title": 5}]}), "unavailable"),
        (Answer(b"x" * 5 * 1024**2, "application/json"), "unavailable"),
    ],
)
async def test_a_providers_failure_is_told_without_its_key(sites: Sites, answer: Answer, code: str) -> None:
    sites.answer = lambda request: answer

    result = await search(sites, "tavily")

    assert result.is_error
    assert f"({code})" in result.content[0]["text"]
    assert KEY not in str(result)


async def test_a_provider_that_is_away_or_hangs_is_told(sites: Sites) -> None:
    async def never(request: Request) -> Answer:
        import asyncio

        await asyncio.Event().wait()
        return Answer()

    sites.answer = never
    hanging = await search(sites, "searxng", search_timeout_seconds=0.05)
    sites.port = 1
    away = await search(sites, "searxng")

    for result in (hanging, away):
        assert "(unavailable)" in result.content[0]["text"]


@pytest.mark.parametrize(("query", "code"), [("x" * 401, "query_too_long"), (" \n ", "invalid_tool_input")])
async def test_queries_are_bounded(sites: Sites, query: str, code: str) -> None:
    result = await search(sites, "searxng", query)

    assert f"({code})" in result.content[0]["text"]
    assert sites.requests == []


@pytest.mark.parametrize(
    "settings",
    [
        {"search_provider": "searxng"},
        {"search_provider": "brave"},
        {"search_provider": "tavily"},
        {"search_provider": "tavily", "search_api_key": ""},
        {"search_provider": "searxng", "search_url": "example.com"},
        {"search_provider": "google"},
    ],
)
def test_settings_that_cannot_work_stop_start_up(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebSettings(**settings)
