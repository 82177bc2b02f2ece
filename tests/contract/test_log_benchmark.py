"""The benchmark's bare database writes what the log writes, or its floor would mean nothing."""

from __future__ import annotations

from dataclasses import replace

from store_records import Reopen, claimed, logged, session, step

from agents.ids import SessionId
from agents.store.batch import Kind, change_of
from benchmarks.raw_log import open_raw


async def test_the_bare_database_writes_the_same_rows_as_the_log(reopen: Reopen, location: str) -> None:
    store = await reopen()
    lease = await claimed(store)
    first, second = step(lease, session()), step(lease, session())
    for commit in (first, second):
        await store.log.create(commit)
    events = [logged(n=n) for n in range(3)]
    by_log = step(lease, first.record, *events, title="new", queued=2)
    await store.log.append(by_log)

    other = [replace(event, id=logged().id) for event in events]
    by_hand = step(lease, second.record, *other, title="new", queued=2)
    raw = await open_raw(location)
    await raw.commit([change_of(Kind.APPEND, by_hand)])
    await raw.close()

    loaded = [await store.log.load(SessionId(commit.record.id)) for commit in (by_log, by_hand)]
    assert [each.record for each in loaded] == [by_log.record, by_hand.record]
    assert loaded[1].events == tuple(event.at(n) for n, event in enumerate(other, 1))
    await store.log.append(by_hand)  # its stamp is there too
