"""What every store promises of the audit trail (port: agents.governance.audit.trail.AuditTrail)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from store_records import T0, AnyStore, Reopen, claimed, full_session, logged, session, step, waiting

from agents.clock import ManualClock
from agents.errors import Conflict, InvalidRequest, LogConflict, NotFound
from agents.governance.audit.chain import FIRST_LINK
from agents.governance.audit.entries import AuditEntry, ChainedEntry, EntryQuery
from agents.governance.audit.trail import Hold
from agents.governance.audit.verification import (
    EntriesStep,
    Finding,
    SessionsStep,
    verify_entries,
    verify_sessions,
)
from agents.ids import SessionId
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.log import Commit, Lease
from agents.store import audit_pruning
from agents.store.database import SqlStore


def act(action: str = "createAgent", **changes: Any) -> AuditEntry:
    entry = AuditEntry(T0, "team-a", action, "agent_1", "10.0.0.7", "req_1", detail={"fields": ["é\n"]})
    return replace(entry, **changes)


def said(number: int) -> Event:
    return logged(content=[{"type": "text", "text": f"hi {number}"}], n=number)


async def verified(store: AnyStore) -> tuple[EntriesStep, SessionsStep]:
    return await verify_entries(store.audit, 1000), await verify_sessions(store.audit, 10_000)


async def findings(store: AnyStore) -> list[Finding]:
    entries, sessions = await verified(store)
    return entries.findings + sessions.findings


async def talked(store: AnyStore, *, commits: int = 2, **changes: Any) -> tuple[Lease, SessionRecord]:
    """A session of some commits with two events each."""
    lease = await claimed(store)
    record = session(**changes)
    first = step(lease, record, said(0), said(1))
    await store.log.create(first)
    record = first.record
    for number in range(1, commits):
        commit = step(lease, record, said(2 * number), replace(said(2 * number + 1), hidden={"spent": number}))
        await store.log.append(commit)
        record = commit.record
    return lease, record


async def test_an_entry_is_what_was_recorded_and_builds_on_the_one_before(store: AnyStore) -> None:
    assert await store.audit.head() is None
    await store.audit.record(act())
    await store.audit.record(act("deleteAgent", actor="", outcome="not_found_error", object="a\0b\ud800"))
    first, second = await store.audit.entries(EntryQuery())
    assert orjson.loads(first.body) == {
        "seq": 1,
        "id": orjson.loads(first.body)["id"],
        "at": "2026-11-21T08:30:00.123457Z",
        "actor": "team-a",
        "action": "createAgent",
        "object": "agent_1",
        "origin": "10.0.0.7",
        "request_id": "req_1",
        "outcome": "ok",
        "detail": {"fields": ["é\n"]},
    }
    assert (second.seq, second.actor, second.object) == (2, "", "a\N{REPLACEMENT CHARACTER}b?")
    assert await store.audit.head() == second
    entries, _ = await verified(store)
    assert (entries.checked, entries.after, entries.hash, entries.done) == (2, 2, second.hash, True)


async def test_entries_are_found_by_who_what_and_when(store: AnyStore) -> None:
    for number, actor in enumerate(["a", "b", "a"]):
        await store.audit.record(act(f"act{number}", actor=actor, object=f"o{number}", at=T0 + timedelta(hours=number)))

    async def found(**query: Any) -> list[int]:
        return [entry.seq for entry in await store.audit.entries(EntryQuery(**query))]

    hour = (await store.audit.entries(EntryQuery()))[1].at
    assert await found(newest_first=True, limit=2) == [3, 2]
    assert await found(newest_first=True, after=3) == [2, 1]
    assert await found(after=1) == [2, 3]
    assert await found(actor="a") == [1, 3] and await found(action="act1") == [2] and await found(object="o2") == [3]
    assert await found(since=hour) == [2, 3] and await found(until=hour) == [1]
    assert await found(actor="\0") == []


async def test_a_log_is_chained_as_it_is_written_and_sealed_with_the_rest(store: AnyStore) -> None:
    _, record = await talked(store)
    entries, sessions = await verified(store)
    assert (entries.checked, sessions.sessions, sessions.events, sessions.unsealed) == (0, 1, 4, 1)
    assert await store.audit.seal() == 1
    assert await store.audit.seal() == 0
    [seal] = await store.audit.entries(EntryQuery())
    rows = await store.audit.rows(record.id, 0, 10)
    [leaf] = await store.audit.leaves(seal.seq)
    assert (leaf.session_id, leaf.seq, leaf.head, leaf.deleted) == (record.id, 4, rows[-1].link, False)
    entries, sessions = await verified(store)
    assert (entries.checked, sessions.unsealed, entries.findings, sessions.findings) == (1, 0, [], [])


async def test_a_commit_that_was_refused_leaves_the_chain_as_it_was(store: AnyStore) -> None:
    lease, record = await talked(store)
    stale = replace(record, seq=record.seq - 2)
    with pytest.raises(LogConflict):
        await store.log.append(step(lease, stale, logged(), logged()))
    queued = waiting()
    await store.log.append(step(lease, record, queue=[queued]))
    await store.log.append(step(lease, record, replace(queued, processed_at=T0), consume=[queued.id]))
    assert await findings(store) == []


async def test_a_deleted_session_leaves_its_end_in_the_trail(store: AnyStore) -> None:
    lease, record = await talked(store)
    await store.audit.seal()
    await store.log.delete(lease, SessionId(record.id))
    assert await findings(store) == []
    assert await store.audit.seal() == 1
    [seal] = await store.audit.entries(EntryQuery(newest_first=True, limit=1))
    [leaf] = await store.audit.leaves(seal.seq)
    assert (leaf.session_id, leaf.seq, leaf.deleted) == (record.id, 4, True)
    _, sessions = await verified(store)
    assert (sessions.sessions, sessions.findings) == (1, [])


async def test_a_session_under_hold_is_neither_deleted_nor_redacted(store: AnyStore) -> None:
    lease, record = await talked(store)
    hold = Hold(record.id, "case 7", "legal", T0)
    with pytest.raises(NotFound):
        await store.audit.hold(replace(hold, session_id="sesn_none"), act())
    await store.audit.hold(hold, act("holdSession"))
    assert await store.audit.holds() == await store.audit.holds(record.id) == [hold]
    assert await store.audit.holds("sesn_none") == []
    with pytest.raises(Conflict):
        await store.audit.hold(hold, act("holdSession"))
    with pytest.raises(Conflict, match="legal hold"):
        await store.log.delete(lease, SessionId(record.id))
    event = (await store.log.load(SessionId(record.id))).events[0]
    with pytest.raises(Conflict, match="legal hold"):
        await store.audit.redact(record.id, event.id, act("redactEvent"))
    await store.audit.release(record.id, act("releaseSession"))
    with pytest.raises(NotFound):
        await store.audit.release(record.id, act("releaseSession"))
    await store.log.delete(lease, SessionId(record.id))
    assert [entry.action for entry in await store.audit.entries(EntryQuery())] == ["holdSession", "releaseSession"]
    assert await findings(store) == []


async def test_a_redacted_event_shows_no_content_and_its_chain_stays_whole(store: AnyStore) -> None:
    lease, record = await talked(store)
    await store.audit.seal()
    secret = (await store.log.load(SessionId(record.id))).events[1]
    await store.audit.redact(record.id, secret.id, act("redactEvent", object=record.id))
    loaded = await store.log.load(SessionId(record.id))
    assert loaded.events[1].body == {"content": [{"type": "text", "text": "[redacted]"}], "n": 1}
    assert (loaded.record.seq, loaded.events[-1].type) == (5, EventType.SESSION_UPDATED)
    assert await findings(store) == []
    with pytest.raises(Conflict, match="before"):
        await store.audit.redact(record.id, secret.id, act("redactEvent"))
    with pytest.raises(LogConflict):  # whoever has the session in memory has what was there, too
        await store.log.append(step(lease, record, logged()))
    await store.log.append(step(lease, loaded.record, logged()))
    await store.audit.seal()
    assert await findings(store) == []


async def test_what_has_no_content_or_runs_is_not_redacted(store: AnyStore) -> None:
    lease, record = await talked(store)
    idle = step(lease, record, logged(EventType.SESSION_IDLE))
    await store.log.append(idle)
    with pytest.raises(InvalidRequest, match="status_idle has no content"):
        await store.audit.redact(record.id, idle.events[0].id, act())
    with pytest.raises(NotFound):
        await store.audit.redact(record.id, "sevt_none", act())
    with pytest.raises(NotFound):
        await store.audit.redact("sesn_none", idle.events[0].id, act())
    running = step(lease, idle.record, said(9), status=SessionStatus.RUNNING)
    await store.log.append(running)
    with pytest.raises(Conflict, match="running"):
        await store.audit.redact(record.id, running.events[0].id, act())
    assert await store.audit.entries(EntryQuery()) == []


async def test_old_entries_go_and_the_chain_stays_valid_without_them(store: AnyStore, clock: ManualClock) -> None:
    lease, old = await talked(store)
    held = step(lease, session(), logged())
    await store.log.create(held)
    await store.audit.seal()  # 1
    for number in range(3):  # 2 to 5
        await store.audit.record(act(f"old{number}", at=clock.now()))
    hold = Hold(held.record.id, "case 7", "legal", T0)
    await store.audit.hold(hold, act("holdSession", object=held.record.id, at=clock.now()))
    clock.advance(10 * 86400)
    await store.audit.record(act("new", at=clock.now()))  # 6
    assert await store.audit.prune(clock.now() - timedelta(days=5)) == 4
    kept = [(entry.seq, entry.action) for entry in await store.audit.entries(EntryQuery())]
    # What only the old seal said of the sessions is said again before it goes.
    assert kept == [(5, "holdSession"), (6, "new"), (7, "sealSessions"), (8, "pruneAudit")]
    entries, sessions = await verified(store)
    assert (entries.findings, entries.checked, sessions.findings, sessions.unsealed) == ([], 4, [], 0)
    assert await store.audit.prune(clock.now() - timedelta(days=5)) == 0

    await store.audit.release(held.record.id, act("releaseSession", object=held.record.id, at=clock.now()))  # 9
    clock.advance(10 * 86400)
    await store.audit.record(act("newest", at=clock.now()))  # 10
    assert await store.audit.prune(clock.now() - timedelta(days=5)) == 5
    assert [entry.action for entry in await store.audit.entries(EntryQuery())] == [
        "newest",
        "sealSessions",
        "pruneAudit",
    ]
    assert await findings(store) == []
    await store.log.append(step(lease, old, logged()))
    assert await findings(store) == []


class TwoAtOnce:
    """A trail of which nobody gets more than two entries at a time: as few as a thousand are of a long one."""

    def __init__(self, store: AnyStore) -> None:
        self._audit = store.audit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._audit, name)

    async def entries(self, query: EntryQuery) -> Sequence[ChainedEntry]:
        return await self._audit.entries(replace(query, limit=min(query.limit, 2)))


async def test_a_trail_that_was_pruned_many_times_is_verified_by_what_was_said_last(
    store: AnyStore, clock: ManualClock
) -> None:
    for number in range(4):
        await store.audit.record(act(f"old{number}", at=clock.now()))
        clock.advance(86400)
    for _ in range(3):
        assert await store.audit.prune(clock.now() - timedelta(days=3.5)) == 1
        clock.advance(86400)
    reader: Any = TwoAtOnce(store)
    step = EntriesStep(0, FIRST_LINK, done=False)
    while not step.done and not step.findings:
        step = await verify_entries(reader, 2, after=step.after, hash_=step.hash)
    assert step.findings == []


async def test_who_takes_a_session_up_reads_it_once(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next commit builds on what was read then."""
    one, other = await reopen(), await reopen()
    lease, record = await talked(one)
    await other.log.load(SessionId(record.id))
    monkeypatch.setattr(other._database, "read", None)
    await other.log.append(step(lease, record, said(9)))
    monkeypatch.undo()
    assert await findings(other) == []


async def test_the_newest_entry_stays_however_old_it_is(store: AnyStore) -> None:
    for number in range(3):
        await store.audit.record(act(f"old{number}"))
    assert await store.audit.prune(T0 + timedelta(days=5)) == 2
    assert [entry.action for entry in await store.audit.entries(EntryQuery())] == ["old2", "pruneAudit"]
    assert await findings(store) == []


async def test_many_old_entries_go_in_portions(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever acts meanwhile waits for one portion, not for all of them."""
    monkeypatch.setattr(audit_pruning, "_PORTION", 3)
    store = await reopen()
    now = T0 + timedelta(days=10)
    for number in range(7):
        await store.audit.record(act(f"old{number}"))
    await store.audit.record(act("new", at=now))
    assert await store.audit.prune(T0 + timedelta(days=5)) == 7
    left = await store.audit.entries(EntryQuery())
    assert [entry.action for entry in left] == ["new", "pruneAudit", "pruneAudit", "pruneAudit"]
    assert [orjson.loads(entry.body)["detail"]["entries"] for entry in left[1:]] == [3, 3, 1]
    assert await findings(store) == []


async def test_many_who_record_at_once_build_one_chain(reopen: Reopen) -> None:
    stores = [await reopen(), await reopen()]
    await asyncio.gather(*(store.audit.record(act(f"act{n}")) for n in range(40) for store in stores))
    entries, _ = await verified(stores[0])
    assert (entries.checked, entries.findings) == (80, [])


async def test_another_process_goes_on_with_the_chain_and_a_seal_is_made_when_one_ends(reopen: Reopen) -> None:
    first = await reopen()
    lease, record = await talked(first)
    await first.audit.close()
    second = await reopen()
    more = step(lease, record, logged())
    await asyncio.gather(second.log.append(more), second.log.append(step(lease, more.record, logged())))
    assert (await verified(second))[1].unsealed == 1
    assert await second.audit.seal() == 1
    assert await findings(second) == []


async def test_what_a_process_that_died_had_not_sealed_is_found(reopen: Reopen, clock: ManualClock) -> None:
    dead, alive = await reopen(), await reopen()
    await talked(dead)
    await talked(alive, partition=1)
    clock.advance(1000)
    async with asyncio.timeout(10):
        while (await verified(alive))[1].unsealed:
            clock.advance(60)
            await asyncio.sleep(0.01)
    assert await findings(alive) == []


async def test_rows_of_a_release_without_the_trail_are_chained_by_who_goes_on(reopen: Reopen) -> None:
    store = await reopen()
    lease, record = await talked(store)
    await _execute(store, "UPDATE events SET link = NULL")
    other = await reopen()
    await other.log.append(step(lease, record, logged()))
    await other.audit.seal()
    assert await findings(other) == []
    await _execute(store, "UPDATE events SET body = '{}' WHERE seq = 2")
    [found] = await findings(other)
    assert (found.session, found.seq) == (record.id, 5)  # the first link after it


async def _execute(store: SqlStore, statement: str, **values: Any) -> None:
    await store._database.write(lambda connection: connection.execute(text(statement), values).close())


TAMPERING = {
    "a byte of an event": ("UPDATE events SET body = replace(body, 'hi', 'ho') WHERE seq = 3", 3),
    "a time": ("UPDATE events SET processed_at = processed_at + 1 WHERE seq = 2", 2),
    "a hidden part": ("UPDATE events SET hidden = replace(hidden, '1', '2') WHERE seq = 4", 4),
    "an event of the primary that becomes another thread's": (
        "UPDATE events SET thread_id = 'sthr_1' WHERE seq = 3",
        3,
    ),
    "what the primary shows of another thread": ("UPDATE events SET crossposted = 1 WHERE seq = 2", 2),
    "a link": ("UPDATE events SET link = '00' WHERE seq = 1", 1),
    "an event less": ("DELETE FROM events WHERE seq = 2", 2),
    "the newest event less": ("DELETE FROM events WHERE seq = 4", 4),
    "an event more": (
        "INSERT INTO events (session_id, seq, id, type, body) "
        "SELECT session_id, 5, 'x', type, body FROM events WHERE seq = 1",
        5,
    ),
    "two events in another order": (
        "UPDATE events SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3);"
        "UPDATE events SET seq = -seq WHERE seq < 0",
        2,
    ),
    "the log cut short, and the session's row with it": (
        "DELETE FROM events WHERE seq > 2; UPDATE sessions SET seq = 2",
        3,
    ),
    "the whole session less": ("DELETE FROM events; DELETE FROM sessions", 1),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_whatever_is_done_to_a_sealed_log_is_found_and_the_first_bad_row_named(reopen: Reopen, what: str) -> None:
    statements, seq = TAMPERING[what]
    store = await reopen()
    _, record = await talked(store)
    await store.audit.seal()
    assert await findings(store) == []
    for statement in statements.split(";"):
        await _execute(store, statement)
    found = [(each.session, each.seq) for each in await findings(store)]
    assert found == [(record.id, seq)]


TRAIL_TAMPERING = {
    "a byte of an entry": ("UPDATE audit_entries SET body = replace(body, 'act2', 'actX') WHERE seq = 3", 3),
    "a column beside its text": ("UPDATE audit_entries SET actor = 'nobody' WHERE seq = 2", 2),
    "an entry less": ("DELETE FROM audit_entries WHERE seq = 2", 2),
    "the oldest entry less": ("DELETE FROM audit_entries WHERE seq = 1", 1),
    "two entries in another order": (
        "UPDATE audit_entries SET seq = seq - 5 WHERE seq IN (2, 3);UPDATE audit_entries SET seq = -seq WHERE seq < 0",
        2,
    ),
    "a line of a seal": ("UPDATE audit_leaves SET seq = 3", 4),
    "a seal's line less": ("DELETE FROM audit_leaves", 4),
}


@pytest.mark.parametrize("what", TRAIL_TAMPERING)
async def test_whatever_is_done_to_the_trail_is_found_and_the_first_bad_entry_named(reopen: Reopen, what: str) -> None:
    statements, seq = TRAIL_TAMPERING[what]
    store = await reopen()
    for number in range(3):
        await store.audit.record(act(f"act{number}"))
    await talked(store)
    await store.audit.seal()  # 4
    await store.audit.record(act("last"))
    assert await findings(store) == []
    for statement in statements.split(";"):
        await _execute(store, statement)
    entries, _ = await verified(store)
    assert [(each.session, each.seq) for each in entries.findings] == [("", seq)]


async def test_a_log_that_was_written_anew_with_all_its_hashes_does_not_fit_its_seal(reopen: Reopen) -> None:
    from agents.governance.audit.chain import link, row_digest, session_link

    store = await reopen()
    _, record = await talked(store)
    await store.audit.seal()

    def forge(connection: Any) -> None:
        connection.execute(text("UPDATE events SET body = replace(body, 'hi', 'ho') WHERE seq = 2"))
        before = session_link(record.id)
        for row in connection.execute(text("SELECT * FROM events ORDER BY seq")).mappings().all():
            before = link(before, row_digest(row))
            connection.execute(
                text("UPDATE events SET link = :link WHERE seq = :seq"), {"link": before, "seq": row["seq"]}
            )

    await store._database.write(forge)
    [found] = await findings(store)
    assert (found.session, found.seq) == (record.id, 4)
    assert "sealed by entry 1" in found.message


async def test_a_redaction_that_nobody_recorded_is_found(reopen: Reopen) -> None:
    store = await reopen()
    _, record = await talked(store)
    await store.audit.seal()
    event = (await store.log.load(SessionId(record.id))).events[1]
    await store.audit.redact(record.id, event.id, act("redactEvent"))
    await _execute(store, "UPDATE events SET body = replace(body, 'redacted', 'lie') WHERE seq = 2")
    [found] = await findings(store)
    assert found.seq == 2 and "after it was redacted" in found.message
    await _execute(store, "UPDATE events SET body = replace(body, 'lie', 'redacted') WHERE seq = 2")
    assert await findings(store) == []
    await _execute(store, "UPDATE audit_redactions SET seq = 3")
    assert [found.seq for found in await findings(store)] == [2]


async def test_a_full_record_of_a_session_is_chained_too(store: AnyStore) -> None:
    lease = await claimed(store)
    record = full_session()
    thinking = Event("sevt_t", EventType.AGENT_THINKING, {}, T0, hidden={"block": {"signature": "s"}})  # type: ignore[arg-type]
    await store.log.create(Commit(lease, 0, replace(record, seq=1), (thinking,)))
    assert await findings(store) == []
