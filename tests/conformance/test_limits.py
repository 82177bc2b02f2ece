"""How often and how much one key may ask, on a server of its own with small limits (A.12, E.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic

from agents.clock import parse_rfc3339
from tests.conformance.platform import LivePlatform, in_process
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, Scene, message, of_type, says, text_of

# Refilled every two seconds and every second: even a busy machine asks more often than that.
READS, WRITES, STREAMS = 30, 60, 8
_NAMES = ("headers", "refused", "bystander", "retrying", "one", "other", "streams", "reader", "greedy", "modest")
KEYS = {name: f"key-of-{name}" for name in _NAMES}
HEADERS = [f"anthropic-ratelimit-requests-{name}" for name in ("limit", "remaining", "reset")]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """A server with low rates, on which every test has keys of its own."""
    gateway = {"requests_per_minute": WRITES, "reads_per_minute": READS}
    with in_process(tmp_path_factory.mktemp("limited"), api_keys=KEYS, gateway=gateway) as made:
        yield made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """A server with few places, that is: for streams, and for model requests."""
    places = {"gateway": {"max_streams": STREAMS}, "brain": {"max_ongoing_requests": 1}}
    with in_process(tmp_path_factory.mktemp("small"), api_keys=KEYS, **places) as made:
        yield made


def http_of(limited: LivePlatform, name: str) -> httpx.Client:
    return httpx.Client(base_url=limited.url, headers={"x-api-key": KEYS[name]}, timeout=20, verify=False)


@pytest.fixture
async def scene_of(small: LivePlatform) -> AsyncIterator[Callable[[str], Scene]]:
    """Makes scenes that are played with one of the keys."""
    async with AsyncExitStack() as stack:
        clients: list[AsyncAnthropic] = []

        def make(name: str) -> Scene:
            transport = anthropic.DefaultAsyncHttpxClient(verify=False)
            client = AsyncAnthropic(
                base_url=small.url, api_key=KEYS[name], max_retries=0, timeout=20, http_client=transport
            )
            http = httpx.AsyncClient(base_url=small.url, headers={"x-api-key": KEYS[name]}, timeout=20, verify=False)
            clients.append(client)
            stack.push_async_callback(client.close)
            stack.push_async_callback(http.aclose)
            return Scene(replace(small, key=KEYS[name]), client, http, "")

        yield make


@requirement("transport:rate-limit:headers")
def test_every_answer_says_where_its_key_stands(limited: LivePlatform) -> None:
    with http_of(limited, "headers") as http:
        paths = ["/v1/agents", "/v1/agents/agent_none", "/v1/nowhere", "/v1/agents?limit=0"]
        answers = [http.get(path) for path in paths]
        written = http.post("/v1/agents", json={})
        probe = http.get("/-/healthz")
    assert [answer.status_code for answer in answers] == [200, 404, 404, 400]
    assert {answer.headers[HEADERS[0]] for answer in answers} == {str(READS)}
    left = [int(answer.headers[HEADERS[1]]) for answer in answers]
    assert left == sorted(left, reverse=True) and left[0] == READS - 1
    resets = [parse_rfc3339(answer.headers[HEADERS[2]]) for answer in answers]
    assert resets == sorted(resets)
    assert (written.status_code, written.headers[HEADERS[0]]) == (400, str(WRITES))
    assert not set(HEADERS) & set(probe.headers)


@requirement("transport:rate-limit:refused", "transport:retry-after")
def test_above_the_limit_a_key_is_refused_and_no_other(limited: LivePlatform) -> None:
    with http_of(limited, "refused") as http:
        served = 0
        while (refused := http.get("/v1/agents")).status_code == 200:
            served += 1
        assert served >= READS and refused.status_code == 429
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert refused.headers[HEADERS[1]] == "0"
        assert 1 <= int(refused.headers["retry-after"]) <= 60 / READS
        assert http.post("/v1/agents", json={"name": "n", "model": MODEL}).status_code == 200
    client = Anthropic(base_url=limited.url, api_key=KEYS["refused"], max_retries=0)
    with client, pytest.raises(anthropic.RateLimitError):
        for _ in range(2 * READS):  # the first ones may find what was refilled meanwhile
            client.beta.agents.list()
    with http_of(limited, "bystander") as http:
        assert http.get("/v1/agents").status_code == 200


@requirement("transport:rate-limit:sdk")
def test_the_sdks_own_retry_succeeds(limited: LivePlatform) -> None:
    counts: list[str] = []
    transport = anthropic.DefaultHttpxClient(
        event_hooks={"request": [lambda request: counts.append(request.headers["x-stainless-retry-count"])]},
        verify=False,
    )
    with (
        http_of(limited, "retrying") as http,
        Anthropic(base_url=limited.url, api_key=KEYS["retrying"], http_client=transport) as client,
    ):
        # Until the client meets a refusal: on a busy machine a token may come back before it asks.
        while len(counts) < 2:
            counts.clear()
            while http.post("/v1/agents", json={}).status_code != 429:
                pass
            assert client.beta.agents.create(name="patient", model=MODEL).version == 1
    assert counts == [str(number) for number in range(len(counts))]


@requirement("transport:keys")
async def test_keys_share_one_workspace_and_stay_anonymous(scene_of: Callable[[str], Scene]) -> None:
    one, other = scene_of("one"), scene_of("other")
    one.environment_id = (await one.client.beta.environments.create(name="shared")).id
    session = await one.session()
    shown = await other.get(f"/v1/sessions/{session}")
    assert shown["id"] == session
    assert "principal" not in shown and "one" not in shown.values()


@requirement("transport:key-share", "transport:retry-after")
async def test_a_key_beyond_its_share_of_the_streams_leaves_room(scene_of: Callable[[str], Scene]) -> None:
    greedy, modest = scene_of("streams"), scene_of("reader")
    greedy.environment_id = (await greedy.client.beta.environments.create(name="streams")).id
    session = await greedy.session()
    path = f"/v1/sessions/{session}/events/stream"
    async with AsyncExitStack() as held:
        for _ in range(STREAMS - 1):
            await held.enter_async_context(greedy.stream(session))
        refused = await greedy.http.get(path)
        assert refused.status_code == 429 and refused.headers["retry-after"]
        async with modest.stream(session):
            full = await modest.http.get(path)
            assert full.status_code == 429 and full.headers["retry-after"]


@requirement("platform:fair-brains")
async def test_many_sessions_of_one_key_do_not_delay_one_of_another(scene_of: Callable[[str], Scene]) -> None:
    greedy, modest = scene_of("greedy"), scene_of("modest")
    greedy.environment_id = modest.environment_id = (await greedy.client.beta.environments.create(name="places")).id
    await greedy.answers(says([greedy.gate("hold"), "first"]), *[says("later") for _ in range(7)])
    await modest.answers(says([modest.gate("hold"), "mine"]))
    agent = await greedy.agent()
    begin = {"initial_events": [message()]}
    many = [await greedy.session(agent=agent, **begin) for _ in range(8)]
    await greedy.shown(1)
    single = await modest.session(**begin)
    async with asyncio.timeout(10):
        # Each session's own part is done by now; the one place for a model request is taken.
        assert len(await greedy.shown(1)) == 1 and await modest.shown() == []
        await greedy.release("hold")
        await modest.shown(1)
        assert len(await greedy.shown()) == 1, "the other key's only session came next"
        # One that waits can be stopped, and is then never asked for.
        await greedy.send(many[-1], {"type": "user.interrupt"})
        log = await greedy.idle(many[-1])
        assert log[-1]["stop_reason"] == {"type": "end_turn"} and not of_type(log, "agent.message")
        await modest.release("hold")
        assert text_of(of_type(await modest.idle(single), "agent.message")[0]) == "mine"
    said = [text_of(of_type(await greedy.idle(each), "agent.message")[0]) for each in many[:-1]]
    assert sorted(said) == ["first", *["later"] * 6]
    assert len(await greedy.shown()) == 7
