"""The claude brain against the stub server: what it sends, and how every way to fail is told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from agents.brains.assembly import Answer
from agents.brains.claude import ClaudeBrain
from agents.brains.counting import estimate
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.wire import counting_body
from agents.config import BrainSettings
from agents.vault import MemoryVault
from tests.stub_model import RunningStub, running_stub
from tests.unit.brains.answers import answer_of

REQUEST = BrainRequest("sesn_1", "claude-anything-9", [{"role": "user", "content": "hello"}], system="be brief")
TEXT = {"content": [{"type": "text", "text": "fine"}]}


@pytest.fixture
async def stub() -> AsyncIterator[RunningStub]:
    async with running_stub() as running:
        yield running


def brain_at(url: str | None, key: str = "sk-test", **settings: Any) -> ClaudeBrain:
    return ClaudeBrain(BrainSettings(base_url=url, **settings), MemoryVault({"anthropic_api_key": key}))


async def think(brain: ClaudeBrain, request: BrainRequest = REQUEST) -> Answer:
    try:
        return await answer_of(brain, request)
    finally:
        await brain.aclose()


async def failure_of(brain: ClaudeBrain, request: BrainRequest = REQUEST) -> BrainFailure:
    with pytest.raises(BrainFailure) as caught:
        await think(brain, request)
    return caught.value


async def test_the_server_is_shown_a_streaming_request_with_key_and_version(stub: RunningStub) -> None:
    await think(brain_at(stub.url))
    [shown] = stub.model.requests
    assert shown.headers["authorization"] == "Bearer sk-test"
    assert shown.headers["anthropic-version"]
    assert shown.headers["content-type"] == "application/json"
    assert shown.body["stream"] is True
    assert shown.body["model"] == "claude-anything-9"
    assert shown.body["system"][0]["text"] == "be brief"


async def test_fast_speed_carries_its_beta_header(stub: RunningStub) -> None:
    await think(brain_at(stub.url), BrainRequest("s", "m", REQUEST.messages, speed="fast"))
    [shown] = stub.model.requests
    assert "fast-mode" in shown.headers["anthropic-beta"]


async def test_the_base_url_may_come_from_the_environment(stub: RunningStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stub.url)
    await think(brain_at(None))
    assert len(stub.model.requests) == 1


async def test_the_setting_wins_over_the_environment(stub: RunningStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    await think(brain_at(stub.url))
    assert len(stub.model.requests) == 1


async def test_a_server_of_ones_own_needs_no_key(stub: RunningStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-from-the-environment")
    await think(brain_at(stub.url, key=""))
    [shown] = stub.model.requests
    assert "sk-from" not in str(shown.headers)


async def test_without_key_and_server_it_fails_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    failure = await failure_of(brain_at(None, key=""))
    assert (failure.kind, failure.transient) == ("request_failed", False)
    assert "ANTHROPIC_API_KEY" in failure.message


async def test_thinking_text_and_cache_usage_arrive(stub: RunningStub) -> None:
    content = [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": ["a", "b"]}]
    stub.model.script({"content": content, "usage": {"cache_read_input_tokens": 5, "cache_creation_1h": 6}})
    answer = await think(brain_at(stub.url))
    assert [block.raw for block in answer.blocks] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "ab"},
    ]
    assert (answer.usage.cache_read_input_tokens, answer.usage.cache_creation_1h) == (5, 6)


async def test_a_refusal_arrives_with_its_details(stub: RunningStub) -> None:
    details = {"type": "refusal", "category": "bio"}
    stub.model.script({"stop_reason": "refusal", "stop_details": details})
    answer = await think(brain_at(stub.url))
    assert (answer.stop_reason, answer.stop_details) == ("refusal", details)


@pytest.mark.parametrize(
    ("status", "error_type", "kind", "transient"),
    [
        (529, "overloaded_error", "overloaded", True),
        (429, "rate_limit_error", "rate_limited", True),
        (500, "api_error", "request_failed", True),
        (402, "billing_error", "billing", False),
        (401, "authentication_error", "request_failed", False),
        (404, "not_found_error", "request_failed", False),
    ],
)
async def test_an_error_response_is_mapped_and_asked_only_once(
    stub: RunningStub, status: int, error_type: str, kind: str, transient: bool
) -> None:
    stub.model.script({"status": status, "error_type": error_type, "headers": {"retry-after": "3"}}, TEXT)
    failure = await failure_of(brain_at(stub.url))
    assert (failure.kind, failure.transient, failure.retry_after) == (kind, transient, 3.0)
    assert len(stub.model.requests) == 1


async def test_the_key_never_stands_in_a_failure(stub: RunningStub) -> None:
    stub.model.script({"status": 401, "error_type": "authentication_error", "message": "unknown key sk-hush"})
    failure = await failure_of(brain_at(stub.url, key="sk-hush"))
    assert "sk-hush" not in failure.message


async def test_an_error_event_in_mid_stream_is_mapped(stub: RunningStub) -> None:
    stub.model.script({"content": [{"type": "text", "text": ["half", {"error": "overloaded_error"}]}]})
    failure = await failure_of(brain_at(stub.url))
    assert (failure.kind, failure.transient) == ("overloaded", True)


async def test_a_connection_dropped_in_mid_stream_is_transient(stub: RunningStub) -> None:
    stub.model.script({"content": [{"type": "text", "text": ["half", {"drop": True}]}]})
    failure = await failure_of(brain_at(stub.url))
    assert (failure.kind, failure.transient) == ("request_failed", True)


@pytest.mark.parametrize(
    "garbage",
    [
        "event: x\ndata: {not json\n\n",
        "data: 17\n\n",
        'data: {"no": "type"}\n\n',
        'data: {"type": 5}\n\n',
        'data: {"type": "hecaton_route", "route": {}}\n\n',
    ],
)
async def test_an_unreadable_stream_is_transient(stub: RunningStub, garbage: str) -> None:
    stub.model.script({"content": [{"sse": garbage}]})
    failure = await failure_of(brain_at(stub.url))
    assert (failure.kind, failure.transient) == ("request_failed", True)


async def test_pings_are_not_passed_on(stub: RunningStub) -> None:
    stub.model.script({"content": [{"sse": 'event: ping\ndata: {"type": "ping"}\n\n'}, *TEXT["content"]]})
    brain = brain_at(stub.url)
    types = [event["type"] async for event in brain.think(REQUEST)]
    await brain.aclose()
    assert "ping" not in types
    assert types[-1] == "message_stop"


async def test_a_server_that_is_not_there_is_transient() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure = await failure_of(brain_at(f"http://user:hush@127.0.0.1:{taken.getsockname()[1]}"))
    assert (failure.kind, failure.transient) == ("request_failed", True)
    assert "127.0.0.1" in failure.message
    assert "hush" not in failure.message


async def test_a_server_that_never_begins_is_given_up(stub: RunningStub) -> None:
    stub.model.script({**TEXT, "delay": 5})
    began = time.monotonic()
    failure = await failure_of(brain_at(stub.url, first_event_timeout_seconds=0.2))
    assert time.monotonic() - began < 3
    assert (failure.kind, failure.transient) == ("request_failed", True)
    assert await stub.model.seen(closed=1)


async def test_a_first_event_that_never_comes_is_given_up(stub: RunningStub) -> None:
    stub.model.script({"content": [{"sse": ": still thinking\n\n"}, {"gate": "never"}]})
    failure = await failure_of(brain_at(stub.url, event_gap_timeout_seconds=0.2))
    assert failure.transient


async def test_a_gap_in_the_stream_is_given_up_and_the_response_closed(stub: RunningStub) -> None:
    stub.model.script({"content": [{"type": "text", "text": ["half", {"gate": "never"}]}]})
    failure = await failure_of(brain_at(stub.url, event_gap_timeout_seconds=0.2))
    assert failure.transient
    assert await stub.model.seen(closed=1)


async def test_the_whole_answer_has_a_deadline(stub: RunningStub) -> None:
    slow = [part for _ in range(100) for part in ("word ", {"delay": 0.02})]
    stub.model.script({"content": [{"type": "text", "text": slow}]})
    began = time.monotonic()
    failure = await failure_of(brain_at(stub.url, request_timeout_seconds=0.3))
    assert time.monotonic() - began < 1.9
    assert failure.transient


async def test_an_answer_that_does_not_end_is_given_up_and_the_response_closed(
    stub: RunningStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug class: a server that forgets to stop fills the memory of a replica, and takes all its requests along."""
    monkeypatch.setattr("agents.brains.claude.OTHER_BYTES", 4096)
    monkeypatch.setattr("agents.brains.claude.BYTES_PER_TOKEN", 0)
    words = ["word"] * 100
    stub.model.script({"content": [{"type": "text", "text": [*words, {"gate": "never"}]}]})
    failure = await failure_of(brain_at(stub.url))
    assert (failure.kind, failure.transient, failure.message) == (
        "request_failed",
        True,
        "The model's answer does not end.",
    )
    assert await stub.model.seen(closed=1)


async def test_connections_are_used_again(stub: RunningStub) -> None:
    brain = brain_at(stub.url)
    for _ in range(3):
        assert [event async for event in brain.think(REQUEST)][-1]["type"] == "message_stop"
    await brain.aclose()
    assert len({shown.peer for shown in stub.model.requests}) == 1


class Closing:
    """A server that answers the first request of each connection and hangs up on the second, as one that idled."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.deaf = deaf
        """Whether it hangs up on every request."""
        self.requests: list[int] = []
        """The number of each request on its connection."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in (1, 2):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            self.requests.append(number)
            if number == 2 or self.deaf:
                break
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 18\r\n\r\n"
                + b'{"input_tokens":7}'
            )
        writer.close()


async def test_a_connection_that_is_closed_as_a_request_sets_out_is_no_failure() -> None:
    async with _closing(Closing()) as (url, server):
        brain = brain_at(url)
        assert [await brain.count_tokens(REQUEST) for _ in range(3)] == [7, 7, 7]
        await brain.aclose()
    assert server.requests == [1, 2, 1, 2, 1]


async def test_a_server_that_hangs_up_again_is_given_up() -> None:
    async with _closing(Closing(deaf=True)) as (url, server):
        failure = await failure_of(brain_at(url))
    assert (failure.kind, failure.transient) == ("request_failed", True)
    assert server.requests == [1, 1]


@asynccontextmanager
async def _closing(server: Closing) -> AsyncIterator[tuple[str, Closing]]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        yield f"http://{host}:{port}", server


async def test_a_closed_brain_opens_again(stub: RunningStub) -> None:
    brain = brain_at(stub.url)
    assert (await think(brain)).blocks
    assert (await think(brain)).blocks


async def test_a_request_that_is_not_json_fails_for_good(stub: RunningStub) -> None:
    failure = await failure_of(brain_at(stub.url), BrainRequest("s", "m", [{"role": "user", "content": "\ud800"}]))
    assert not failure.transient
    assert len(stub.model.requests) == 0


async def test_the_servers_own_count_of_tokens_is_asked_for(stub: RunningStub) -> None:
    brain = brain_at(stub.url)
    assert await brain.count_tokens(REQUEST) == len(orjson.dumps(counting_body(REQUEST)))
    await brain.aclose()


async def test_a_server_that_does_not_count_is_estimated(stub: RunningStub) -> None:
    brain = brain_at(f"{stub.url}/elsewhere")
    assert await brain.count_tokens(REQUEST) == estimate(REQUEST) > 1
    await brain.aclose()


async def test_a_count_for_a_model_that_the_server_does_not_know_is_refused(stub: RunningStub) -> None:
    brain = brain_at(f"{stub.url}/claude-anything-9")
    with pytest.raises(BrainFailure) as caught:
        await brain.count_tokens(REQUEST)
    assert caught.value.refusal is not None and caught.value.refusal.status == 404
    await brain.aclose()
