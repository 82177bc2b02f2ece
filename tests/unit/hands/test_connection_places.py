"""Requests on one connection: so many at once, so many that wait, and an end to what nobody uses."""

from __future__ import annotations

import asyncio

import pytest

from agents.errors import Overloaded
from agents.hands.servers import places
from agents.hands.servers.places import Places


async def test_more_than_there_are_places_wait_and_more_than_may_wait_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "_MOST_WAITING", 1)
    room = Places(1, idle_seconds=60, on_idle=lambda: None)
    order: list[str] = []

    async def wait() -> None:
        async with room.place():
            order.append("second")

    async with room.place():
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert room.users == 2
        with pytest.raises(Overloaded):
            async with room.place():
                pass
        order.append("first")
    await waiting
    assert order == ["first", "second"] and room.users == 0
    room.stop_clock()


async def test_who_gives_up_waiting_leaves_no_trace() -> None:
    room = Places(1, idle_seconds=60, on_idle=lambda: None)

    async def wait() -> None:
        async with room.place():
            raise AssertionError("there was no place")

    async with room.place():
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert room.users == 1
    room.stop_clock()


async def test_the_clock_runs_only_while_nobody_is_there() -> None:
    idle = asyncio.Event()
    room = Places(2, idle_seconds=0, on_idle=idle.set)
    async with room.place():
        async with room.place():
            pass
        await asyncio.sleep(0.001)
        assert not idle.is_set()
    async with asyncio.timeout(5):
        await idle.wait()
