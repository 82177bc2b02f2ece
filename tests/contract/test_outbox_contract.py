"""What every outbox of webhooks promises (port: agents.webhooks.outbox.Outbox).

Bug class this catches: a message that a restart loses, that two processes have at a time, or that is tried for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from store_records import T0, AnyStore, Reopen

from agents.governance.audit.entries import SYSTEM, AuditEntry, EntryQuery
from agents.webhooks.outbox import Delivery, Outbox

LEASE = timedelta(seconds=60)
ROOM = {"pager": 8, "chat": 8}
WEEK = timedelta(days=7)


def delivery(message: str, endpoint: str = "pager", attempts: int = 1) -> Delivery:
    return Delivery(endpoint, message, f"{{{message}}}", attempts)


async def add(outbox: Outbox, *messages: str, late: timedelta = timedelta(), most: int = 10) -> list[list[str]]:
    """Add messages for both endpoints; returns which refused each."""
    now = T0 + late
    return [
        list(await outbox.add(message, f"{{{message}}}", ROOM, now=now, most=most, expired=now - WEEK))
        for message in messages
    ]


async def take(outbox: Outbox, late: timedelta = timedelta(), room: int = 8) -> Sequence[Delivery]:
    """Take what the pager is to get."""
    return await outbox.take({"pager": room}, now=T0 + late, until=T0 + late + LEASE)


async def give_up(outbox: Outbox, each: Delivery, *, patience: int = 2) -> bool:
    entry = AuditEntry(T0, SYSTEM, "disableWebhook", each.endpoint)
    return await outbox.give_up(each, patience=patience, until=T0 + WEEK, entry=entry)


async def test_each_endpoint_gets_each_message_and_nobody_has_it_twice_at_a_time(store: AnyStore) -> None:
    outbox = store.webhooks
    assert await add(outbox, "wevt_1", "wevt_2") == [[], []]
    assert await take(outbox, room=0) == []
    taken = await outbox.take({"pager": 1, "chat": 8}, now=T0, until=T0 + LEASE)
    assert sorted(taken, key=lambda each: (each.endpoint, each.message_id)) == [
        delivery("wevt_1", "chat"),
        delivery("wevt_2", "chat"),
        delivery("wevt_1"),
    ]
    assert await take(outbox) == [delivery("wevt_2")]
    assert await take(outbox) == []


async def test_what_is_added_again_waits_once(store: AnyStore) -> None:
    outbox = store.webhooks
    await add(outbox, "wevt_1", "wevt_1")
    [first] = await take(outbox)
    await outbox.delivered(first)
    assert await take(outbox, WEEK) == []


async def test_what_nobody_settled_is_due_again_and_who_is_late_changes_nothing(store: AnyStore) -> None:
    outbox = store.webhooks
    await add(outbox, "wevt_1")
    [slow] = await take(outbox)
    assert await take(outbox, LEASE - timedelta(microseconds=1)) == []
    assert await take(outbox, LEASE) == [delivery("wevt_1", attempts=2)]
    await outbox.postpone(slow, T0)
    assert not await give_up(outbox, slow, patience=1)
    assert await take(outbox, LEASE) == []
    assert await take(outbox, 2 * LEASE) == [delivery("wevt_1", attempts=3)]


async def test_a_message_waits_for_its_next_attempt_and_holds_up_none(store: AnyStore) -> None:
    outbox = store.webhooks
    await add(outbox, "wevt_1")
    [first] = await take(outbox)
    await outbox.postpone(first, T0 + 3 * LEASE)
    await add(outbox, "wevt_2", late=LEASE)
    assert await take(outbox, 2 * LEASE) == [delivery("wevt_2")]
    assert delivery("wevt_1", attempts=2) in await take(outbox, 3 * LEASE)


async def test_an_endpoint_that_fails_in_a_row_is_disabled_and_the_trail_says_so(store: AnyStore) -> None:
    outbox = store.webhooks
    await add(outbox, "wevt_1", "wevt_2", "wevt_3", "wevt_4", "wevt_5")
    one, two, three, four = await take(outbox, room=4)
    assert not await give_up(outbox, one)
    await outbox.delivered(two)
    assert not await give_up(outbox, three), "what it took in between begins the count anew"
    assert await store.audit.entries(EntryQuery()) == []
    assert await give_up(outbox, four)
    [entry] = await store.audit.entries(EntryQuery())
    assert (entry.action, entry.object) == ("disableWebhook", "pager")
    assert await take(outbox, WEEK) == [], "what waits for it is gone"
    assert len(await outbox.take({"chat": 8}, now=T0, until=T0 + LEASE)) == 5
    assert await add(outbox, "wevt_6", late=WEEK - LEASE) == [["pager"]]


async def test_a_disabled_endpoint_gets_another_chance_and_is_disabled_again_at_once(store: AnyStore) -> None:
    outbox = store.webhooks
    await add(outbox, "wevt_1")
    assert await give_up(outbox, *await take(outbox), patience=1)
    assert await add(outbox, "wevt_2", late=WEEK) == [[]]
    assert await give_up(outbox, *await take(outbox, WEEK))


async def test_an_endpoint_that_answers_again_has_failed_at_nothing(store: AnyStore) -> None:
    outbox = store.webhooks
    await add(outbox, "wevt_1", "wevt_2")
    one, two = await take(outbox)
    assert not await give_up(outbox, one)
    await outbox.delivered(two)
    await add(outbox, "wevt_3", late=LEASE)
    assert not await give_up(outbox, *await take(outbox, LEASE))


async def test_what_waits_is_bounded_and_what_is_old_goes(store: AnyStore) -> None:
    outbox = store.webhooks
    assert await add(outbox, "wevt_1", "wevt_2", "wevt_3", most=2) == [[], [], ["chat", "pager"]]
    assert await add(outbox, "wevt_4", late=WEEK + LEASE, most=2) == [[]]
    assert await take(outbox, WEEK + LEASE) == [delivery("wevt_4")]


async def test_another_process_delivers_what_the_one_that_added_it_does_not(reopen: Reopen) -> None:
    one, other = await reopen(), await reopen()
    await add(one.webhooks, "wevt_1")
    assert await take(other.webhooks) == [delivery("wevt_1")]
    assert await take(one.webhooks) == []
