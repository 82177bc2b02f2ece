"""A gateway's link to a harness, without Ray between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from actors.gateway_connection import GatewayConnection
from actors.harness_link import HarnessLink
from actors.link_client import LinkClient
from actors.link_server import Endpoint, LinkServer
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
        self.server = LinkServer(lambda stream: PeerConnection(stream, self))
        self.endpoint: Endpoint | None = None
        self.cancelled = asyncio.Event()
        self.hanging = asyncio.Event()

    async def dispatch(self, method: str, args: Sequence[Any]) -> Reply:
        if method == "refuse":
            return Reply(error=InvalidRequest("no", error_code="why"))
        if method == "hang":
            self.hanging.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return Reply([method, *args])


class PeerConnection(GatewayConnection):
    """A gateway's connection that also serves streams."""

    def __init__(self, stream: MessageStream, peer: Peer) -> None:
        super().__init__(stream, peer.dispatch, peer.bus, lambda _: None)
        self._peer = peer
        self._items = self.count

    async def count(self, method: str, args: Sequence[Any]) -> AsyncGenerator[int, None]:
        try:
            for number in range(args[0]):
                yield number
            if method == "refuse":
                raise InvalidRequest("no")
            if method == "hang":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._peer.cancelled.set()
            raise


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
    async def find(self: HarnessLink) -> Endpoint:
        assert peer.endpoint is not None
        return peer.endpoint

    monkeypatch.setattr(HarnessLink, "_find", find)
    made = HarnessLink("harness-0", Settings())
    yield made
    await made.close()


async def test_calls_of_one_link_run_side_by_side_and_get_their_own_answers(link: HarnessLink) -> None:
    answers = await asyncio.gather(*(link.call(0, "echo", number) for number in range(200)))
    assert answers == [["echo", number] for number in range(200)]


async def test_a_domain_error_arrives_as_itself(link: HarnessLink) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await link.call(0, "refuse")
    assert caught.value.error_code == "why"


async def test_frames_of_a_watched_session_arrive_in_order_and_others_do_not(peer: Peer, link: HarnessLink) -> None:
    async with link.watch(0, "a", frozenset()) as frames:
        peer.bus.publish("b", [frame(9)])
        peer.bus.publish("a", [frame(1), frame(2)])
        peer.bus.publish("a", [frame(3)])
        async with asyncio.timeout(5):
            seen: list[int | None] = []
            while len(seen) < 3:
                seen += [frame.seq for frame in await anext(frames)]
            assert seen == [1, 2, 3]
    await link.call(0, "echo")
    assert not peer.bus.watched("a")


async def test_frames_arrive_with_their_threads(peer: Peer, link: HarnessLink) -> None:
    sent = [frame(1), replace(frame(2), thread="sthr_1"), replace(frame(3), thread="sthr_1", crossposted=True)]
    async with link.watch(0, "a", frozenset()) as frames:
        peer.bus.publish("a", sent)
        async with asyncio.timeout(5):
            assert await anext(frames) == sent


async def test_two_watchers_of_one_session_share_what_the_harness_sends(peer: Peer, link: HarnessLink) -> None:
    async with link.watch(0, "a", frozenset()) as one:
        async with link.watch(0, "a", frozenset({"agent.message"})) as two:
            assert peer.bus.wants("a", "agent.message")
            peer.bus.publish("a", [frame(1)])
            assert (await anext(one))[0].seq == (await anext(two))[0].seq == 1
        peer.bus.publish("a", [frame(2)])
        assert (await anext(one))[0].seq == 2


async def test_a_broken_link_fails_its_calls_severs_its_streams_and_is_opened_again(
    peer: Peer, link: HarnessLink
) -> None:
    async with link.watch(0, "a", frozenset()) as frames:
        hanging = asyncio.create_task(link.call(0, "hang"))
        await peer.hanging.wait()
        peer.server.hang_up()
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await hanging
            with pytest.raises(Unavailable):
                await anext(frames)
            assert await link.call(0, "echo") == ["echo"]


async def test_a_message_that_cannot_be_taken_breaks_the_link_like_any_other_failure(
    peer: Peer, link: HarnessLink
) -> None:
    """Else the link would look open, and its streams stand still for ever."""
    async with link.watch(0, "a", frozenset()) as frames:
        peer.server.tell("frames", "a", ["of another kind"])
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await anext(frames)
            assert await link.call(0, "echo") == ["echo"]


async def test_a_stranger_without_the_token_gets_nothing(peer: Peer) -> None:
    assert peer.endpoint is not None
    host, port, _ = peer.endpoint
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"x" * 32)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    assert peer.server.open_links == 0


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[LinkClient]:
    async def find() -> Endpoint:
        assert peer.endpoint is not None
        return peer.endpoint

    made = LinkClient("peer", find, reopen=False)
    yield made
    await made.close()


async def test_a_stream_yields_its_items_in_order_and_ends(client: LinkClient) -> None:
    assert [item async for item in client.stream("count", 5, timeout=5)] == [0, 1, 2, 3, 4]
    assert client.under_way == 0


async def test_a_failing_stream_raises_after_its_items(client: LinkClient) -> None:
    seen: list[int] = []
    with pytest.raises(InvalidRequest):
        async for item in client.stream("refuse", 2, timeout=5):
            seen.append(item)
    assert seen == [0, 1]


async def test_closing_a_stream_early_cancels_the_work(peer: Peer, client: LinkClient) -> None:
    items = client.stream("hang", 1, timeout=5)
    assert await anext(items) == 0
    await items.aclose()
    async with asyncio.timeout(5):
        await peer.cancelled.wait()


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_call_that_is_given_up_ends_its_work_only_when_it_says_so(
    peer: Peer, client: LinkClient, cancels: bool
) -> None:
    calling = asyncio.create_task(client.call("call", "hang", (), timeout=5, cancels=cancels))
    await peer.hanging.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    # A later call on the same link is served after the cancellation, if there was one.
    assert await client.call("call", "echo", (), timeout=5) == ["echo"]
    assert peer.cancelled.is_set() is cancels


async def test_a_stream_has_a_deadline(client: LinkClient) -> None:
    with pytest.raises(Unavailable):
        async for _ in client.stream("hang", 1, timeout=0.05):
            pass


async def test_a_link_that_is_not_reopened_is_gone_for_good(peer: Peer, client: LinkClient) -> None:
    hanging = asyncio.create_task(client.call("call", "hang", (), timeout=5))
    await peer.hanging.wait()
    peer.server.hang_up()
    with pytest.raises(Unavailable):
        await hanging
    with pytest.raises(Unavailable):
        await client.call("call", "echo", (), timeout=5)
    assert client.ended
