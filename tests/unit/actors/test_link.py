"""A gateway's link to a harness, without Ray between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from actors import harness_link
from actors.harness_link import HarnessLink
from actors.link_server import LinkServer
from actors.message_stream import MessageStream
from actors.replies import Reply
from agents.config import Settings
from agents.errors import InvalidRequest, Unavailable
from agents.sessions.bus import Bus
from agents.sessions.host import Frame


class Peer:
    """The harness's side: echoes calls, refuses, or hangs."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.server = LinkServer(self.dispatch, self.bus)
        self.endpoint: tuple[str, int, bytes] | None = None
        self.hanging = asyncio.Event()

    async def dispatch(self, method: str, args: Sequence[Any]) -> Reply:
        if method == "refuse":
            return Reply(error=InvalidRequest("no", error_code="why"))
        if method == "hang":
            self.hanging.set()
            await asyncio.Event().wait()
        return Reply([method, *args])


def frame(number: int) -> Frame:
    return Frame("t", str(number).encode(), seq=number, event_id=f"sevt_{number}")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    made.endpoint = await made.server.start("127.0.0.1")
    yield made
    await made.server.stop()


@pytest.fixture
async def link(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HarnessLink]:
    async def open_directly(self: HarnessLink) -> MessageStream:
        assert peer.endpoint is not None
        host, port, token = peer.endpoint
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(token)
        return MessageStream(reader, writer)

    monkeypatch.setattr(harness_link.HarnessLink, "_open", open_directly)
    made = HarnessLink(0, Settings())
    yield made
    await made.close()


async def test_calls_of_one_link_run_side_by_side_and_get_their_own_answers(link: HarnessLink) -> None:
    answers = await asyncio.gather(*(link.call("echo", number) for number in range(200)))
    assert answers == [["echo", number] for number in range(200)]


async def test_a_domain_error_arrives_as_itself(link: HarnessLink) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await link.call("refuse")
    assert caught.value.error_code == "why"


async def test_frames_of_a_watched_session_arrive_in_order_and_others_do_not(peer: Peer, link: HarnessLink) -> None:
    async with link.watch("a", frozenset()) as frames:
        peer.bus.publish("b", [frame(9)])
        peer.bus.publish("a", [frame(1), frame(2)])
        peer.bus.publish("a", [frame(3)])
        async with asyncio.timeout(5):
            seen: list[int | None] = []
            while len(seen) < 3:
                seen += [frame.seq for frame in await anext(frames)]
            assert seen == [1, 2, 3]
    await link.call("echo")
    assert not peer.bus.watched("a")


async def test_two_watchers_of_one_session_share_what_the_harness_sends(peer: Peer, link: HarnessLink) -> None:
    async with link.watch("a", frozenset()) as one:
        async with link.watch("a", frozenset({"agent.message"})) as two:
            assert peer.bus.wants("a", "agent.message")
            peer.bus.publish("a", [frame(1)])
            assert (await anext(one))[0].seq == (await anext(two))[0].seq == 1
        peer.bus.publish("a", [frame(2)])
        assert (await anext(one))[0].seq == 2


async def test_a_broken_link_fails_its_calls_ends_its_streams_and_is_opened_again(
    peer: Peer, link: HarnessLink
) -> None:
    async with link.watch("a", frozenset()) as frames:
        hanging = asyncio.create_task(link.call("hang"))
        await peer.hanging.wait()
        assert link._stream is not None
        link._stream.close()
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await hanging
            assert [f async for f in frames] == []
            assert await link.call("echo") == ["echo"]


async def test_a_stranger_without_the_token_gets_nothing(peer: Peer) -> None:
    assert peer.endpoint is not None
    host, port, _ = peer.endpoint
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"x" * 32)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    assert peer.server.open_links == 0
