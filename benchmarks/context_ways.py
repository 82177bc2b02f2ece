"""Three ways for a conversation to get to a brain replica in another process: whole, as chunks over the same link, and
as Ray object refs.

Each way sends one request and has it answered at once, by a replica that has then the messages before it. What an
engine makes of them is not counted: it is the same each time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import socket
import struct
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Protocol

import ray
import uvloop

from actors.brain_context import SEND_ALL, BrainReplica, ContextFigures, RequestReader
from actors.link_client import LinkClient
from actors.link_server import Connection, Endpoint, LinkServer, no_calls
from agents.brains.chunks import ChunkChain
from agents.brains.port import BrainRequest

SECONDS = 60.0
REST = 0.01
"""Seconds after an answer in which the replica finishes what it still has to do for it."""
CACHE_BYTES = 128 * 1024**2
_BYTES_ACKED = struct.Struct("=120xQ")
"""Where Linux's ``tcp_info`` has the bytes that the peer has acknowledged."""
_POOL = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz      \n", k=4_000_000))

Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request took."""

    bytes: int
    """On the wire; 0 where it cannot be told."""
    cpu: float
    """Seconds of CPU of asker and replica."""
    seconds: float


class Way(Protocol):
    """Sends requests of one conversation after the other."""

    async def send(self, request: BrainRequest) -> Cost: ...


def turns(seed: int, count: int, size: int) -> list[Messages]:
    """What a conversation adds with each of *count* turns, *size* bytes in all: a question, three tools, an answer."""
    dice = random.Random(seed)
    each = size // count

    def text(share: float) -> str:
        length = int(each * share)
        start = dice.randrange(len(_POOL) - length)
        return _POOL[start : start + length]

    def block(share: float) -> dict[str, Any]:
        return {"type": "text", "text": text(share)}

    def turn(number: int) -> Messages:
        ids = [f"sevt_{seed}_{number}_{call}" for call in range(3)]
        calls = [{"type": "tool_use", "id": one, "name": "bash", "input": {"command": text(0.01)}} for one in ids]
        results = [{"type": "tool_result", "tool_use_id": one, "content": [block(0.26)]} for one in ids]
        return [
            {"role": "user", "content": [block(0.1)]},
            {"role": "assistant", "content": [block(0.02), *calls]},
            {"role": "user", "content": results},
            {"role": "assistant", "content": [block(0.05)]},
        ]

    return [turn(number) for number in range(count)]


class Meter:
    """CPU of this process and of the replica's, all threads, from its making on."""

    def __init__(self, replica: int) -> None:
        self._replica = replica
        self._theirs = self._of_replica()
        self._began = time.perf_counter()
        self._own = time.process_time()

    def _of_replica(self) -> int:
        threads = Path(f"/proc/{self._replica}/task").glob("*/schedstat")
        return sum(int(each.read_text().split()[0]) for each in threads)

    async def end(self) -> tuple[float, float]:
        """Return the seconds of CPU, and those that passed; what the replica does for a moment more counts too."""
        own, seconds = time.process_time() - self._own, time.perf_counter() - self._began
        await asyncio.sleep(REST)
        return own + (self._of_replica() - self._theirs) / 1e9, seconds


# -- over a link -------------------------------------------------------------------------------------


async def _serve(pipe: Pipe) -> None:
    reader = RequestReader(CACHE_BYTES)

    async def think(method: str, args: Sequence[Any]) -> AsyncGenerator[Any, None]:
        request = reader.read(method, args)
        yield SEND_ALL if request is None else [{"type": "message_start", "message": {}, "read": len(request.messages)}]

    server = LinkServer(lambda stream: Connection(stream, no_calls, think))
    pipe.send(await server.start("127.0.0.1"))
    await asyncio.to_thread(pipe.recv)
    await server.stop()


def _replica(pipe: Pipe) -> None:
    uvloop.run(_serve(pipe))


class LinkWay:
    """Over the platform's own link, as chunks or whole."""

    def __init__(self, replica: BrainReplica, pid: int, *, chunks: bool) -> None:
        self._replica = replica
        self._pid = pid
        self._chunks = chunks
        self._chain = ChunkChain()

    async def send(self, request: BrainRequest) -> Cost:
        sent, meter = self._sent(), Meter(self._pid)
        context = self._chain.follow(request.system, request.tools, request.messages) if self._chunks else None
        [batch] = [batch async for batch in self._replica.think(request, context, timeout=SECONDS)]
        cpu, seconds = await meter.end()
        assert batch[0]["read"] == len(request.messages)
        return Cost(self._sent() - sent, cpu, seconds)

    def _sent(self) -> int:
        stream = self._replica.link._stream
        assert stream is not None
        plug: socket.socket = stream._writer.get_extra_info("socket")
        return _BYTES_ACKED.unpack_from(plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256))[0]


@asynccontextmanager
async def over_link(*, chunks: bool) -> AsyncIterator[LinkWay]:
    """A replica in a process of its own, and a link to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_replica, args=(there,), daemon=True)
    process.start()
    endpoint: Endpoint = await asyncio.to_thread(here.recv)

    async def find() -> Endpoint:
        return endpoint

    link = LinkClient("replica", find, reopen=False)
    await link.connect()
    try:
        assert process.pid is not None
        yield LinkWay(BrainReplica(link, ContextFigures()), process.pid, chunks=chunks)
    finally:
        await link.close()
        here.send(None)
        await asyncio.to_thread(process.join, SECONDS)


# -- as object refs ----------------------------------------------------------------------------------


class RefReplica:
    """A replica that is given refs, and keeps what it has got by them."""

    def __init__(self) -> None:
        self._read: dict[ray.ObjectRef[Any], Any] = {}

    async def think(self, refs: list[ray.ObjectRef[Any]]) -> int:
        new = [ref for ref in refs if ref not in self._read]
        self._read.update(zip(new, await asyncio.gather(*new), strict=True))
        return sum(len(self._read[ref]) for ref in refs)

    async def pid(self) -> int:
        return os.getpid()


class RefWay:
    """Each turn puts its new messages; a call carries the refs of all. Raylet and object store are not counted."""

    def __init__(self, replica: Any, pid: int) -> None:
        self._replica = replica
        self._pid = pid
        self._refs: list[ray.ObjectRef[Any]] = []
        self._put = 0

    async def send(self, request: BrainRequest) -> Cost:
        if len(request.messages) < self._put:
            self._refs, self._put = [], 0
        meter = Meter(self._pid)
        self._refs.append(ray.put(request.messages[self._put :]))
        self._put = len(request.messages)
        read = await self._replica.think.remote(self._refs)
        cpu, seconds = await meter.end()
        assert read == len(request.messages)
        return Cost(0, cpu, seconds)


@asynccontextmanager
async def by_refs() -> AsyncIterator[RefWay]:
    """A Ray of one's own, and an actor on it."""
    ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=400_000_000, log_to_driver=False)
    try:
        replica = ray.remote(RefReplica).options(num_cpus=0).remote()
        yield RefWay(replica, await replica.pid.remote())
    finally:
        ray.shutdown()


WAYS: dict[str, Any] = {
    "whole": lambda: over_link(chunks=False),
    "chunks": lambda: over_link(chunks=True),
    "refs": by_refs,
}


def way(name: str) -> AbstractAsyncContextManager[Way]:
    return WAYS[name]()
