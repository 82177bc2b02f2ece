"""The official SDK, unmodified, against the application on a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from decimal import Decimal
from typing import Any, TypeVar

import anthropic
import pytest
import uvicorn
from api_fakes import Server

from agents.clock import SystemClock, rfc3339
from agents.commands.roi_meters import metered_scenario
from agents.config import Settings
from agents.economics.roi.inputs import Scenario
from agents.sessions.events import EventType, Usage
from agents.store.call_records import row_of
from tests.unit.economics.call_samples import call

T = TypeVar("T")


class LiveServer:
    """The application in a thread with its own event loop."""

    def __init__(self) -> None:
        self.api: Server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._uvicorn: uvicorn.Server
        self._serving: Any
        self.run(self._prepare())

    async def _prepare(self) -> None:
        self.api = Server(Settings(api_key="k", proxy="direct", gateway={"stream_keepalive_seconds": 0.05}))  # type: ignore[arg-type]
        await self.api.host.start()
        config = uvicorn.Config(self.api.app, port=0, log_level="warning", lifespan="off")
        self._uvicorn = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._uvicorn.serve())
        while not self._uvicorn.started:
            await asyncio.sleep(0.005)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._uvicorn.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        async def end() -> None:
            self._uvicorn.should_exit = True
            self._uvicorn.force_exit = True
            await self._serving
            await self.api.client.aclose()

        self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    server = LiveServer()
    yield server
    server.stop()


@pytest.fixture
def client(live: LiveServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=live.url, api_key="k", max_retries=0) as client:
        yield client


def hello() -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}


def make_session(client: anthropic.Anthropic, name: str) -> Any:
    agent = client.beta.agents.create(model="claude-opus-5-5", name=name, tools=[{"type": "agent_toolset_20260401"}])
    environment = client.beta.environments.create(name=name)
    return client.beta.sessions.create(agent=agent.id, environment_id=environment.id, title=name)


def test_agents_and_their_versions(client: anthropic.Anthropic) -> None:
    agent = client.beta.agents.create(model="claude-opus-5-5", name="a", metadata={"k": "v"})
    assert agent._request_id
    updated = client.beta.agents.update(agent.id, name="b", version=agent.version)
    assert [each.version for each in client.beta.agents.versions.list(agent.id, limit=1)] == [2, 1]
    assert client.beta.agents.retrieve(agent.id, version=1).name == "a"
    assert client.beta.agents.archive(updated.id).archived_at is not None
    assert agent.id in {each.id for each in client.beta.agents.list(include_archived=True, limit=1)}


def test_errors_become_the_sdks_own_exceptions(client: anthropic.Anthropic, live: LiveServer) -> None:
    agent = client.beta.agents.create(model="m", name="a")
    client.beta.agents.update(agent.id, name="b")
    with pytest.raises(anthropic.ConflictError) as conflict:
        client.beta.agents.update(agent.id, name="c", version=1)
    assert conflict.value.request_id
    with pytest.raises(anthropic.NotFoundError):
        client.beta.agents.retrieve("agent_none")
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client.beta.agents.list(limit=1000)
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=live.url, api_key="wrong", max_retries=0).beta.agents.retrieve(agent.id)


def test_a_semantic_conflict_is_not_sent_again(live: LiveServer) -> None:
    with anthropic.Anthropic(base_url=live.url, api_key="k", max_retries=2) as client:
        client.beta.environments.create(name="taken")
        with pytest.raises(anthropic.ConflictError) as conflict:
            client.beta.environments.create(name="taken")
    assert conflict.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_sessions_page_both_ways(client: anthropic.Anthropic) -> None:
    made = [make_session(client, f"page {n}").id for n in range(3)]
    page = client.beta.sessions.list(limit=1)
    assert [each.id for each in page.data] == [made[2]]
    assert [each.id for each in page][:3] == made[::-1]
    second = page.get_next_page()
    assert second.prev_page is not None
    back = client.beta.sessions.list(limit=1, page=second.prev_page)
    assert [each.id for each in back.data] == [made[2]]


def test_a_stream_shows_what_happens_after_it_was_opened(client: anthropic.Anthropic, live: LiveServer) -> None:
    session = make_session(client, "stream")
    with client.beta.sessions.events.stream(session.id, event_deltas=["agent.message"]) as stream:
        echo = client.beta.sessions.events.send(session.id, events=[hello()])
        assert echo.data is not None
        said = live.run(
            live.api.host.log(session.id, EventType.AGENT_MESSAGE, {"content": [{"type": "text", "text": "yo"}]})
        )
        live.run(live.api.host.log(session.id, EventType.SESSION_TERMINATED))
        seen = [event.type for event in stream]
    assert seen == ["agent.message", "session.status_terminated"]
    listed = list(client.beta.sessions.events.list(session.id, limit=1))
    assert [event.id for event in listed] == [said.id, listed[1].id, echo.data[0].id]
    (thread,) = client.beta.sessions.threads.list(session.id)
    assert [event.id for event in client.beta.sessions.threads.events.list(thread.id, session_id=session.id)]


def test_a_closed_connection_releases_its_stream(client: anthropic.Anthropic, live: LiveServer) -> None:
    session = make_session(client, "hang up")
    before = len(live.api.host.subscriptions)
    with client.beta.sessions.events.stream(session.id):
        assert len(live.api.host.subscriptions) == before + 1

    async def released() -> None:
        async with asyncio.timeout(5):
            while len(live.api.host.subscriptions) > before:
                await asyncio.sleep(0.005)

    live.run(released())


def test_environments_are_made_changed_and_deleted(client: anthropic.Anthropic) -> None:
    environment = client.beta.environments.create(
        name="env",
        config={"type": "cloud", "networking": {"type": "limited", "allowed_hosts": ["api.example.com"]}},
    )
    changed = client.beta.environments.update(environment.id, description="d")
    assert (changed.description, changed.config) == ("d", environment.config)
    assert environment.id in {each.id for each in client.beta.environments.list()}
    assert client.beta.environments.delete(environment.id).id == environment.id


def test_what_a_server_has_metered_goes_into_a_scenario(client: anthropic.Anthropic, live: LiveServer) -> None:
    since = rfc3339(SystemClock().now())
    used = Usage(input_tokens=1000, output_tokens=500, cache_creation_5m_input_tokens=10, token_cost_micro_usd=120_000)
    calls = [call("of an MCP client", at=SystemClock().now(), session=""), call("from before", at=SystemClock().now())]
    for name in ("metered", "metered-too"):
        session = make_session(client, name)
        calls.append(call(name, at=SystemClock().now(), session=session.id, cpu_us=4_000_000))
        live.run(live.api.host.log(session.id, EventType.SESSION_IDLE, usage=used))
    live.api.store.calls.rows |= {each.key: row_of(each) for each in calls}
    scenario = Scenario.model_validate({"name": "s", "interactions_per_month": 1, "monolith": {}, "decoupled": {}})
    metered = metered_scenario(client, scenario, "decoupled", since=since, until=None)
    assert metered.tokens_per_interaction == 1510
    assert metered.source.startswith("Meters of the decoupled: 2 sessions")
    assert metered.decoupled.model_dump(exclude_defaults=True) == {
        "brain_usd_per_interaction": Decimal("0.12"),
        "cpu_seconds_per_interaction": 4,
        "gb_per_interaction": Decimal("110e-9"),
        "hand_usd_per_interaction": Decimal("0.0016"),
    }
