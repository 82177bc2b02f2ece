"""A link notices peers that are silent, stuck or about to go, and its buffers stay bounded (law 9)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest

from actors import heartbeat, message_stream
from actors.heartbeat import watch_pulse
from actors.link_client import LinkClient, LinkDown, LinkLost
from actors.link_server import Connection, Endpoint, LinkServer, no_calls
from actors.message_stream import MessageStream
from actors.replies import Reply


class Pulse:
    """A stream whose peer speaks at some beats only."""

    def __init__(self, speaks: str) -> None:
        self._speaks = iter(speaks)
        self.received = 0
        self.sent: list[Any] = []
        self.closed = False
        self.aborted = False

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def abort(self) -> None:
        self.closed = self.aborted = True

    async def beat(self, seconds: float) -> None:
        assert seconds == heartbeat.BEAT_SECONDS
        heard = next(self._speaks, None)
        self.received += heard == "x"
        self.closed = self.closed or heard is None


@pytest.mark.parametrize(("speaks", "cut"), [("xxxx", False), ("..x..x..x", False), ("x...x", True), ("...", True)])
async def test_only_silence_without_a_break_ends_a_link(speaks: str, cut: bool) -> None:
    pulse = Pulse(speaks)
    await watch_pulse(pulse, beats=3, pings=True, sleep=pulse.beat)  # type: ignore[arg-type]
    assert pulse.aborted is cut
    assert set(pulse.sent) == {("ping", 0)}


async def test_a_serving_end_listens_and_does_not_ping() -> None:
    pulse = Pulse("xx")
    await watch_pulse(pulse, beats=3, pings=False, sleep=pulse.beat)  # type: ignore[arg-type]
    assert pulse.sent == []


class Peer:
    """A server that streams numbers, each after its gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.server = LinkServer(lambda stream: Connection(stream, no_calls, self.count))
        self.endpoint: Endpoint | None = None

    async def count(self, method: str, args: Sequence[Any]) -> AsyncGenerator[int, None]:
        for number in range(args[0]):
            self.begun.set()
            await self.gate.wait()
            yield number


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    made.endpoint = await made.server.start("127.0.0.1")
    yield made
    await made.server.stop()


def link_to(endpoint: Endpoint | None, **options: Any) -> LinkClient:
    async def find() -> Endpoint:
        assert endpoint is not None
        return endpoint

    return LinkClient("peer", find, reopen=False, **options)


async def collect(link: LinkClient, count: int) -> list[int]:
    return [number async for number in link.stream("count", count, timeout=5)]


async def test_a_server_that_drains_ends_what_is_under_way_and_is_asked_for_nothing_new(peer: Peer) -> None:
    told = asyncio.Event()
    link = link_to(peer.endpoint, on_message=lambda message: told.set() if message[0] == "draining" else None)
    async with asyncio.timeout(5):
        counting = asyncio.create_task(collect(link, 3))
        await peer.begun.wait()
        draining = asyncio.create_task(peer.server.drain(5))
        await told.wait()
        assert link.draining and not draining.done()
        late = link_to(peer.endpoint)
        await late.connect()
        peer.gate.set()
        assert await counting == [0, 1, 2]
        await draining
        assert late.draining, "who comes later is told at once"
        await link.close()
        await late.close()


async def test_draining_has_an_end(peer: Peer) -> None:
    link = link_to(peer.endpoint)
    counting = asyncio.create_task(collect(link, 1))
    await peer.begun.wait()
    await peer.server.drain(0.01)
    await peer.server.stop()
    async with asyncio.timeout(5):
        with pytest.raises(LinkLost):
            await counting
    await link.close()


async def test_what_was_said_last_still_arrives(peer: Peer) -> None:
    link = link_to(peer.endpoint)
    await link.connect()
    [stream] = peer.server._connections
    seen: list[Any] = []
    link._on_message = seen.append
    stream.send(("news", 1))
    stream.close()
    async with asyncio.timeout(5):
        while not link.ended:
            await asyncio.sleep(0.001)
    assert seen == [("news", 1)]


async def test_a_process_that_accepts_and_says_nothing_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.link_client._GREETING_SECONDS", 0.05)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    link = link_to(("127.0.0.1", server.sockets[0].getsockname()[1], b"t" * 32))
    async with asyncio.timeout(5):
        with pytest.raises(LinkDown):
            await link.connect()
    assert link.ended
    await link.close()
    server.close()


async def test_a_server_that_falls_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)

    async def greet_and_freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        MessageStream(reader, writer).send(("hello", 0))
        await asyncio.Event().wait()

    server = await asyncio.start_server(greet_and_freeze, "127.0.0.1", 0)
    link = link_to(("127.0.0.1", server.sockets[0].getsockname()[1], b"t" * 32), beats=2)
    async with asyncio.timeout(5):
        with pytest.raises(LinkLost):
            await collect(link, 1)
    await link.close()
    server.close()


async def test_a_caller_that_falls_silent_is_hung_up_on(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.001)
    assert peer.endpoint is not None
    host, port, token = peer.endpoint
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(token)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        while peer.server.open_links:
            await asyncio.sleep(0.001)
    writer.close()


async def unread(monkeypatch: pytest.MonkeyPatch, **bounds: float) -> tuple[MessageStream, asyncio.Server]:
    """A stream to a peer that reads nothing, with small bounds."""
    for name, value in bounds.items():
        monkeypatch.setattr(message_stream, name, value)
    server = await asyncio.start_server(lambda reader, writer: reader._transport.pause_reading(), "127.0.0.1", 0)  # type: ignore[attr-defined]
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    return MessageStream(reader, writer), server


async def test_a_peer_that_does_not_read_is_cut_off_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, server = await unread(monkeypatch, _MAX_UNSENT_BYTES=1 << 20)
    piece = b"x" * (1 << 20)
    for _ in range(64):
        if stream.closed:
            break
        stream.send(("piece", piece))
        await asyncio.sleep(0)
    assert stream.closed
    assert stream._writer.transport.get_write_buffer_size() == 0, "nothing is kept for it"
    server.close()


async def test_a_peer_that_leaves_much_unread_for_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, server = await unread(monkeypatch, _MUCH_UNSENT_BYTES=1 << 20, _READ_SECONDS=0.01)
    stream.send(("piece", b"x" * (64 << 20)))
    async with asyncio.timeout(5):
        while not stream.closed:
            await asyncio.sleep(0.001)
    server.close()


async def test_a_burst_larger_than_a_batch_is_split(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_stream, "_MAX_BATCH_BYTES", 4096)
    seen: list[Any] = []
    done = asyncio.Event()

    def take(message: Any) -> None:
        seen.append(message[1])
        if len(seen) == 20:
            done.set()

    link = link_to(peer.endpoint, on_message=take)
    await link.connect()
    [stream] = peer.server._connections
    for number in range(20):
        stream.send(("piece", number, b"x" * 1000))
    async with asyncio.timeout(5):
        await done.wait()
    assert seen == list(range(20))
    stream.send(("piece", 20, b"x" * 5000))
    async with asyncio.timeout(5):
        while not stream.closed:
            await asyncio.sleep(0.001)
    await link.close()


async def test_a_reply_unread_by_nobody_does_not_matter(peer: Peer) -> None:
    link = link_to(peer.endpoint)
    await link.connect()
    [stream] = peer.server._connections
    stream.send(("reply", 99, Reply(True)))
    peer.gate.set()
    assert await collect(link, 2) == [0, 1]
    await link.close()
