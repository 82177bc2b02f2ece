"""What the repositories promise (ports: agents.store.ports)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import pytest
from store_records import T0, AnyStore, Reopen, agent, claimed, environment, logged, session, step, waiting

from agents.errors import Conflict, InvalidRequest, NotFound
from agents.ids import SessionId
from agents.listing import Listing
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.log import Lease
from agents.store.ports import AgentRecord, EventListing, SessionListing

HUGE = 10**30
LATER = T0 + timedelta(seconds=5)


def at(microseconds: int) -> datetime:
    return T0 + timedelta(microseconds=microseconds)


# Agents


async def test_an_agent_is_read_back_as_it_was_stored(store: AnyStore) -> None:
    record = agent(body={"z": "\x00 ☃", "a": {"y": [1, None]}, "b": 1})
    await store.agents.insert(record)
    read = await store.agents.get(record.id)
    assert read == record
    assert list(read.body) == ["z", "a", "b"]
    assert await store.agents.get(record.id, 1) == record


async def test_an_agent_or_version_that_is_not_there_is_not_found(store: AnyStore) -> None:
    await store.agents.insert(agent())
    for name, version in (("agent_x", None), (agent().id, 2), (agent().id, HUGE), ("\x00", None), ("\ud800", 1)):
        with pytest.raises(NotFound):
            await store.agents.get(name, version)
    for name in ("agent_x", "\x00"):
        with pytest.raises(NotFound):
            await store.agents.versions(name, below=None, limit=5)
        with pytest.raises(NotFound):
            await store.agents.archive(name, T0)
        with pytest.raises(NotFound):
            await store.agents.update(agent(id=name, version=2), expected_version=1)


async def test_a_new_version_keeps_the_old_ones_and_the_agents_birth(store: AnyStore) -> None:
    first = agent()
    second = replace(first, version=2, body={"name": "second"}, updated_at=LATER)
    await store.agents.insert(first)
    await store.agents.update(replace(second, created_at=LATER), expected_version=1)
    assert await store.agents.get(first.id) == second
    assert await store.agents.get(first.id, 1) == first
    assert await store.agents.get(first.id, 2) == second


async def test_an_update_from_a_version_that_is_not_the_newest_is_a_conflict(store: AnyStore) -> None:
    await store.agents.insert(agent())
    await store.agents.update(agent(version=2), expected_version=1)
    with pytest.raises(Conflict):
        await store.agents.update(agent(version=2), expected_version=1)
    for wrong in (3, HUGE):
        with pytest.raises(Conflict):
            await store.agents.update(agent(version=4), expected_version=wrong)
    assert (await store.agents.get(agent().id)).version == 2


async def test_of_two_updates_at_once_one_wins(store: AnyStore) -> None:
    await store.agents.insert(agent())
    rivals = [agent(version=2, body={"n": n}) for n in range(5)]
    outcomes = await asyncio.gather(
        *(store.agents.update(rival, expected_version=1) for rival in rivals), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 4 + ["NoneType"]


async def test_an_agent_id_is_stored_once(store: AnyStore) -> None:
    await store.agents.insert(agent())
    with pytest.raises(Conflict):
        await store.agents.insert(agent())


async def test_archiving_an_agent_keeps_the_first_moment_and_shows_on_every_version(store: AnyStore) -> None:
    await store.agents.insert(agent())
    await store.agents.update(agent(version=2), expected_version=1)
    assert (await store.agents.archive(agent().id, LATER)).archived_at == LATER
    assert (await store.agents.archive(agent().id, T0)).archived_at == LATER
    assert (await store.agents.get(agent().id, 1)).archived_at == LATER
    await store.agents.update(agent(version=3), expected_version=2)
    assert (await store.agents.get(agent().id)).archived_at == LATER
    assert list(await store.agents.list(Listing())) == []
    assert [each.version for each in await store.agents.list(Listing(include_archived=True))] == [3]


async def test_versions_are_listed_newest_first_below_a_bound_with_one_more(store: AnyStore) -> None:
    await store.agents.insert(agent())
    for version in range(2, 7):
        await store.agents.update(agent(version=version), expected_version=version - 1)

    async def versions(below: int | None, limit: int) -> list[int]:
        return [each.version for each in await store.agents.versions(agent().id, below=below, limit=limit)]

    assert await versions(None, 2) == [6, 5, 4]
    assert await versions(5, 2) == [4, 3, 2]
    assert await versions(3, 2) == [2, 1]
    assert await versions(1, 2) == []
    assert await versions(-HUGE, 9) == []
    assert await versions(HUGE, 9) == [6, 5, 4, 3, 2, 1]


async def test_listing_agents_shows_the_newest_version_of_each(store: AnyStore) -> None:
    for number in (1, 2):
        await store.agents.insert(agent(number))
    await store.agents.update(agent(1, version=2, body={"new": True}), expected_version=1)
    listed = await store.agents.list(Listing(order="asc"))
    assert [(each.id, each.version) for each in listed] == [(agent(1).id, 2), (agent(2).id, 1)]


# Pages, shown on agents: every listing shares their rules


async def stored_agents(store: AnyStore) -> list[AgentRecord]:
    """Nine agents, three at each of three moments, inserted out of order."""
    every = [agent(number, created_at=at(number // 3), updated_at=at(number // 3)) for number in range(9)]
    for record in (*every[5:], *every[:5]):
        await store.agents.insert(record)
    return every


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 4, 9, 20])
async def test_pages_visit_every_row_once_in_order_also_at_equal_times(
    store: AnyStore, order: Literal["asc", "desc"], limit: int
) -> None:
    every = await stored_agents(store)
    seen: list[str] = []
    query = Listing(limit=limit, order=order)
    while True:
        rows = list(await store.agents.list(query))
        assert len(rows) <= limit + 1
        seen += [row.id for row in rows[:limit]]
        if len(rows) <= limit:
            break
        last = rows[limit - 1]
        query = replace(query, after=(last.created_at, last.id))
    expected = [record.id for record in every]
    assert seen == (expected if order == "asc" else expected[::-1])


async def test_time_bounds_are_exact_to_the_microsecond(store: AnyStore) -> None:
    await stored_agents(store)

    async def moments(**bounds: datetime) -> set[int]:
        rows = await store.agents.list(Listing(**bounds))  # type: ignore[arg-type]
        return {(row.created_at - T0) // timedelta(microseconds=1) for row in rows}

    assert await moments(created_gt=at(1)) == {2}
    assert await moments(created_gte=at(1)) == {1, 2}
    assert await moments(created_lt=at(1)) == {0}
    assert await moments(created_lte=at(1)) == {0, 1}
    assert await moments(created_gt=at(0), created_lt=at(2)) == {1}


async def test_a_cursor_that_names_nothing_stored_still_pages(store: AnyStore) -> None:
    every = await stored_agents(store)
    rows = await store.agents.list(Listing(order="asc", after=(at(1), "agent_")))
    assert [row.id for row in rows] == [record.id for record in every[3:]]
    assert await store.agents.list(Listing(order="desc", after=(at(-1), "zzz"))) == []
    rows = await store.agents.list(Listing(order="asc", after=(at(2), "\x00")))
    assert [row.id for row in rows] == [record.id for record in every[6:]]


# Environments


async def test_an_environment_is_read_back_as_it_was_stored(store: AnyStore) -> None:
    record = environment(name="Größe ☃ 'quoted'", archived_at=LATER)
    await store.environments.insert(record)
    assert await store.environments.get(record.id) == record


async def test_an_environment_that_is_not_there_is_not_found(store: AnyStore) -> None:
    for name in ("env_x", "\x00"):
        with pytest.raises(NotFound):
            await store.environments.get(name)
        with pytest.raises(NotFound):
            await store.environments.delete(name)
        with pytest.raises(NotFound):
            await store.environments.update(environment(id=name))


async def test_a_name_belongs_to_one_live_environment(store: AnyStore) -> None:
    await store.environments.insert(environment(1, name="n"))
    with pytest.raises(Conflict, match="already exists"):
        await store.environments.insert(environment(2, name="n"))
    await store.environments.insert(environment(3, name="n", archived_at=LATER))
    await store.environments.insert(environment(4, name="N"))
    with pytest.raises(Conflict, match="already exists"):
        await store.environments.update(environment(4, name="n"))
    with pytest.raises(Conflict, match="already exists"):
        await store.environments.update(environment(3, name="n"))
    await store.environments.update(environment(1, name="n", archived_at=LATER))
    await store.environments.update(environment(3, name="n"))
    assert (await store.environments.get(environment(4).id)).name == "N"


async def test_of_two_processes_that_take_a_name_at_once_one_wins(reopen: Reopen) -> None:
    stores = [await reopen() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(each.environments.insert(environment(n, name="n")) for n, each in enumerate(stores)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 3 + ["NoneType"]


async def test_an_update_replaces_the_row(store: AnyStore) -> None:
    await store.environments.insert(environment())
    changed = environment(name="other", body={"config": {"type": "self_hosted"}}, updated_at=LATER)
    await store.environments.update(changed)
    assert await store.environments.get(changed.id) == changed


async def test_a_name_that_no_database_can_compare_is_an_invalid_request(store: AnyStore) -> None:
    for name in ("a\x00b", "\ud800"):
        with pytest.raises(InvalidRequest, match="name"):
            await store.environments.insert(environment(name=name))


async def test_an_environment_goes_only_when_no_session_refers_to_it(store: AnyStore) -> None:
    used, free = environment(1), environment(2)
    await store.environments.insert(used)
    await store.environments.insert(free)
    lease, record = await started(store, environment_id=used.id)
    await store.environments.delete(free.id)
    with pytest.raises(NotFound):
        await store.environments.get(free.id)
    with pytest.raises(Conflict):
        await store.environments.delete(used.id)
    await store.log.delete(lease, SessionId(record.id))
    await store.environments.delete(used.id)


async def test_listing_environments_leaves_out_archived_ones_unless_asked(store: AnyStore) -> None:
    await store.environments.insert(environment(1))
    await store.environments.insert(environment(2, archived_at=LATER))
    assert [each.id for each in await store.environments.list(Listing())] == [environment(1).id]
    listed = await store.environments.list(Listing(include_archived=True, limit=1))
    assert [each.id for each in listed] == [environment(2).id, environment(1).id]


# Sessions


async def started(store: AnyStore, *events: Event, **changes: object) -> tuple[Lease, SessionRecord]:
    lease = await claimed(store, ttl=1000)
    queue = changes.pop("queue", ())
    commit = step(lease, session(**changes), *events, queue=queue)
    await store.log.create(commit)
    return lease, commit.record


async def test_a_session_is_read_as_its_owner_wrote_it(store: AnyStore) -> None:
    lease, record = await started(store, logged(), title="t")
    assert await store.sessions.get(SessionId(record.id)) == record
    commit = step(lease, record, logged(), status=SessionStatus.RUNNING, running_since=LATER)
    await store.log.append(commit)
    assert await store.sessions.get(SessionId(record.id)) == commit.record
    assert list(await store.sessions.list(SessionListing())) == [commit.record]


async def test_a_session_that_is_not_there_is_not_found(store: AnyStore) -> None:
    for name in (SessionId("sesn_x"), SessionId("\x00")):
        with pytest.raises(NotFound):
            await store.sessions.get(name)
        with pytest.raises(NotFound):
            await store.sessions.events(name, EventListing())
        assert await store.sessions.position(name, "sevt_x") is None


async def test_sessions_are_listed_by_their_filters(store: AnyStore) -> None:
    plain = (await started(store, created_at=at(0)))[1]
    other = (await started(store, created_at=at(1), agent_id="agent_2"))[1]
    newer = (await started(store, created_at=at(2), agent_version=4, status=SessionStatus.RUNNING))[1]
    archived = (await started(store, created_at=at(3), archived_at=LATER, status=SessionStatus.TERMINATED))[1]

    async def listed(**filters: object) -> list[str]:
        query = SessionListing(order="asc", **filters)  # type: ignore[arg-type]
        return [record.id for record in await store.sessions.list(query)]

    assert await listed() == [plain.id, other.id, newer.id]
    assert await listed(include_archived=True) == [plain.id, other.id, newer.id, archived.id]
    assert await listed(agent_id="agent_1") == [plain.id, newer.id]
    assert await listed(agent_id="agent_1", agent_version=4) == [newer.id]
    assert await listed(agent_id="agent_1", agent_version=HUGE) == []
    assert await listed(agent_id="\x00") == []
    assert await listed(statuses=("running",)) == [newer.id]
    assert await listed(statuses=("running", "terminated"), include_archived=True) == [newer.id, archived.id]
    both = ("terminated", "idle", "idle")
    assert await listed(statuses=both, include_archived=True) == [plain.id, other.id, archived.id]
    assert await listed(statuses=both, include_archived=True, limit=1) == [plain.id, other.id]
    assert await listed(statuses=("running", "idle"), after=(at(0), plain.id)) == [other.id, newer.id]
    assert await listed(after=(at(0), plain.id), limit=1) == [other.id, newer.id]
    assert await listed(created_gte=at(1), created_lt=at(2)) == [other.id]


# History


async def history(store: AnyStore, record: SessionRecord, **query: object) -> list[object]:
    """The ``n`` of each event of a page."""
    page = await store.sessions.events(SessionId(record.id), EventListing(**query))  # type: ignore[arg-type]
    return [event.body["n"] for event in page]


async def told(store: AnyStore) -> SessionRecord:
    """A session with events 1 to 5, one microsecond apart, and q1 and q2 in the queue."""
    kinds = [EventType.USER_MESSAGE, EventType.AGENT_MESSAGE]
    events = [logged(kinds[n % 2], at(n), n=n) for n in range(1, 6)]
    queue = [waiting(EventType.USER_MESSAGE, n="q1"), waiting(EventType.USER_INTERRUPT, n="q2")]
    return (await started(store, *events, queue=queue))[1]


async def test_history_is_the_log_and_then_the_queue(store: AnyStore) -> None:
    record = await told(store)
    assert await history(store, record) == [1, 2, 3, 4, 5, "q1", "q2"]
    assert await history(store, record, order="desc") == ["q2", "q1", 5, 4, 3, 2, 1]
    page = await store.sessions.events(SessionId(record.id), EventListing())
    assert [(event.seq, event.processed_at) for event in page[4:6]] == [(5, at(5)), (None, None)]


async def test_a_page_of_history_holds_one_more_than_its_limit(store: AnyStore) -> None:
    record = await told(store)
    assert await history(store, record, limit=2) == [1, 2, 3]
    assert await history(store, record, limit=2, after=2) == [3, 4, 5]
    assert await history(store, record, limit=2, after=4) == [5, "q1", "q2"]
    assert await history(store, record, limit=3, order="desc") == ["q2", "q1", 5, 4]
    assert await history(store, record, limit=3, order="desc", after=5) == [4, 3, 2, 1]
    assert await history(store, record, limit=3, order="desc", after=1) == []


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 50])
async def test_a_reader_that_pages_by_position_gets_the_whole_log_and_an_end(
    store: AnyStore, order: Literal["asc", "desc"], limit: int
) -> None:
    """The cursor is the position of the last logged event of a page; queued events never move it."""
    record = await told(store)
    query = EventListing(limit=limit, order=order)
    seen: list[object] = []
    for _ in range(20):
        rows = list(await store.sessions.events(SessionId(record.id), query))
        shown = rows[:limit]
        seen += [event.body["n"] for event in shown]
        if len(rows) <= limit:
            break
        query = replace(query, after=[event.seq for event in shown if event.seq is not None][-1])
    else:
        pytest.fail("the pages never end")
    assert [n for n in seen if isinstance(n, int)] == ([1, 2, 3, 4, 5] if order == "asc" else [5, 4, 3, 2, 1])
    if limit > 2:
        assert {"q1", "q2"} <= set(seen)


async def test_history_is_filtered_by_type_and_by_time(store: AnyStore) -> None:
    record = await told(store)
    assert await history(store, record, types=("user.message",)) == [2, 4, "q1"]
    assert await history(store, record, types=("user.message", "user.interrupt"), order="desc") == ["q2", "q1", 4, 2]
    assert await history(store, record, types=("no.such", "\x00")) == []
    assert await history(store, record, created_gt=at(4)) == [5]
    assert await history(store, record, created_gte=at(4)) == [4, 5]
    assert await history(store, record, created_lt=at(2)) == [1]
    assert await history(store, record, created_lte=at(2), order="desc") == [2, 1]


async def test_a_forged_position_is_harmless(store: AnyStore) -> None:
    record = await told(store)
    assert await history(store, record, after=HUGE) == ["q1", "q2"]
    assert await history(store, record, after=-HUGE, limit=1) == [1, 2]
    assert await history(store, record, after=HUGE, order="desc", limit=1) == [5, 4]
    assert await history(store, record, after=-HUGE, order="desc") == []


async def test_an_events_position_is_found_in_its_own_session_only(store: AnyStore) -> None:
    event, queued = logged(), waiting()
    _, record = await started(store, logged(), event, queue=[queued])
    _, other = await started(store)
    name = SessionId(record.id)
    assert await store.sessions.position(name, event.id) == 2
    assert await store.sessions.position(SessionId(other.id), event.id) is None
    assert await store.sessions.position(name, queued.id) is None
    assert await store.sessions.position(name, "sevt_x") is None
    assert await store.sessions.position(name, "\x00") is None
