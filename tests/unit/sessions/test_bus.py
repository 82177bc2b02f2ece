"""A subscription's queue is bounded, and only a reader that lags is cut off (law 9; ours)."""

from __future__ import annotations

from agents.sessions.bus import Bus, Subscription
from agents.sessions.host import Frame


def frame(number: int, size: int = 1) -> Frame:
    return Frame("agent.message", b"x" * size, seq=number, event_id=f"sevt_{number}")


async def drain(subscription: Subscription) -> list[int | None]:
    """Everything that a cut-off reader still gets."""
    return [frame.seq async for batch in subscription for frame in batch]


async def test_a_reader_that_lags_behind_the_bound_is_cut_off_after_what_is_queued() -> None:
    bus, slow = Bus(), Subscription(frozenset(), max_frames=3)
    bus.attach("s", slow)
    bus.publish("s", [frame(number) for number in range(5)])
    bus.publish("s", [frame(9)])
    assert await drain(slow) == [0, 1, 2]


async def test_a_few_large_frames_count_as_much_as_many_small_ones() -> None:
    slow = Subscription(frozenset(), max_frames=100, max_bytes=1000)
    slow.deliver("s", [frame(1, 600), frame(2, 400), frame(3, 1)])
    assert await drain(slow) == [1, 2]


async def test_a_reader_that_keeps_up_gets_frames_of_any_size() -> None:
    subscription = Subscription(frozenset(), max_frames=1, max_bytes=1000)
    reading = aiter(subscription)
    for number in range(5):
        subscription.deliver("s", [frame(number, 5000)])
        assert [each.seq for each in await anext(reading)] == [number]


async def test_what_was_read_makes_room_again() -> None:
    subscription = Subscription(frozenset(), max_frames=100, max_bytes=1000)
    reading = aiter(subscription)
    for number in range(10):
        subscription.deliver("s", [frame(2 * number, 500), frame(2 * number + 1, 500)])
        assert [each.seq for each in await anext(reading)] == [2 * number, 2 * number + 1]
