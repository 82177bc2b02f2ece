"""A trace's context goes with calls over a link, and what the far side did comes back with its answer (ours)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest

from actors import link_server
from actors.link_client import LinkClient
from actors.link_server import Connection, Endpoint, LinkServer
from actors.replies import Reply
from agents.errors import InvalidRequest
from agents.telemetry.tracing.context import TraceContext, arrived, handing_on

CONTEXT = TraceContext(1, 2, True)


async def call(method: str, args: Sequence[Any]) -> Reply:
    if method == "refuse":
        return Reply(error=InvalidRequest("no"))
    came = arrived()
    return Reply(None if came is None else came.trace_id)


async def stream(method: str, args: Sequence[Any]) -> AsyncGenerator[Any, None]:
    came = arrived()
    yield None if came is None else came.trace_id


@pytest.fixture
async def link() -> AsyncIterator[LinkClient]:
    server = LinkServer(lambda channel: Connection(channel, call, stream))
    endpoint = await server.start("127.0.0.1")

    async def find() -> Endpoint:
        return endpoint

    made = LinkClient("far", find)
    await made.connect()
    yield made
    await made.close()
    await server.stop()


async def ask(link: LinkClient, method: str = "echo") -> Any:
    return await link.call("call", method, (), timeout=5)


async def test_the_far_side_knows_the_trace_and_says_how_long_it_took(link: LinkClient) -> None:
    told: list[tuple[str, int, int, str | None]] = []
    with handing_on(CONTEXT, lambda *what: told.append(what)):
        assert await ask(link) == 1
        assert [item async for item in link.stream("any", timeout=5)] == [1]
        with pytest.raises(InvalidRequest):
            await ask(link, "refuse")
    assert await ask(link) is None
    assert [(name, error) for name, _, _, error in told] == [("far", None), ("far", None), ("far", "InvalidRequest")]
    assert all(0 < start <= end for _, start, end, _ in told)


async def test_a_server_of_an_earlier_release_is_called_as_ever(
    link: LinkClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_server, "TRACES", "something else")
    server = LinkServer(lambda channel: Connection(channel, call, stream))
    endpoint = await server.start("127.0.0.1")

    async def find() -> Endpoint:
        return endpoint

    old = LinkClient("old", find)
    await old.connect()
    with handing_on(CONTEXT):
        assert await ask(old) is None
        assert await ask(link) == 1
    await old.close()
    await server.stop()
