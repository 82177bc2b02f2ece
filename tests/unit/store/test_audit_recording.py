"""Entries that wait for the trail: each caller is answered, whatever becomes of the group that it is written in.

Bug class this catches: a fault in one entry after which nobody who records is ever answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.clock import ManualClock, SystemClock
from agents.governance.audit.entries import AuditEntry, EntryQuery
from agents.store.database import SqlStore, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await open_store(tmp_path / "hecaton.db", clock=ManualClock())
    yield opened
    await opened.close()


def act(action: str, **detail: object) -> AuditEntry:
    return AuditEntry(SystemClock().now(), "team-a", action, detail=detail)


async def test_an_entry_that_cannot_be_written_fails_alone(store: SqlStore) -> None:
    acts = [act("one"), act("bad", what=object()), act("two")]
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*map(store.audit.record, acts), return_exceptions=True)
        await store.audit.record(act("three"))
    assert [type(each) for each in outcomes] == [type(None), TypeError, type(None)]
    assert [entry.action for entry in await store.audit.entries(EntryQuery())] == ["one", "two", "three"]
