"""What every event log promises (port: agents.sessions.log.EventLog)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from store_records import T0, AnyStore, claimed, claimed_all, full_session, logged, session, step, waiting

from agents.clock import ManualClock
from agents.errors import Fenced, InvalidRequest, LogConflict, NotFound
from agents.ids import SessionId, new_event_id
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus, ThreadRecord, Usage
from agents.sessions.log import Commit, Lease, SessionSnapshot
from agents.store.memory import MemoryStore
from agents.store.ports import ThreadListing


async def created(store: AnyStore, lease: Lease, *events: Event, **changes: object) -> SessionRecord:
    commit = step(lease, session(lease.partition), *events, **changes)
    await store.log.create(commit)
    return commit.record


async def appended(store: AnyStore, commit: Commit) -> SessionRecord:
    await store.log.append(commit)
    return commit.record


async def events_of(store: AnyStore, record: SessionRecord) -> Sequence[Event]:
    return (await store.log.load(SessionId(record.id))).events


def placed(*events: Event, after: int = 0) -> tuple[Event, ...]:
    return tuple(event.at(seq) for seq, event in enumerate(events, after + 1))


async def test_what_is_loaded_is_what_was_created_with_every_field(store: AnyStore) -> None:
    lease = await claimed(store)
    event = Event(
        new_event_id(),
        EventType.AGENT_THINKING,
        {"z": 1, "a": {"y": "\x00\u2028 ☃", "b": [1, 2.5, None, True]}},
        T0,
        hidden={"signature": "s" * 100, "b": 1, "a": 2},
        thread="sthr_child",
        crossposted=True,
    )
    said = replace(waiting(), thread="sthr_child")
    record = replace(full_session(), seq=1, queued=1)
    await store.log.create(Commit(lease, 0, record, (event,), (said,)))

    loaded = await store.log.load(SessionId(record.id))

    assert loaded.record == record
    assert loaded.events == (event.at(1),)
    assert list(loaded.events[0].body) == ["z", "a"]
    assert loaded.events[0].hidden is not None and list(loaded.events[0].hidden) == ["signature", "b", "a"]
    assert loaded.queued == (said,)


async def test_the_rows_of_threads_are_those_of_their_last_commits_and_go_with_the_session(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    primary = ThreadRecord(record.thread_id, record.id, None, {}, T0, T0, epoch=3)
    child = ThreadRecord("sthr_child", record.id, primary.id, {"name": "é"}, T0 + timedelta(seconds=1), T0)
    commit = step(lease, record, logged())
    record = await appended(store, replace(commit, new_threads=(primary, child)))
    child = replace(child, status=SessionStatus.RUNNING, usage=Usage(1, 2), running_since=T0, stop_reason={"type": "x"})
    # The agent is written once: it may be large, and every event of the thread would write it again.
    record = await appended(store, replace(step(lease, record, logged()), threads=(replace(child, agent={}),)))
    session_id = SessionId(record.id)
    assert (await store.log.load(session_id)).threads == (primary, child)
    assert await store.sessions.threads(session_id, ThreadListing(limit=1)) == [primary, child]
    assert await store.sessions.threads(session_id, ThreadListing(after=(T0, primary.id))) == [child]
    assert await store.sessions.threads(session_id, ThreadListing(statuses=("idle",))) == [primary]
    assert await store.sessions.thread(session_id, child.id) == child
    assert await store.sessions.thread(SessionId("sesn_other"), child.id) is None
    await store.log.delete(lease, session_id)
    assert await store.sessions.thread(session_id, child.id) is None


async def test_positions_are_dense_and_in_order_over_commits(store: AnyStore) -> None:
    lease = await claimed(store)
    first, rest = [logged(n=n) for n in range(2)], [logged(n=n) for n in range(2, 7)]
    record = await created(store, lease, *first)
    record = await appended(store, step(lease, record, *rest[:3]))
    record = await appended(store, step(lease, record))
    record = await appended(store, step(lease, record, *rest[3:]))

    assert await events_of(store, record) == placed(*first, *rest)
    assert (await store.sessions.get(SessionId(record.id))).seq == 7


async def test_a_commit_changes_row_and_snapshot_together_with_its_events(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    changed = replace(
        full_session(),
        id=record.id,
        created_at=record.created_at,
        agent={"name": "other"},
        agent_id="agent_2",
        agent_version=9,
        environment={"config": {"type": "cloud", "new": True}},
        environment_id="env_2",
        seq=1,
    )
    await store.log.append(Commit(lease, 0, changed, (logged(),)))

    assert (await store.log.load(SessionId(record.id))).record == changed
    back = replace(changed, agent=record.agent, seq=1, status=SessionStatus.IDLE, archived_at=None)
    await store.log.append(Commit(lease, 1, back))
    assert (await store.log.load(SessionId(record.id))).record == back


async def test_a_commit_of_resources_alone_is_read_back_until_there_are_none(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    for resources in (({"id": "sesrsc_1", "wire": {"type": "file"}},), ({"id": "sesrsc_2", "wire": {}},), ()):
        changed = replace(record, resources=resources)
        await store.log.append(Commit(lease, 0, changed))
        assert (await store.sessions.get(SessionId(record.id))).resources == resources
        assert (await store.log.load(SessionId(record.id))).record == changed


async def test_what_a_caller_does_to_its_dicts_later_does_not_reach_the_log(store: AnyStore) -> None:
    lease = await claimed(store)
    event = logged(text="before")
    record = await created(store, lease, event)
    event.body["text"] = "after"
    (read,) = await events_of(store, record)
    read.body["text"] = "after"

    assert (await events_of(store, record))[0].body == {"text": "before"}


async def test_a_stale_epoch_is_refused_and_writes_nothing(store: AnyStore, clock: ManualClock) -> None:
    old = await claimed(store)
    record = await created(store, old, logged())
    clock.advance(11)
    new = await claimed(store, owner="two")

    with pytest.raises(Fenced):
        await store.log.append(step(old, record, logged(), queue=[waiting()], status=SessionStatus.RUNNING))
    with pytest.raises(Fenced):
        await store.log.create(step(old, session(), logged()))
    with pytest.raises(Fenced):
        await store.log.delete(old, SessionId(record.id))

    loaded = await store.log.load(SessionId(record.id))
    assert (loaded.record, len(loaded.events), loaded.queued) == (record, 1, ())
    await store.log.append(step(new, record, logged()))


async def test_an_owner_that_claims_again_fences_what_it_wrote_with_before(store: AnyStore) -> None:
    old = await claimed(store)
    record = await created(store, old)
    await claimed(store)
    with pytest.raises(Fenced):
        await store.log.append(step(old, record, logged()))


async def test_a_writer_is_fenced_as_soon_as_another_process_joins_under_its_name(store: AnyStore) -> None:
    old = await claimed(store)
    record = await created(store, old)
    await store.leases.join("one", ttl=10)
    with pytest.raises(Fenced):
        await store.log.append(step(old, record, logged()))


async def test_a_lease_that_expired_unclaimed_still_writes(store: AnyStore, clock: ManualClock) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    clock.advance(1000)
    await store.log.append(step(lease, record, logged()))


async def test_a_released_lease_no_longer_writes(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    await store.leases.release("one", 1, [1])
    with pytest.raises(Fenced):
        await store.log.append(step(lease, record, logged()))


async def test_a_lease_of_another_partition_or_owner_does_not_write(store: AnyStore) -> None:
    lease, other = await claimed_all(store, 1, 2)
    record = await created(store, lease)
    for wrong in (other, replace(lease, owner="two"), Lease(77, "one", 1)):
        with pytest.raises(Fenced):
            await store.log.append(step(wrong, record, logged()))


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_a_writer_that_expects_another_position_is_refused(store: AnyStore, expected: int) -> None:
    lease = await claimed(store)
    record = await created(store, lease, logged(), logged())
    with pytest.raises(LogConflict):
        await store.log.append(step(lease, replace(record, seq=expected), logged(), queue=[waiting()]))
    loaded = await store.log.load(SessionId(record.id))
    assert (loaded.record, len(loaded.events), loaded.queued) == (record, 2, ())


async def test_a_session_cannot_be_created_twice(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease, logged())
    with pytest.raises(LogConflict):
        await store.log.create(step(lease, replace(record, seq=0), logged()))
    assert len(await events_of(store, record)) == 1


async def test_an_unknown_session_is_not_found(store: AnyStore) -> None:
    lease = await claimed(store)
    for missing in (SessionId("sesn_missing"), SessionId("\x00"), SessionId("\ud800")):
        with pytest.raises(NotFound):
            await store.log.load(missing)
        assert list(await store.log.read(missing, after=0, limit=10)) == []
    with pytest.raises(NotFound):
        await store.log.append(step(lease, session(), logged()))
    with pytest.raises(NotFound):
        await store.log.delete(lease, SessionId("sesn_missing"))


async def test_queued_events_wait_in_order_of_arrival_and_leave_when_consumed(store: AnyStore) -> None:
    lease = await claimed(store)
    first, second, third, dropped = (waiting(n=n) for n in range(4))
    record = await created(store, lease, queue=[first], queued=1)
    record = await appended(store, step(lease, record, queue=[second, dropped], queued=3))
    record = await appended(store, step(lease, record, queue=[third], queued=4))
    assert (await store.log.load(SessionId(record.id))).queued == (first, second, dropped, third)

    taken = [first.processed(T0), second.processed(T0 + timedelta(microseconds=1))]
    consume = [first.id, second.id, dropped.id]
    record = await appended(store, step(lease, record, *taken, consume=consume, queued=1))

    loaded = await store.log.load(SessionId(record.id))
    assert loaded.queued == (third,)
    assert loaded.events == placed(*taken)
    assert loaded.record.queued == 1


async def test_an_event_can_queue_and_another_be_consumed_in_one_commit(store: AnyStore) -> None:
    lease = await claimed(store)
    first, second = waiting(), waiting()
    record = await created(store, lease, queue=[first])
    record = await appended(store, step(lease, record, first.processed(T0), queue=[second], consume=[first.id]))
    assert (await store.log.load(SessionId(record.id))).queued == (second,)


async def test_an_event_id_is_stored_once_and_the_repetition_writes_nothing(store: AnyStore) -> None:
    lease = await claimed(store)
    event = logged()
    record = await created(store, lease, event)
    other = await created(store, lease)
    with pytest.raises(LogConflict):
        await store.log.append(step(lease, record, logged(), event))
    with pytest.raises(LogConflict):
        await store.log.append(step(lease, other, event))
    assert len(await events_of(store, record)) == 1
    assert await events_of(store, other) == ()


async def test_content_that_no_json_can_hold_is_refused_and_writes_nothing(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    with pytest.raises(InvalidRequest):
        await store.log.append(step(lease, record, logged(), logged(text="\ud800")))
    assert (await store.log.load(SessionId(record.id))).record == record


async def test_concurrent_commits_of_many_sessions_all_land_except_the_bad_one(store: AnyStore) -> None:
    lease = await claimed(store)
    records = [await created(store, lease) for _ in range(40)]
    commits = [step(lease, record, logged(n=1), logged(n=2)) for record in records]
    commits[7] = step(replace(lease, epoch=0), records[7], logged())
    commits[8] = step(lease, replace(records[8], seq=5), logged())
    commits[9] = step(lease, session(), logged())
    repeated = commits[0].events[0]
    commits[10] = step(lease, records[10], repeated)

    outcomes = await asyncio.gather(*(store.log.append(commit) for commit in commits), return_exceptions=True)

    bad = {7: Fenced, 8: LogConflict, 9: NotFound, 10: LogConflict}
    assert {n: type(outcome) for n, outcome in enumerate(outcomes) if outcome is not None} == bad
    for n, record in enumerate(records):
        assert len(await events_of(store, record)) == (0 if n in bad else 2)


async def test_commits_of_one_session_sent_without_waiting_land_in_the_order_sent(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    commits: list[Commit] = []
    for n in range(20):
        commits.append(step(lease, record, logged(n=n)))
        record = commits[-1].record
    await asyncio.gather(*(store.log.append(commit) for commit in commits))
    assert [event.body["n"] for event in await events_of(store, record)] == list(range(20))


async def test_of_two_writers_on_one_position_exactly_one_wins(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    rivals = [step(lease, record, logged(n=n)) for n in range(8)]
    outcomes = await asyncio.gather(*(store.log.append(commit) for commit in rivals), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["LogConflict"] * 7 + ["NoneType"]
    assert len(await events_of(store, record)) == 1


async def test_a_cancelled_appender_is_whole_or_absent_and_tears_nobody_else_down(store: AnyStore) -> None:
    lease = await claimed(store)
    records = [await created(store, lease) for _ in range(12)]
    commits = [step(lease, record, logged(), logged(), queue=[waiting()]) for record in records]
    for yields in range(6):
        tasks = [asyncio.create_task(store.log.append(commit)) for commit in commits]
        for _ in range(yields):
            await asyncio.sleep(0)
        tasks[3].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [n for n, outcome in enumerate(outcomes) if outcome is not None] in ([], [3])
        after: list[SessionRecord] = []
        for n, commit in enumerate(commits):
            # An append behind the cancelled one shows what became of it.
            loaded = await store.log.load(SessionId(commit.record.id))
            whole = loaded.record == commit.record and len(loaded.events) == commit.record.seq
            absent = n == 3 and loaded.record.seq == commit.expected_seq == len(loaded.events)
            assert whole or absent
            after.append(loaded.record)
        commits = [step(lease, record, logged(), logged(), queue=[waiting()]) for record in after]


async def test_reading_on_returns_events_after_a_position_up_to_a_limit(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease, *(logged(n=n) for n in range(1, 8)), queue=[waiting()])
    name = SessionId(record.id)

    async def read(after: int, limit: int) -> list[int | None]:
        return [event.seq for event in await store.log.read(name, after=after, limit=limit)]

    assert await read(0, 3) == [1, 2, 3]
    assert await read(3, 100) == [4, 5, 6, 7]
    assert await read(7, 100) == []
    assert await read(10**30, 100) == []
    assert await read(0, 0) == []


async def test_unfinished_names_what_runs_waits_for_a_retry_or_has_input(store: AnyStore) -> None:
    one, two, three = await claimed_all(store, 1, 2, 3)
    await created(store, one)
    await created(store, one, status=SessionStatus.TERMINATED)
    running = await created(store, one, status=SessionStatus.RUNNING)
    retrying = await created(store, two, status=SessionStatus.RESCHEDULING)
    fed = await created(store, two, queue=[waiting(), waiting()])
    elsewhere = await created(store, three, status=SessionStatus.RUNNING)

    assert await store.log.unfinished([1, 2]) == sorted([running.id, retrying.id, fed.id])
    assert await store.log.unfinished([3]) == [elsewhere.id]
    assert await store.log.unfinished([]) == []


async def test_what_was_changed_lately_is_named_by_partition(store: AnyStore) -> None:
    one, two, three = await claimed_all(store, 1, 2, 3)
    since = datetime(2026, 11, 21, 10, tzinfo=UTC)
    just = await created(store, one, updated_at=since)
    later = await created(store, two, logged(), updated_at=since + timedelta(hours=1))
    await created(store, two, updated_at=since - timedelta(microseconds=1))
    await created(store, three, updated_at=since)

    assert await store.log.changed_since([1, 2], since) == sorted([just.id, later.id])
    assert await store.log.changed_since([], since) == []


async def test_delete_removes_row_events_and_queue_of_that_session_only(store: AnyStore) -> None:
    lease = await claimed(store)
    event = logged()
    gone = await created(store, lease, event, queue=[waiting()])
    kept = await created(store, lease, logged(), queue=[waiting()])

    await store.log.delete(lease, SessionId(gone.id))

    with pytest.raises(NotFound):
        await store.log.load(SessionId(gone.id))
    with pytest.raises(NotFound):
        await store.log.append(step(lease, gone, logged()))
    with pytest.raises(NotFound):
        await store.log.delete(lease, SessionId(gone.id))
    assert await store.log.read(SessionId(gone.id), after=0, limit=10) == []
    assert await store.log.unfinished([1]) == [kept.id]
    assert len(await events_of(store, kept)) == 1
    await store.log.create(step(lease, replace(gone, seq=0), event))
    assert (await store.log.load(SessionId(gone.id))).queued == ()


async def test_a_deleted_session_is_noted_in_the_same_step_until_it_is_forgotten(store: AnyStore) -> None:
    one, two = await claimed_all(store, 1, 2)
    gone, there = await created(store, one, logged()), await created(store, two)
    with pytest.raises(Fenced):
        await store.log.delete(replace(one, epoch=0), SessionId(gone.id))
    assert await store.log.deleted([1, 2]) == []

    for lease, record in ((one, gone), (two, there)):
        await store.log.delete(lease, SessionId(record.id))

    assert await store.log.deleted([1]) == [gone.id]
    assert await store.log.deleted([2, 1]) == sorted([gone.id, there.id])
    assert await store.log.deleted([]) == []
    for _ in range(2):
        await store.log.forget_deleted(SessionId(gone.id))
    await store.log.forget_deleted(SessionId("\ud800"))
    assert await store.log.deleted([1, 2]) == [there.id]


async def test_a_session_that_was_made_again_can_be_deleted_again(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    for _ in range(2):
        await store.log.delete(lease, SessionId(record.id))
        assert await store.log.deleted([1]) == [record.id]
        await store.log.create(step(lease, replace(record, seq=0)))


async def test_the_same_commit_given_again_is_a_success_that_writes_nothing(store: AnyStore) -> None:
    lease = await claimed(store)
    first = step(lease, session(), logged(), queue=[waiting()])
    for _ in range(2):
        await store.log.create(first)
    second = step(lease, first.record, logged(), queue=[waiting()], consume=[first.queue[0].id], title="new")
    for _ in range(2):
        await store.log.append(second)

    loaded = await store.log.load(SessionId(first.record.id))
    assert loaded.record == second.record
    assert loaded.events == placed(*first.events, *second.events)
    assert loaded.queued == second.queue


async def test_a_commit_that_went_through_is_a_success_also_for_a_writer_that_has_lost_its_lease(
    store: AnyStore, clock: ManualClock
) -> None:
    lease = await claimed(store)
    commit = step(lease, session(), logged())
    await store.log.create(commit)
    clock.advance(11)
    new = await claimed(store, owner="two")
    await store.log.create(commit)
    await store.log.append(step(new, commit.record, logged()))
    with pytest.raises(Fenced):  # what the new owner wrote hides it
        await store.log.create(commit)


async def test_an_equal_commit_with_a_stamp_of_its_own_is_judged_for_itself(store: AnyStore) -> None:
    lease = await claimed(store)
    record = await created(store, lease)
    commit = step(lease, record, logged())
    await store.log.append(commit)
    with pytest.raises(LogConflict):
        await store.log.append(replace(commit, stamp="another"))


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_commits_leaves_what_the_model_says(
    store: AnyStore, clock: ManualClock, seed: int
) -> None:
    """A seeded walk over good and bad commits, compared with the in-memory log after every step."""
    model, dice = MemoryStore(clock), random.Random(seed)
    lease = await claimed(store)
    assert await claimed(model) == lease
    names: list[SessionId] = []
    for _ in range(60):
        action = (
            dice.choice(["create", "append", "append", "append", "stale", "fenced", "delete"]) if names else "create"
        )
        if action == "create":
            commit = step(lease, session(), *(logged() for _ in range(dice.randrange(3))), queue=[waiting()])
            names.append(SessionId(commit.record.id))
            results = [await outcome(each.log.create(commit)) for each in (store, model)]
        elif action == "delete":
            name = names.pop(dice.randrange(len(names)))
            results = [await outcome(each.log.delete(lease, name)) for each in (store, model)]
        else:
            by = replace(lease, epoch=99) if action == "fenced" else lease
            commit = random_commit(dice, by, await model.log.load(dice.choice(names)), stale=action == "stale")
            results = [await outcome(each.log.append(commit)) for each in (store, model)]
        assert results[0] == results[1]
    for name in names:
        assert await store.log.load(name) == await model.log.load(name)
    assert await store.log.unfinished([1]) == await model.log.unfinished([1])


def random_commit(dice: random.Random, lease: Lease, before: SessionSnapshot, *, stale: bool) -> Commit:
    taken = before.queued[: dice.randrange(3)]
    return step(
        lease,
        replace(before.record, seq=before.record.seq + stale),
        *(event.processed(T0) for event in taken),
        *(logged() for _ in range(dice.randrange(3))),
        queue=[waiting() for _ in range(dice.randrange(3))],
        consume=[event.id for event in taken],
        title=str(dice.random()),
    )


async def outcome(change: Awaitable[None]) -> str:
    try:
        await change
    except (Fenced, LogConflict, NotFound) as error:
        return type(error).__name__
    return "ok"


async def test_a_census_counts_sessions_by_status_and_those_that_stand_still(store: AnyStore) -> None:
    lease = await claimed(store)
    moments = {SessionStatus.RUNNING: [0, 5, 9], SessionStatus.RESCHEDULING: [1], SessionStatus.IDLE: [0, 0]}
    for status, minutes in moments.items():
        for minute in minutes:
            record = session(lease.partition, status=status, updated_at=T0 + timedelta(minutes=minute))
            await store.log.create(step(lease, record))
    census = await store.sessions.census(T0 + timedelta(minutes=5))
    assert dict(census.by_status) == {"running": 3, "rescheduling": 1, "idle": 2}
    assert census.stuck == 2
