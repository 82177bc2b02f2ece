"""The store in memory: for unit tests and for trying things out; it forgets with its process.

It keeps the same rows as the databases, made by the same codec and judged by the same decision, so
that a unit test on it learns what the real store would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from agents.clock import Clock, SystemClock
from agents.economics.meter import MemoryMeter
from agents.errors import LogConflict, NotFound
from agents.governance.audit.chain import session_link
from agents.ids import EventId, SessionId
from agents.sessions.events import Event, SessionStatus
from agents.sessions.log import Commit, Lease, LeaseTable, SessionSnapshot
from agents.store.api_keys import MemoryApiKeys
from agents.store.batch import Change, Holder, Kind, Stored, change_of, decide, deletion_news, deletion_of
from agents.store.call_records import MemoryCallRecords
from agents.store.codec import Row, event_of, micros, moment_at, queued_event_of, thread_of
from agents.store.hand_releases import MemoryHandReleases
from agents.store.leases import FREE, LEFT, check_generation, claimable, claimed, expiry
from agents.store.log_chain import chain_rows
from agents.store.memory_agent_memory import MemoryAgentMemory
from agents.store.memory_audit import MemoryAuditTrail
from agents.store.memory_catalog import MemoryAgents, MemoryEnvironments, MemorySessions
from agents.store.memory_deployments import MemoryDeployments
from agents.store.memory_files import MemoryFiles
from agents.store.memory_hands import MemoryHandRecords
from agents.store.memory_owners import MemoryOwners
from agents.store.memory_releases import MemoryReleases
from agents.store.memory_sessions import StoredSession
from agents.store.memory_skills import MemorySkills
from agents.store.memory_vaults import MemoryVaults
from agents.store.memory_work import MemoryEnvironmentKeys, MemoryWorkQueue
from agents.store.webhook_registrations import MemoryRegistrations
from agents.store.webhooks import MemoryOutbox
from agents.store.work_rows import work_of


class MemoryLeases:
    """The Leases of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[int, Row] = {}
        self.members: dict[str, Row] = {}

    async def join(self, name: str, *, ttl: float) -> int:
        row = self.members.setdefault(name, {"generation": 0, "expires_at": 0})
        row.update(generation=row["generation"] + 1, expires_at=expiry(self._clock, ttl))
        for orphan in self.rows.values():
            if orphan["owner"] == name:
                orphan.update(owner=None)
        return row["generation"]

    async def claim(self, name: str, generation: int, partitions: Sequence[int], *, ttl: float) -> Sequence[Lease]:
        check_generation(self.members.get(name), name, generation)
        now, taken = micros(self._clock.now()), list[Lease]()
        for partition in sorted(set(partitions)):
            row = self.rows.setdefault(partition, {"partition": partition, **FREE})
            if claimable(row, name, now):
                taken.append(lease := claimed(row, name))
                row.update(owner=name, epoch=lease.epoch, expires_at=expiry(self._clock, ttl))
        return taken

    async def renew(self, name: str, generation: int, *, ttl: float, staying: bool = True) -> Sequence[Lease]:
        check_generation(self.members.get(name), name, generation)
        self.members[name]["expires_at"] = expiry(self._clock, ttl if staying else 0)
        mine = {partition: row for partition, row in sorted(self.rows.items()) if row["owner"] == name}
        for row in mine.values():
            row["expires_at"] = expiry(self._clock, ttl)
        return [Lease(partition, name, row["epoch"]) for partition, row in mine.items()]

    async def release(self, name: str, generation: int, partitions: Sequence[int]) -> None:
        check_generation(self.members.get(name), name, generation)
        for partition, row in self.rows.items():
            if row["owner"] == name and partition in partitions:
                row.update(owner=None, expires_at=0)

    async def leave(self, name: str, generation: int) -> None:
        member = self.members.get(name)
        if member is None or member["generation"] != generation:
            return
        member["expires_at"] = LEFT
        self._free(name)

    async def table(self) -> LeaseTable:
        now = micros(self._clock.now())
        owners = {
            partition: row["owner"]
            for partition, row in self.rows.items()
            if row["owner"] is not None and row["expires_at"] > now
        }
        return LeaseTable(owners, tuple(sorted(n for n, row in self.members.items() if row["expires_at"] > now)))

    def _free(self, name: str) -> None:
        for row in self.rows.values():
            if row["owner"] == name:
                row.update(owner=None, expires_at=0)

    def holder(self, partition: int) -> Holder | None:
        row = self.rows.get(partition)
        return Holder(row["owner"], row["epoch"]) if row else None


class MemoryEventLog:
    """The EventLog of one process; a change is atomic because nothing in it awaits."""

    def __init__(
        self, leases: MemoryLeases, clock: Clock, tell: Callable[[Iterable[Row]], None] = lambda _: None
    ) -> None:
        """*tell* takes what webhooks are to be told, as rows."""
        self._leases = leases
        self._clock = clock
        self._tell = tell
        self.calls = MemoryCallRecords(self._events_with_state, clock)
        self.work = MemoryWorkQueue(clock, self._session_row)
        self.sessions: dict[str, StoredSession] = {}
        self.audit = MemoryAuditTrail(clock, self.sessions)
        self._deleted: dict[SessionId, Change] = {}
        self._event_ids: set[str] = set()

    async def create(self, commit: Commit) -> None:
        self._write(change_of(Kind.CREATE, commit))

    async def append(self, commit: Commit) -> None:
        self._write(change_of(Kind.APPEND, commit))

    async def delete(self, lease: Lease, session_id: SessionId) -> None:
        self._write(deletion_of(lease, session_id, self._clock.now()))

    async def load(self, session_id: SessionId) -> SessionSnapshot:
        stored = self.stored(session_id)
        events = tuple(map(event_of, stored.events))
        queued = tuple(map(queued_event_of, stored.queue.values()))
        return SessionSnapshot(stored.record(), events, queued, tuple(map(thread_of, stored.threads.values())))

    async def read(self, session_id: SessionId, *, after: int, limit: int) -> Sequence[Event]:
        stored = self.sessions.get(session_id)
        start = max(after, 0)  # the event at position n is element n - 1
        return [event_of(row) for row in stored.events[start : start + limit]] if stored else []

    async def unfinished(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        wanted, working = set(partitions), (SessionStatus.RUNNING.value, SessionStatus.RESCHEDULING.value)
        return sorted(
            SessionId(name)
            for name, stored in self.sessions.items()
            if stored.session["partition"] in wanted and (stored.session["status"] in working or stored.queue)
        )

    async def changed_since(self, partitions: Sequence[int], since: datetime) -> Sequence[SessionId]:
        wanted, least = set(partitions), micros(since)
        return sorted(
            SessionId(name)
            for name, stored in self.sessions.items()
            if stored.session["partition"] in wanted and stored.session["updated_at"] >= least
        )

    async def deleted(self, partitions: Sequence[int]) -> Sequence[SessionId]:
        return sorted(name for name, change in self._deleted.items() if change.partition in partitions)

    async def forget_deleted(self, session_id: SessionId) -> None:
        self._deleted.pop(session_id, None)

    def has(self, session_id: str) -> bool:
        """Whether there is such a session."""
        return session_id in self.sessions

    def stored(self, session_id: str) -> StoredSession:
        """Raises NotFound."""
        stored = self.sessions.get(session_id)
        if stored is None:
            raise NotFound(f"session {session_id} not found")
        return stored

    def position(self, session_id: str, event_id: EventId | str) -> int | None:
        stored = self.sessions.get(session_id)
        return next((row["seq"] for row in stored.events if row["id"] == event_id), None) if stored else None

    def _write(self, change: Change) -> None:
        stored = self.sessions.get(change.session_id)
        partition = change.lease.partition
        holder = self._leases.holder(partition)
        heads = {change.session_id: stored.head()} if stored else {}
        deletion = self._deleted.get(SessionId(change.session_id))
        deleted = {change.session_id: deletion.stamp} if deletion else {}
        state = Stored({partition: holder} if holder else {}, heads, deleted, self.audit.held)
        (refusal,), accepted = decide([change], state)
        if refusal is not None:
            raise refusal
        if not accepted:
            return
        if change.kind is Kind.DELETE:
            self.audit.note_deleted(change.session_id)
            gone = self.sessions.pop(change.session_id)
            self._tell([deletion_news(change, gone.session["workspace_id"])])
            self.work.remove(change.session_id)
            self._deleted[SessionId(change.session_id)] = change
            self._event_ids.difference_update(row["id"] for row in gone.events)
            return
        self._refuse_known_ids(change, stored)
        if stored is None:
            stored = self.sessions[change.session_id] = StoredSession({})
        stored.session = {**change.session, **change.snapshot()}
        last = stored.events[-1]["link"] if stored.events else session_link(change.session_id)
        chain_rows(change.events, last)
        stored.events.extend(change.events)
        self.calls.rows |= {row["key"]: row for row in change.calls}
        self._event_ids.update(row["id"] for row in change.events)
        stored.threads |= {row["id"]: row for row in change.new_threads}
        stored.threads |= {row["id"]: {**stored.threads[row["id"]], **row} for row in change.threads}
        stored.queue.update((row["id"], row) for row in change.queue)
        for event_id in change.consume:
            stored.queue.pop(event_id, None)
        if change.wanted is not None:
            self.work.want(work_of(change.wanted))
        if change.over is not None:
            self.work.end(change.session_id, moment_at(change.over["stopped_at"]))
        self._tell(change.news)

    def _events_with_state(self) -> Iterator[Row]:
        for stored in self.sessions.values():
            for row in stored.events:
                yield {**row, "session_state": stored.session["state"]}

    def _session_row(self, session_id: str) -> Row | None:
        stored = self.sessions.get(session_id)
        return None if stored is None else stored.session

    def _refuse_known_ids(self, change: Change, stored: StoredSession | None) -> None:
        logged = [row["id"] for row in change.events]
        queued = [row["id"] for row in change.queue]
        repeated = len(set(logged)) < len(logged) or len(set(queued)) < len(queued)
        known = not self._event_ids.isdisjoint(logged) or (stored and not stored.queue.keys().isdisjoint(queued))
        if repeated or known:
            raise LogConflict(f"session {change.session_id}: an id is already stored")


class MemoryStore:
    """Every port of the store in one process's memory."""

    def __init__(self, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        self.leases = MemoryLeases(clock)
        # The audit trail is the log's, and the outbox records in it.
        self.webhooks = MemoryOutbox(lambda entry: self.audit.add(entry))
        self.webhook_registrations = MemoryRegistrations(self.webhooks)
        announce = self.webhook_registrations.announce
        self.log = MemoryEventLog(self.leases, clock, self.webhook_registrations.write)
        self.work = self.log.work
        self.calls = self.log.calls
        self.audit = self.log.audit
        self.environment_keys = MemoryEnvironmentKeys(clock)
        self.agents = MemoryAgents(announce)
        self.sessions = MemorySessions(self.log)
        self.environments = MemoryEnvironments(self.log, clock, forget=self.environment_keys.forget, announce=announce)
        self.meter = MemoryMeter()
        self.releases = MemoryReleases(self.audit.add)
        self.vaults = MemoryVaults(clock, announce)
        self.memory = MemoryAgentMemory(clock, announce)
        self.skills = MemorySkills()
        self.api_keys = MemoryApiKeys()
        self.files = MemoryFiles(self.log.has)
        self.deployments = MemoryDeployments(announce, self.audit.add)
        self.owners = MemoryOwners(
            self.agents,
            self.environments,
            self.sessions,
            self.vaults,
            self.memory,
            self.files,
            self.skills,
            self.deployments,
        )
        self.hands = MemoryHandRecords()
        self.hand_releases = MemoryHandReleases(self.audit.add)

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        return
