"""How much and how often a key may ask: rate limits with the spec's headers (A.12, E.2), shares of a replica (ours)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from api_fakes import Server, refusal

from agents.api import rate_limits
from agents.api.rate_limits import RateLimits, Standing
from agents.clock import ManualClock, parse_rfc3339
from agents.config import GatewaySettings

HEADERS = [f"anthropic-ratelimit-requests-{name}" for name in ("limit", "remaining", "reset")]
KEYS = {"api_keys": {"a": "key-a", "b": "key-b"}}
A, B = {"x-api-key": "key-a"}, {"x-api-key": "key-b"}


class Counter:
    """Rate limits on a clock that the test moves."""

    def __init__(self, **settings: int) -> None:
        self.clock = ManualClock()
        self.limits = RateLimits(GatewaySettings(**settings), self.clock)

    def spend(self, principal: str = "a", method: str = "POST") -> Standing:
        standing = self.limits.spend(principal, method)
        assert standing is not None
        return standing


def test_a_minutes_worth_may_come_at_once_and_comes_back_evenly() -> None:
    counter = Counter(requests_per_minute=6)
    assert [counter.spend().remaining for _ in range(6)] == [5, 4, 3, 2, 1, 0]
    refused = counter.spend()
    assert (refused.retry_after, refused.remaining) == (10.0, 0)
    counter.clock.advance(9.0)
    assert counter.spend().retry_after == pytest.approx(1.0)
    counter.clock.advance(1.0)
    assert counter.spend().retry_after is None
    assert counter.spend().retry_after == pytest.approx(10.0)
    counter.clock.advance(3600)
    assert counter.spend().remaining == 5


def test_a_refused_request_costs_nothing() -> None:
    counter = Counter(requests_per_minute=1)
    counter.spend()
    assert [counter.spend().retry_after for _ in range(5)] == [60.0] * 5


def test_reset_says_when_the_whole_limit_is_back() -> None:
    counter = Counter(requests_per_minute=60)
    for _ in range(3):
        standing = counter.spend()
    assert parse_rfc3339(standing.reset) == counter.clock.now() + timedelta(seconds=3)


def test_keys_and_kinds_of_requests_are_counted_apart() -> None:
    counter = Counter(requests_per_minute=1, reads_per_minute=1)
    found = [counter.spend(key, method).retry_after for key in "ab" for method in ("POST", "GET")]
    assert found == [None] * 4
    assert counter.spend("a", "DELETE").retry_after is not None
    assert counter.spend("b", "GET").retry_after is not None


def test_zero_sets_no_limit() -> None:
    limits = RateLimits(GatewaySettings(reads_per_minute=1), ManualClock())
    assert all(limits.spend("a", "POST") is None for _ in range(100))


def test_each_replica_enforces_its_part_and_lets_one_through_at_least() -> None:
    halves = Counter(requests_per_minute=10, replicas=2)
    assert [halves.spend().retry_after is None for _ in range(6)] == [True] * 5 + [False]
    tiny = Counter(requests_per_minute=1, replicas=4)
    assert tiny.spend().retry_after is None
    assert tiny.spend().retry_after == 240.0


def test_the_memory_of_who_asked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MOST_BUCKETS", 2)
    counter = Counter(reads_per_minute=1)
    assert [counter.spend(key, "GET").retry_after is None for key in ("a", "b", "a", "c")] == [True, True, False, True]
    assert len(counter.limits._buckets) == 2
    assert counter.spend("a", "GET").retry_after is not None, "the one used longest ago has gone, and that is b's"


async def test_every_answer_tells_where_its_key_stands(make_server: Any) -> None:
    server: Server = await make_server(gateway={"reads_per_minute": 5}, **KEYS)
    paths = ["/v1/agents", "/v1/agents/none", "/v1/nowhere", "/v1/agents?limit=0"]
    answers = [await server.client.get(path, headers=A) for path in paths]
    assert [answer.headers[HEADERS[1]] for answer in answers] == ["4", "3", "2", "1"]
    assert {answer.headers[HEADERS[0]] for answer in answers} == {"5"}
    assert all(parse_rfc3339(answer.headers[HEADERS[2]]) for answer in answers)


async def test_one_request_too_many_is_429_and_touches_nobody_else(make_server: Any) -> None:
    server: Server = await make_server(gateway={"requests_per_minute": 2}, **KEYS)

    async def create(headers: dict[str, str]) -> httpx.Response:
        return await server.client.post("/v1/agents", json={"model": "m", "name": "n"}, headers=headers)

    assert [(await create(A)).status_code for _ in range(2)] == [200, 200]
    refused = await create(A)
    refusal(refused, 429, "rate_limit_error")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers[HEADERS[1]] == "0"
    assert (await create(B)).status_code == 200
    listed = await server.client.get("/v1/agents", headers=A)
    assert listed.status_code == 200 and len(listed.json()["data"]) == 3
    assert HEADERS[0] not in listed.headers, "reads have no limit here"


async def test_probes_are_never_counted_and_strangers_are_told_nothing(make_server: Any) -> None:
    server: Server = await make_server(gateway={"reads_per_minute": 1}, **KEYS)
    for path in ("/-/healthz", "/metrics", "/-/readyz", "/openapi.json"):
        for _ in range(3):
            answer = await server.client.get(path)
            assert answer.status_code == 200 and HEADERS[0] not in answer.headers
    refused = await server.client.get("/v1/agents")
    assert refused.status_code == 401 and HEADERS[0] not in refused.headers
    assert (await server.client.get("/v1/agents", headers=A)).status_code == 200


async def test_without_a_limit_there_are_no_headers(server: Server) -> None:
    assert not set(HEADERS) & set((await server.client.get("/v1/agents")).headers)


async def test_a_greedy_key_leaves_room_for_the_others(make_server: Any) -> None:
    server: Server = await make_server(gateway={"max_ongoing_requests": 8, "key_share": 0.25}, **KEYS)
    server.client.headers.update(A)
    session = await server.session()
    entered, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> list[Any]:
        entered.release()
        await go_on.wait()
        return []

    server.host.send = slow
    path = f"/v1/sessions/{session['id']}/events"
    body = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "hi"}]}]}
    greedy = [asyncio.create_task(server.client.post(path, json=body)) for _ in range(7)]
    async with asyncio.timeout(5):
        for _ in greedy:
            await entered.acquire()
    refused = await server.client.get("/v1/agents")
    refusal(refused, 429, "rate_limit_error")
    assert refused.headers["retry-after"] == "1"
    assert (await server.client.get("/v1/agents", headers=B)).status_code == 200
    go_on.set()
    assert {(await each).status_code for each in greedy} == {200}
    assert (await server.client.get("/v1/agents")).status_code == 200
