"""Keys of environments and the queue of work, in one process's memory: the same rows under the same rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from agents.clock import Clock
from agents.errors import NotFound
from agents.listing import Listing
from agents.store.codec import RowView
from agents.store.environment_keys import too_many, unknown
from agents.store.memory_catalog import memory_page
from agents.store.work import PRESENCE_SECONDS
from agents.store.work_rows import standing_of
from agents.workers import rules
from agents.workers.credentials import digest_of, new_sessions_token
from agents.workers.records import EnvironmentKeyRecord, QueueStats, WorkCounts, WorkItem, WorkState

T = TypeVar("T")


class MemoryEnvironmentKeys:
    """The EnvironmentKeys of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, EnvironmentKeyRecord] = {}

    async def insert(self, key: EnvironmentKeyRecord, *, most: int) -> None:
        good = [each for each in self._of(key.environment_id) if each.revoked_at is None]
        if len(good) >= most:
            raise too_many(key.environment_id, most)
        self._keys[key.id] = key

    async def find(self, digest: str) -> EnvironmentKeyRecord | None:
        return next((key for key in self._keys.values() if key.digest == digest), None)

    async def revoke(self, environment_id: str, key_id: str) -> EnvironmentKeyRecord:
        key = self._keys.get(key_id)
        if key is None or key.environment_id != environment_id:
            raise unknown(environment_id, key_id)
        key = self._keys[key_id] = replace(key, revoked_at=key.revoked_at or self._clock.now())
        return key

    async def list(self, environment_id: str, query: Listing) -> Sequence[EnvironmentKeyRecord]:
        return memory_page(self._of(environment_id), replace(query, include_archived=True))

    def forget(self, environment_id: str) -> None:
        """Let go of the keys of an environment that is no more."""
        self._keys = {name: key for name, key in self._keys.items() if key.environment_id != environment_id}

    def _of(self, environment_id: str) -> list[EnvironmentKeyRecord]:
        return [key for key in self._keys.values() if key.environment_id == environment_id]


class MemoryWorkQueue:
    """The WorkQueue of one process; a change is atomic because nothing in it awaits."""

    def __init__(self, clock: Clock, session_row: Callable[[str], RowView | None]) -> None:
        """*session_row* returns the stored row of a session, None when there is none."""
        self._clock = clock
        self._session_row = session_row
        self.counts = WorkCounts()
        self._items: dict[str, WorkItem] = {}
        self._pollers: dict[tuple[str, str], datetime] = {}

    async def claim(self, environment_id: str, *, reclaim_seconds: float) -> tuple[WorkItem, str] | None:
        now = self._clock.now()
        self._sweep(environment_id, now)
        live = sorted(self._live(environment_id), key=lambda item: (item.created_at, item.id))
        item = next((each for each in live if rules.claimable(each, now, reclaim_seconds)), None)
        if item is None:
            return None
        rules.count_claim(self.counts, item, now)
        token = new_sessions_token(item.id)
        item = self._items[item.id] = rules.claimed(item, now, digest_of(token))
        return item, token

    def _sweep(self, environment_id: str, now: datetime) -> None:
        for item in self._live(environment_id):
            if item.state is WorkState.STOPPING and rules.expired(item, now):
                self._stop(item, force=True, by_worker=True)

    async def waiting(self, environment_ids: Sequence[str]) -> Mapping[str, int]:
        now, seconds = self._clock.now(), rules.DEFAULT_RECLAIM_SECONDS
        counted = {
            each: sum(rules.claimable(item, now, seconds) for item in self._live(each)) for each in environment_ids
        }
        return {each: number for each, number in counted.items() if number}

    async def acknowledge(self, environment_id: str, work_id: str, *, lease_seconds: int) -> WorkItem:
        item = rules.acknowledged(self._item(environment_id, work_id), self._clock.now(), lease_seconds)
        self._items[work_id] = item
        return item

    async def heartbeat(
        self, environment_id: str, work_id: str, *, expected: str | None, ttl_seconds: int, digest: str | None
    ) -> rules.Beat:
        now, stored = self._clock.now(), self._item(environment_id, work_id)
        item, beat = rules.beaten(stored, now, expected=expected, ttl_seconds=ttl_seconds, digest=digest)
        self._items[work_id] = item
        return beat

    async def stop(
        self, environment_id: str, work_id: str, *, force: bool, by_worker: bool, digest: str | None = None
    ) -> WorkItem:
        return self._stop(self._item(environment_id, work_id), force=force, by_worker=by_worker, digest=digest)

    def _stop(self, item: WorkItem, *, force: bool, by_worker: bool, digest: str | None = None) -> WorkItem:
        row = self._session_row(item.session_id)
        standing = None if row is None else standing_of(row)
        over, successor = rules.stopped(
            item, self._clock.now(), standing, force=force, by_worker=by_worker, digest=digest
        )
        self._items[item.id] = over
        if successor is not None:
            self._items[successor.id] = successor
        return over

    async def get(self, environment_id: str, work_id: str) -> WorkItem:
        return rules.as_of(self._item(environment_id, work_id), self._clock.now())

    async def find(self, work_id: str) -> WorkItem | None:
        return self._items.get(work_id)

    async def change_metadata(
        self, environment_id: str, work_id: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> WorkItem:
        stored = self._item(environment_id, work_id)
        item = self._items[work_id] = replace(stored, metadata=change(stored.metadata))
        return rules.as_of(item, self._clock.now())

    async def list(self, environment_id: str, query: Listing) -> Sequence[WorkItem]:
        mine = [item for item in self._items.values() if item.environment_id == environment_id]
        return [
            rules.as_of(item, self._clock.now()) for item in memory_page(mine, replace(query, include_archived=True))
        ]

    async def seen(self, environment_id: str, worker_id: str) -> None:
        self._pollers[environment_id, worker_id] = self._clock.now()

    async def stats(self, environment_id: str) -> QueueStats:
        now = self._clock.now()
        since = now - timedelta(seconds=PRESENCE_SECONDS)
        polling = sum(key[0] == environment_id and seen >= since for key, seen in self._pollers.items())
        return rules.stats(self._live(environment_id), now, polling)

    async def figures(self) -> Mapping[str, float]:
        now, live, oldest = self._clock.now(), Counter[str](), list[datetime]()
        for item in self._items.values():
            if rules.claimable(item, now, rules.DEFAULT_RECLAIM_SECONDS):
                live["depth"] += 1
                oldest.append(item.available_at)
            elif item.state is not WorkState.STOPPED:
                kind = "pending" if item.claimed_at is not None else "later"
                live["held" if item.state is not WorkState.QUEUED else kind] += 1
        return rules.figures(self.counts, live, now, min(oldest, default=None))

    # -- what the log writes ---------------------------------------------------------------------

    def want(self, item: WorkItem) -> None:
        """Queue *item* unless its session has a live one."""
        if all(each.session_id != item.session_id or each.state is WorkState.STOPPED for each in self._items.values()):
            self._items[item.id] = item

    def end(self, session_id: str, now: datetime) -> None:
        """Hand nothing of the session out any more; a worker that has its item hears of the end from the session."""
        for item in list(self._items.values()):
            if item.session_id == session_id and item.state is WorkState.QUEUED:
                self._items[item.id] = replace(item, state=WorkState.STOPPED, stopped_at=now)

    def remove(self, session_id: str) -> None:
        """Forget the items of a session that is no more."""
        self._items = {key: item for key, item in self._items.items() if item.session_id != session_id}

    def _live(self, environment_id: str) -> list[WorkItem]:
        return [
            item
            for item in self._items.values()
            if item.environment_id == environment_id and item.state is not WorkState.STOPPED
        ]

    def _item(self, environment_id: str, work_id: str) -> WorkItem:
        item = self._items.get(work_id)
        if item is None or item.environment_id != environment_id:
            raise NotFound(f"work {work_id} not found in environment {environment_id}")
        return item
