"""Group commit, seen from beside the database: what goes into one transaction and who hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from agents.errors import Conflict, HecatonError, LogConflict, NotFound, Overloaded, Unavailable
from agents.ids import SessionId
from agents.sessions.events import SessionRecord
from agents.sessions.log import Commit, Lease
from agents.store import group_commit
from agents.store.batch import Change
from agents.store.engine import Transaction
from agents.store.event_log import SqlEventLog

LEASE = Lease(1, "one", 1)
T0 = datetime(2026, 11, 21, tzinfo=UTC)


class SteppedDatabase:
    """Holds every transaction until the test lets it through, and says what was in it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.told: list[tuple[int, bool]] = []
        self.begun = asyncio.Semaphore(0)
        self.go = asyncio.Semaphore(0)
        self.answer: Callable[[list[str]], list[HecatonError | None]] = lambda names: [None] * len(names)

    async def read(self, work: Callable[[Connection], Any], **more: Any) -> Any:
        raise NotImplementedError

    async def write(self, work: Callable[[Connection], Any], **more: Any) -> Any:
        raise NotImplementedError

    async def migrate(self, work: Callable[[Connection], None]) -> None:
        raise NotImplementedError

    async def transact(self, script: Transaction[Any], *, deadline: float, changes: int = 0, more: bool = False) -> Any:
        assert isinstance(script, partial)
        written: list[Change] = script.keywords["changes"]
        self.batches.append([change.session_id for change in written])
        self.told.append((changes, more))
        self.begun.release()
        await self.go.acquire()
        return self.answer(self.batches[-1])

    async def close(self) -> None: ...

    def open(self) -> None:
        for _ in range(1000):
            self.go.release()


def commit(name: str, seq: int = 0) -> Commit:
    record = SessionRecord(
        id=name,
        partition=1,
        created_at=T0,
        updated_at=T0,
        agent={},
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        environment={},
        thread_id="sthr_1",
        seq=seq,
    )
    return Commit(LEASE, seq, record)


@pytest.fixture
def database() -> SteppedDatabase:
    return SteppedDatabase()


async def start(log: SqlEventLog, *names: str) -> list[asyncio.Task[None]]:
    """Append to each session, in order, without waiting."""
    tasks = [asyncio.create_task(log.append(commit(name))) for name in names]
    await asyncio.sleep(0)
    return tasks


async def test_what_arrives_during_a_transaction_goes_together_into_the_next(database: SteppedDatabase) -> None:
    log = SqlEventLog(database)
    tasks = await start(log, "a")
    await database.begun.acquire()
    tasks += await start(log, "b", "c", "d")
    database.open()
    await asyncio.gather(*tasks)
    assert database.batches == [["a"], ["b", "c", "d"]]


async def test_nobody_is_told_of_success_before_the_transaction_ends(database: SteppedDatabase) -> None:
    log = SqlEventLog(database)
    tasks = await start(log, "a", "b")
    await database.begun.acquire()
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    database.open()
    await asyncio.gather(*tasks)


async def test_a_transaction_holds_at_most_its_share_and_one_change_of_a_session(database: SteppedDatabase) -> None:
    log = SqlEventLog(database, batch=3)
    database.open()
    await asyncio.gather(*await start(log, "a", "b", "b", "c", "d", "e", "e"))
    assert database.batches == [["a", "b"], ["b", "c", "d"], ["e"], ["e"]]


async def test_the_database_is_told_how_small_a_transaction_is_unless_it_deletes_and_whether_others_wait(
    database: SteppedDatabase,
) -> None:
    log = SqlEventLog(database)
    database.open()
    await asyncio.gather(*await start(log, "a"))
    await asyncio.gather(*await start(log, "b", "b"))
    await asyncio.gather(*await start(log, "c", "d", "e"))
    await log.delete(LEASE, SessionId("f"))
    assert database.batches == [["a"], ["b"], ["b"], ["c", "d", "e"], ["f"]]
    assert database.told == [(1, False), (1, True), (1, False), (3, False), (0, False)]


async def test_too_many_waiting_changes_are_refused_at_once(database: SteppedDatabase) -> None:
    log = SqlEventLog(database, waiting=2)
    tasks = await start(log, "a")
    await database.begun.acquire()
    tasks += await start(log, "b", "c")
    with pytest.raises(Overloaded) as refused:
        await log.append(commit("d"))
    assert refused.value.retry_after
    database.open()
    await asyncio.gather(*tasks)
    await log.append(commit("d"))
    assert database.batches == [["a"], ["b", "c"], ["d"]]


async def test_a_caller_that_gives_up_in_the_queue_writes_nothing(database: SteppedDatabase) -> None:
    log = SqlEventLog(database)
    tasks = await start(log, "a")
    await database.begun.acquire()
    tasks += await start(log, "b", "c")
    tasks[1].cancel()
    await asyncio.sleep(0)
    database.open()
    await asyncio.gather(tasks[0], tasks[2])
    assert database.batches == [["a"], ["c"]]
    assert tasks[1].cancelled()


async def test_a_caller_that_gives_up_during_the_transaction_leaves_it_whole(database: SteppedDatabase) -> None:
    log = SqlEventLog(database)
    tasks = await start(log, "a", "b", "c")
    await database.begun.acquire()
    tasks[1].cancel()
    await asyncio.sleep(0)
    database.open()
    await asyncio.gather(tasks[0], tasks[2])
    assert database.batches == [["a", "b", "c"]]
    await log.append(commit("d"))


async def test_each_caller_hears_its_own_outcome(database: SteppedDatabase) -> None:
    log = SqlEventLog(database)
    database.answer = lambda names: [NotFound("gone") if name == "b" else None for name in names]
    database.open()
    outcomes = await asyncio.gather(*await start(log, "a", "b", "c"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), NotFound, type(None)]


@pytest.mark.parametrize("failure", [Unavailable("down"), RuntimeError("a fault of ours")])
async def test_when_the_transaction_fails_all_its_callers_hear_it_and_the_writer_goes_on(
    database: SteppedDatabase, failure: Exception
) -> None:
    def fail(names: list[str]) -> list[HecatonError | None]:
        raise failure

    log = SqlEventLog(database)
    works, database.answer = database.answer, fail
    database.open()
    outcomes = await asyncio.gather(*await start(log, "a", "b"), return_exceptions=True)
    assert outcomes == [failure, failure]
    database.answer = works
    await log.append(commit("a"))


async def test_a_violated_constraint_is_blamed_on_its_own_change_only(database: SteppedDatabase) -> None:
    def refuse(names: list[str]) -> list[HecatonError | None]:
        if "b" in names:
            raise Conflict("twice")
        return [None] * len(names)

    log = SqlEventLog(database)
    database.answer = refuse
    database.open()
    outcomes = await asyncio.gather(*await start(log, "a", "b", "c"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), LogConflict, type(None)]
    assert database.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]


class Now:
    """The loop's time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    moved = Now()
    monkeypatch.setattr(group_commit, "_now", moved)
    return moved


async def test_who_ran_out_of_time_is_told_and_the_others_of_its_batch_are_tried_on(
    database: SteppedDatabase, now: Now
) -> None:
    log = SqlEventLog(database, deadline=10)
    first = await start(log, "first")
    await database.begun.acquire()
    now.seconds = 1
    early = await start(log, "a", "b")
    now.seconds = 6
    later = await start(log, "c", "d")

    def down(names: list[str]) -> list[HecatonError | None]:
        if names == ["a", "b", "c", "d"]:
            now.seconds = 11
            raise Unavailable("down")
        return [None] * len(names)

    database.answer = down
    database.open()
    outcomes = await asyncio.gather(*first, *early, *later, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Unavailable, Unavailable, type(None), type(None)]
    assert database.batches == [["first"], ["a", "b", "c", "d"], ["c", "d"]]


async def test_who_ran_out_of_time_in_the_queue_is_not_written_any_more(database: SteppedDatabase, now: Now) -> None:
    log = SqlEventLog(database, deadline=10)
    first = await start(log, "first")
    await database.begun.acquire()
    late = await start(log, "a")
    now.seconds = 9
    fresh = await start(log, "b")
    now.seconds = 10
    database.open()
    outcomes = await asyncio.gather(*first, *late, *fresh, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Unavailable, type(None)]
    assert database.batches == [["first"], ["b"]]


async def test_closing_waits_for_what_was_accepted(database: SteppedDatabase) -> None:
    log = SqlEventLog(database)
    tasks = await start(log, "a", "b", "b")
    closing = asyncio.create_task(log.close())
    await database.begun.acquire()
    assert not closing.done()
    database.open()
    await closing
    assert database.batches == [["a", "b"], ["b"]]
    await asyncio.gather(*tasks)


async def test_a_commit_whose_row_stands_elsewhere_than_its_events_end_is_a_fault_of_ours(
    database: SteppedDatabase,
) -> None:
    wrong = commit("a")
    with pytest.raises(ValueError, match="position"):
        await SqlEventLog(database).append(replace(wrong, record=replace(wrong.record, seq=1)))


async def test_a_session_that_no_database_can_name_is_not_even_asked_for(database: SteppedDatabase) -> None:
    with pytest.raises(NotFound):
        await SqlEventLog(database).load(SessionId("\x00"))
