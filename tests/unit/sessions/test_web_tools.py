"""The web tools in a session: from a search to a page, what they count, what they cost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agents.brains.scripted import text, tool_use
from agents.economics.price_book import PriceBook
from agents.hands.servers.router import RoutedServers
from agents.hands.toolset import tool_definitions
from agents.ids import EventId
from agents.sessions.conversation import Conversation
from agents.sessions.events import Event, EventType
from agents.sessions.harness import Harness
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.sessions.wire import session_wire, thread_wire
from agents.web.definitions import web_definitions
from agents.web.provenance import appeared
from agents.web.settings import WebSettings
from agents.web.tools import WebTools
from tests.unit.web.sites import GUARD, Answer, Sites, serving

from .conftest import message, toolset
from .serving import ServedWorld


class WebWorld(ServedWorld):
    """A world whose web is on loopback; its search finds the page /found."""

    def __init__(self, sites: Sites) -> None:
        super().__init__()
        hit = {"url": sites.url("example.com", "/found"), "title": "Found", "content": "it"}
        sites.pages(
            {
                "example.com/found": Answer(b"the page", "text/plain"),
                "example.com/told": Answer(b"another", "text/plain"),
                "127.0.0.1/search?q=news&format=json": Answer(json.dumps({"results": [hit]}).encode()),
            }
        )
        settings = WebSettings(search_provider="searxng", search_url=f"http://127.0.0.1:{sites.port}")
        self.web = WebTools(settings, GUARD)
        self.world.ports = replace(
            self.world.ports,
            servers=RoutedServers(web=self.web),
            tool_definitions=lambda: [*tool_definitions(SANDBOX_TOOLS), *web_definitions()],
        )
        self.world.harness = Harness(self.world.ports, owner="harness-0")
        self.harnesses = [self.world.harness]

    async def stop(self) -> None:
        await super().stop()
        await self.web.close()


@pytest.fixture
async def sites() -> AsyncIterator[Sites]:
    async with serving() as found:
        yield found


@pytest.fixture
async def scene(sites: Sites) -> AsyncIterator[WebWorld]:
    world = WebWorld(sites)
    await world.start()
    yield world
    await world.stop()


async def test_a_search_opens_its_hits_and_both_are_counted_and_searches_priced(scene: WebWorld, sites: Sites) -> None:
    page = sites.url("example.com", "/found")
    scene.brain.add(tool_use("web_fetch", {"url": page}))
    scene.brain.add(tool_use("web_search", {"query": "news"}))
    scene.brain.add(tool_use("web_fetch", {"url": page}))
    scene.brain.add(text("done"))
    session = await scene.create(toolset())
    await scene.world.send(session, message("what is new?"))
    log = await scene.world.idle(session)

    results = [event["content"][0]["text"] for event in log if event["type"] == "agent.tool_result"]
    assert "(url_not_in_prior_context)" in results[0]
    assert results[1:] == [f"1. Found\n   {page}\n   it", f"URL: {page}\n\nthe page"]
    record, prices = await scene.world.record(session), PriceBook.load()
    now = record.updated_at
    usage = session_wire(record, now, prices)["usage"]
    assert usage["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 1}
    free = session_wire(record, now, PriceBook({}, prices.running_hour_micro_usd))["usage"]["list_cost"]
    assert int(usage["list_cost"]["amount"]) - int(free["amount"]) == 1
    (told,) = [event for event in log if event["type"] == "session.usage"]
    assert told["usage"]["server_tool_use"] == usage["server_tool_use"]
    thread = thread_wire(record, None, now, prices)["usage"]
    assert thread["server_tool_use"] == usage["server_tool_use"]


async def test_the_count_can_be_made_from_the_log_alone(scene: WebWorld, sites: Sites) -> None:
    scene.brain.add(tool_use("web_search", {"query": "news"}))
    scene.brain.add(tool_use("web_search", {"query": "else"}))
    scene.brain.add(text("done"))
    session = await scene.create(toolset())
    await scene.world.send(session, message("what is new?"))
    await scene.world.idle(session)

    calls = [(event.hidden or {})["call"] for event in await scene.events(session, EventType.AGENT_TOOL_RESULT)]
    assert [(call["tool"], call["outcome"]) for call in calls] == [("web_search", "ok"), ("web_search", "tool_error")]
    assert (await scene.world.record(session)).usage.web_search_requests == 1


async def test_what_the_agents_author_names_may_be_read(scene: WebWorld, sites: Sites) -> None:
    page = sites.url("example.com", "/told")
    record = scene.world.new_record(toolset())
    record = replace(record, agent={**record.agent, "mcp_servers": [], "system": f"Begin with {page}."})
    await scene.world.harness.create(record, [])
    scene.brain.add(tool_use("web_fetch", {"url": page}), text("done"))
    await scene.world.send(record.id, message("go"))  # type: ignore[arg-type]
    log = await scene.world.idle(record.id)  # type: ignore[arg-type]

    assert [event["content"][0]["text"] for event in log if event["type"] == "agent.tool_result"] == [
        f"URL: {page}\n\nanother"
    ]


async def test_web_tools_run_here_for_self_hosted_sessions_too(scene: WebWorld, sites: Sites) -> None:
    page = sites.url("example.com", "/told")
    record = scene.world.new_record(toolset())
    record = replace(record, environment={"type": "self_hosted"}, agent={**record.agent, "mcp_servers": []})
    await scene.world.harness.create(record, [])
    scene.brain.add(tool_use("web_fetch", {"url": page}), text("done"))
    await scene.world.send(record.id, message(f"read {page}"))  # type: ignore[arg-type]
    log = await scene.world.idle(record.id)  # type: ignore[arg-type]

    assert [event["content"][0]["text"] for event in log if event["type"] == "agent.tool_result"] == [
        f"URL: {page}\n\nanother"
    ]


def test_an_url_outlives_the_message_that_gave_it() -> None:
    conversation = Conversation()
    given: dict[EventType, dict[str, object]] = {
        EventType.USER_MESSAGE: {"content": [{"type": "text", "text": "read https://example.com/a"}]},
        EventType.AGENT_MESSAGE: {"content": [{"type": "text", "text": "https://made-up.example.com/"}]},
        EventType.CONTEXT_COMPACTED: {},
    }
    for number, (kind, body) in enumerate(given.items()):
        hidden = {"summary": "see https://summed.example.com/", "keeps": 0}
        event = Event(EventId(f"sevt_{number}"), kind, body, processed_at=None)
        conversation.apply(replace(event, hidden=hidden) if kind is EventType.CONTEXT_COMPACTED else event)

    assert appeared("https://example.com/a", conversation.given(), None)
    assert not appeared("https://made-up.example.com/", conversation.given(), None)
    assert not appeared("https://summed.example.com/", conversation.given(), None)
