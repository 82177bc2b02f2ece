"""Keeping a lease over whatever becomes of a heartbeat, and knowing when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.workers import rules
from agents.workers.credentials import digest_of
from agents.workers.held_lease import HeldLease, LeaseEnd
from agents.workers.worker import token_of
from tests.unit.waiting import until
from tests.unit.workers.fake_server import ENV, FakeServer


class Keeping:
    """A lease that is being kept, on the server's clock."""

    def __init__(self, server: FakeServer, lease: HeldLease) -> None:
        self._server = server
        self._task = asyncio.create_task(lease.keep())

    async def asked(self, times: int) -> None:
        """Let time pass, a second at a time, until so many heartbeats have come."""
        while self._server.asked_for("heartbeat") < times:
            await self.pass_second()

    async def pass_second(self) -> None:
        await until(lambda: self._server.clock.sleeping or self._task.done())
        assert not self._task.done(), self._task.result()
        self._server.clock.advance(1)
        await asyncio.sleep(0)

    async def end(self) -> LeaseEnd:
        async with asyncio.timeout(5):
            while not self._task.done():
                self._server.clock.advance(1)
                await asyncio.sleep(0.001)
        return self._task.result()

    def close(self) -> None:
        self._task.cancel()


@pytest.fixture
async def keeping(server: FakeServer) -> AsyncIterator[Keeping]:
    server.queue()
    async with server.client() as client:
        item = await client.beta.environments.work.poll(ENV)
        assert item is not None
        holder = client.with_options(api_key=token_of(item.secret))
        await holder.beta.environments.work.ack(item.id, environment_id=ENV)
        made = Keeping(server, HeldLease(holder.beta.environments.work, item, server.clock))
        yield made
        made.close()


@pytest.mark.parametrize("fault", [503, "reset", 429])
@pytest.mark.parametrize("after", [False, True], ids=["request-lost", "answer-lost"])
@pytest.mark.parametrize("beats", [0, 1], ids=["first", "later"])
async def test_a_heartbeat_that_is_lost_on_its_way_or_back_is_sent_again_and_the_lease_goes_on(
    keeping: Keeping, server: FakeServer, fault: int | str, after: bool, beats: int
) -> None:
    if beats:
        await keeping.asked(beats)
    server.fail("heartbeat", fault, fault, after=after)
    await keeping.asked(beats + 5)
    (item,) = server.items
    assert rules.as_of(item, server.clock.now()).state.value == "active" and len(item.tokens) == 1


async def test_a_lease_that_nobody_answers_for_is_over_when_its_time_is(keeping: Keeping, server: FakeServer) -> None:
    await keeping.asked(1)
    began = server.clock.monotonic()
    server.fail("heartbeat", *[503] * 200)
    assert await keeping.end() is LeaseEnd.LOST
    assert 60 <= server.clock.monotonic() - began <= 95


async def test_a_lease_that_another_worker_has_is_lost_at_once(keeping: Keeping, server: FakeServer) -> None:
    await keeping.asked(1)
    now = server.clock.now()
    server.items[0] = rules.claimed(server.items[0], now, digest_of("another"))
    assert await keeping.end() is LeaseEnd.LOST


async def test_a_stop_is_heard(keeping: Keeping, server: FakeServer) -> None:
    await keeping.asked(1)
    server.items[0], _ = rules.stopped(server.items[0], server.clock.now(), None, force=False, by_worker=False)
    assert await keeping.end() is LeaseEnd.STOP
