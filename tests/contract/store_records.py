"""Short ways to say what the contracts are about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agents import ids
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus, Usage
from agents.sessions.log import Commit, Lease
from agents.store.database import SqlStore
from agents.store.memory import MemoryStore
from agents.store.ports import AgentRecord, EnvironmentRecord

AnyStore = MemoryStore | SqlStore
Reopen = Callable[[], Awaitable[SqlStore]]

T0 = datetime(2026, 11, 21, 8, 30, 0, 123457, tzinfo=UTC)


async def claimed_all(store: AnyStore, *partitions: int, owner: str = "one", ttl: float = 10) -> Sequence[Lease]:
    """Join under the owner's name and claim, as a process that starts."""
    generation = await store.leases.join(owner, ttl=ttl)
    leases = await store.leases.claim(owner, generation, partitions, ttl=ttl)
    assert len(leases) == len(partitions)
    return leases


async def claimed(store: AnyStore, partition: int = 1, owner: str = "one", ttl: float = 10) -> Lease:
    (lease,) = await claimed_all(store, partition, owner=owner, ttl=ttl)
    return lease


def session(partition: int = 1, **changes: Any) -> SessionRecord:
    record = SessionRecord(
        id=ids.new_session_id(),
        partition=partition,
        created_at=T0,
        updated_at=T0,
        agent={"name": "crew", "system": "é\n\u2028 \x00 zero", "z": 1, "a": [1.5, None, {"k": True}]},
        agent_id="agent_1",
        agent_version=3,
        environment_id="env_1",
        environment={"config": {"type": "cloud"}},
        thread_id=ids.new_thread_id(),
    )
    return replace(record, **changes)


def full_session(partition: int = 1) -> SessionRecord:
    """A session with every field set."""
    return session(
        partition,
        title="t\x00itle ☃",
        metadata={"b": "2", "a": "1"},
        vault_ids=("vlt_1", "vlt_2"),
        resources=({"id": "sesrsc_1", "wire": {"type": "file", "mount_path": "/é"}},),
        budget={"type": "list_cost", "amount": "500"},
        status=SessionStatus.RESCHEDULING,
        stop_reason={"type": "requires_action", "event_ids": ["sevt_1"]},
        queued=0,
        usage=Usage(1, 2, 3, 4, 5, 2**53 + 1, 6, 7),
        active_seconds=1.25,
        running_since=T0.replace(microsecond=999_999),
        archived_at=T0.replace(year=2027),
        principal="team-a",
        dispatched={"sevt_2": "host-0/ab12"},
        workspace_host="host-0",
        workspace_version=3,
        epoch=4,
        topology="monolith",
        deployment_id="depl_1",
        outcomes=({"outcome_id": "outc_1", "description": "d\x00 \u2603", "result": "pending", "explanation": None},),
    )


def logged(type_: EventType = EventType.AGENT_MESSAGE, moment: datetime = T0, **body: Any) -> Event:
    return Event(ids.new_event_id(), type_, body or {"content": [{"type": "text", "text": "hi"}]}, moment)


def waiting(type_: EventType = EventType.USER_MESSAGE, **body: Any) -> Event:
    return Event(ids.new_event_id(), type_, body or {"content": [{"type": "text", "text": "go"}]}, None)


def step(lease: Lease, before: SessionRecord, *events: Event, **changes: Any) -> Commit:
    """The commit that brings *events* into the log of *before*; the new row is its ``record``."""
    queue, consume = changes.pop("queue", ()), changes.pop("consume", ())
    record = replace(before, seq=before.seq + len(events), **changes)
    return Commit(lease, before.seq, record, tuple(events), tuple(queue), tuple(consume))


def agent(number: int = 1, **changes: Any) -> AgentRecord:
    record = AgentRecord(f"agent_{number:04}", 1, {"name": f"n{number}", "z": 1, "a": 2}, T0, T0)
    return replace(record, **changes)


def environment(number: int = 1, **changes: Any) -> EnvironmentRecord:
    record = EnvironmentRecord(f"env_{number:04}", f"name {number}", {"config": {"type": "cloud"}}, T0, T0)
    return replace(record, **changes)
