"""Contexts over real links: only what is new travels, and what a replica lacks is never missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from actors import brain_client, replica_lookup
from actors.brain_client import BrainClient
from actors.brain_context import CACHE, SEND_ALL, RequestReader
from actors.brain_load import ReplicaLoad
from actors.link_server import Endpoint, LinkServer, no_calls
from actors.names import DEFAULT_BRAIN
from agents.brains.chunks import ChunkChain
from agents.brains.port import BrainRequest
from agents.config import Settings
from tests.unit.waiting import until

SECONDS = 5
TOOLS = [{"name": "bash", "input_schema": {"type": "object"}}]
USAGE = {"input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 25, "output_tokens": 7}


class Replica:
    """Remembers what it was asked; its answers begin at once, and end when its gate is open."""

    def __init__(self, name: str, cache_bytes: int) -> None:
        self.name = name
        self.reader = RequestReader(cache_bytes)
        self.asked: list[BrainRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        load = ReplicaLoad()
        self.server = LinkServer(lambda stream: load.connect(stream, no_calls, self._think))
        self.endpoint: Endpoint | None = None

    async def _think(self, method: str, args: Sequence[Any]) -> AsyncGenerator[list[dict[str, Any]], None]:
        request = self.reader.read(method, args)
        if request is None:
            yield SEND_ALL
            return
        self.asked.append(request)
        yield [{"type": "message_start", "message": {"usage": USAGE | {"output_tokens": 1}}, "by": self.name}]
        await self.gate.wait()
        yield [{"type": "message_delta", "usage": USAGE}]


class Fleet:
    """Replicas, as the client finds them."""

    def __init__(self) -> None:
        self.replicas: dict[str, Replica] = {}

    async def ask(self, question: str, *_: Any, timeout: float) -> dict[str, dict[str, Endpoint | None]]:
        del question, timeout
        return {DEFAULT_BRAIN: {name: replica.endpoint for name, replica in self.replicas.items()}}

    async def add(self, name: str, cache_bytes: int = 10**6) -> Replica:
        replica = Replica(name, cache_bytes)
        replica.endpoint = await replica.server.start("127.0.0.1")
        self.replicas[name] = replica
        return replica

    async def kill(self, name: str) -> None:
        await self.replicas.pop(name).server.stop()


class Session:
    """One conversation that grows."""

    def __init__(self, client: BrainClient, name: str = "sesn_1") -> None:
        self.client = client
        self.name = name
        self.messages: list[dict[str, Any]] = []
        self._chain = ChunkChain()

    async def turn(self, text: str = "x" * 1000) -> str:
        """Say something; returns who answered."""
        self.messages = [*self.messages, {"role": "user", "content": [{"type": "text", "text": text}]}]
        async with asyncio.timeout(SECONDS):
            opening, _ = [event async for event in self.think()]
        return opening["by"]

    def think(self, **more: Any) -> AsyncIterator[dict[str, Any]]:
        request = BrainRequest(
            self.name, "m", list(self.messages), system="s", tools=TOOLS, chain=self._chain, effort="low", **more
        )
        return self.client.think(DEFAULT_BRAIN, request)


@pytest.fixture
async def fleet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    made = Fleet()
    monkeypatch.setattr(brain_client, "ask_fleet", made.ask)
    monkeypatch.setattr(replica_lookup, "_SEARCH_SECONDS", 0.005)
    monkeypatch.setattr(replica_lookup, "_TABLE_AGE_SECONDS", 0.005)
    yield made
    for name in tuple(made.replicas):
        await made.kill(name)


@pytest.fixture
async def make_client(fleet: Fleet) -> AsyncIterator[Callable[..., BrainClient]]:
    clients: list[BrainClient] = []

    def make(**brain: Any) -> BrainClient:
        clients.append(BrainClient(Settings(brain=brain)))  # type: ignore[arg-type]
        clients[-1].start()
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


def figures(client: BrainClient) -> dict[str, int]:
    return client.figures_by_brain[DEFAULT_BRAIN]


async def replicas_known(client: BrainClient, count: int) -> None:
    await until(lambda: figures(client)["replicas"] == count)


async def test_a_turn_ships_its_new_chunk_and_the_replica_reads_all_of_it(fleet: Fleet, make_client: Any) -> None:
    one, client = await fleet.add("one"), make_client()
    session = Session(client)
    for turn in range(1, 9):
        before = figures(client)["chunk_bytes_sent"]
        await session.turn(f"{turn:04}" * 250)
        shipped = figures(client)["chunk_bytes_sent"] - before
        assert 1000 < shipped < 1200
        asked = one.asked[-1]
        assert (asked.messages, asked.system, asked.tools, asked.effort) == (session.messages, "s", TOOLS, "low")
    assert figures(client) | {
        "contexts_sent": 8,
        "contexts_resent": 0,
        "chunk_misses": 9,
        "chunk_hits": 1 + 2 + 3 + 4 + 5 + 6 + 7 + 7,
    } == figures(client), "the opening and eight messages, each of them once"


async def test_what_an_engine_had_in_its_prompt_cache_is_counted(fleet: Fleet, make_client: Any) -> None:
    await fleet.add("one")
    client = make_client()
    session = Session(client)
    await session.turn()
    await session.turn()
    assert (figures(client)["prompt_tokens"], figures(client)["prompt_tokens_cached"]) == (2 * 125, 2 * 90)


async def test_a_replica_that_dropped_chunks_asks_for_all_and_the_turn_goes_on(fleet: Fleet, make_client: Any) -> None:
    one, client = await fleet.add("one", cache_bytes=0), make_client()
    session = Session(client)
    for _ in range(3):
        await session.turn()
        assert one.asked[-1].messages == session.messages
    assert len(one.asked) == 3
    assert (figures(client)["contexts_sent"], figures(client)["contexts_resent"]) == (5, 2)


async def test_the_next_replica_is_sent_everything(fleet: Fleet, make_client: Any) -> None:
    await fleet.add("one")
    client = make_client()
    session = Session(client)
    await session.turn()
    await session.turn()
    misses = figures(client)["chunk_misses"]
    await fleet.kill("one")
    two = await fleet.add("two")
    assert await session.turn() == "two"
    assert two.asked[-1].messages == session.messages
    assert figures(client)["chunk_misses"] == misses + 4
    assert figures(client)["contexts_resent"] == 0, "a new replica is known to have nothing"


async def test_sessions_and_callers_share_the_chunks_of_a_replica(fleet: Fleet, make_client: Any) -> None:
    one = await fleet.add("one")
    first, second = make_client(), make_client()
    await Session(first).turn("hello")
    kept = one.reader.figures()["chunks_kept"]
    await Session(first, "sesn_2").turn("hello")
    assert figures(first)["chunk_misses"] == 2, "nothing of the second session had to travel"
    await Session(second).turn("hello")
    assert figures(second)["chunk_misses"] == 2
    assert one.reader.figures()["chunks_kept"] == kept == 2


async def test_without_a_cache_requests_travel_whole(fleet: Fleet, make_client: Any) -> None:
    one = await fleet.add("one", cache_bytes=0)
    client = make_client(context_cache_bytes=0)
    session = Session(client)
    await session.turn()
    await session.turn()
    assert one.asked[-1].messages == session.messages
    assert figures(client)["contexts_sent"] == 0


async def test_what_is_no_json_travels_whole(fleet: Fleet, make_client: Any) -> None:
    one, client = await fleet.add("one"), make_client()
    session = Session(client)
    await session.turn("half a pair: \ud800")
    assert one.asked[-1].messages == session.messages


async def test_a_session_stays_with_the_replica_that_has_its_chunks(fleet: Fleet, make_client: Any) -> None:
    client = make_client()
    homes: dict[str, Session] = {}
    for name in ("one", "two", "three"):
        await fleet.add(name)
        await replicas_known(client, len(fleet.replicas))
        if not homes:
            homes["one"] = Session(client)
            await homes["one"].turn()
    for turn in range(6):
        assert await homes["one"].turn() == "one", turn


async def test_a_session_leaves_a_replica_that_has_much_more_to_do(fleet: Fleet, make_client: Any) -> None:
    """Sixteen places: two requests more than the other has are borne, three are not."""
    client = make_client(max_ongoing_requests=16)
    one = await fleet.add("one")
    session = Session(client)
    await session.turn()
    one.gate.clear()
    busy = [asyncio.create_task(_whole(client)) for _ in range(2)]
    await until(lambda: len(one.asked) == 3)
    await fleet.add("two")
    await replicas_known(client, 2)
    asked = asyncio.create_task(session.turn())
    await until(lambda: len(one.asked) == 4)
    other = Session(client, "sesn_2")
    other.messages, other._chain = list(session.messages[:1]), session._chain
    assert await other.turn("more") == "two"
    one.gate.set()
    assert await asked == "one"
    await asyncio.gather(*busy)


async def _whole(client: BrainClient) -> None:
    request = BrainRequest("", "m", [])
    async for _ in client.think(DEFAULT_BRAIN, request):
        pass


async def test_replicas_tell_what_they_keep(fleet: Fleet, make_client: Any) -> None:
    client = make_client()
    for name in ("one", "two"):
        await fleet.add(name)
    await replicas_known(client, 2)
    await Session(client).turn()
    for replica in fleet.replicas.values():
        replica.server.tell(CACHE, replica.reader.figures())
    await until(lambda: figures(client).get("chunks_kept") == 2)
    assert figures(client)["chunk_bytes_kept"] > 1000
