"""Every name of the SDK's union is told by something that happens, or is listed as never told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from agents.deployments.records import DeploymentRecord, Reservation, RunRecord
from agents.ids import SessionId, new_event_id
from agents.memory.records import MemoryStoreRecord
from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.log import Commit
from agents.store.memory import MemoryStore
from agents.store.ports import AgentRecord, EnvironmentRecord
from agents.vaults.envelope import Sealed, WrappedKey
from agents.vaults.records import CredentialRecord, Renewal, RenewalFailure, VaultRecord
from agents.webhooks.names import EVENT_NAMES, NEVER_TOLD
from agents.webhooks.registrations import Registration

T0 = datetime(2026, 11, 22, tzinfo=UTC)
LATER = T0 + timedelta(days=400)
SEALED = Sealed(WrappedKey("mk_1", "a2V5"), {"secret": "c2VhbGVk"})


async def agents_live(store: MemoryStore) -> None:
    made = AgentRecord("agent_1", 1, {"name": "a"}, T0, T0)
    await store.agents.insert(made)
    await store.agents.update(replace(made, version=2), expected_version=1)
    await store.agents.archive(made.id, T0)


async def environments_live(store: MemoryStore) -> None:
    made = EnvironmentRecord("env_1", "e", {"config": {"type": "cloud"}}, T0, T0)
    await store.environments.insert(made)
    await store.environments.update(replace(made, name="n"))
    await store.environments.update(replace(made, archived_at=T0))
    await store.environments.delete(made.id)


async def vaults_live(store: MemoryStore) -> None:
    vault = VaultRecord("vlt_1", "", {"display_name": "v", "metadata": {}}, T0, T0)
    auth = {"type": "static_bearer", "mcp_server_url": "https://h/"}
    made = CredentialRecord("vcrd_1", vault.id, "url:https://h/", {"auth": auth}, SEALED, T0, T0)
    failed = Renewal(failure=RenewalFailure("400 invalid_grant", transient=False))
    await store.vaults.insert(vault)
    await store.vaults.insert_credential(made)
    await store.vaults.change_credential(vault.id, made.id, lambda stored: replace(stored, renewal=failed))
    await store.vaults.change_credential(vault.id, made.id, lambda stored: replace(stored, archived_at=T0))
    await store.vaults.delete_credential(vault.id, made.id)
    await store.vaults.archive(vault.id, T0)
    await store.vaults.delete(vault.id)


async def memory_stores_live(store: MemoryStore) -> None:
    made = MemoryStoreRecord("memstore_1", {"name": "m", "description": "", "metadata": {}}, T0, T0)
    await store.memory.insert(made)
    await store.memory.archive(made.id, T0)
    await store.memory.delete(made.id)


async def deployments_live(store: MemoryStore) -> None:
    agent = {"type": "agent", "id": "agent_1", "version": 1}
    made = DeploymentRecord("depl_1", "", {"name": "d", "agent": agent, "schedule": None}, T0, T0)
    changes: list[dict[str, Any]] = [
        {"body": {**made.body, "name": "n"}},
        {"paused_reason": {"type": "manual"}},
        {"paused_reason": None},
        {"archived_at": T0},
    ]
    await store.deployments.insert(made, most=1)
    ends: list[dict[str, Any]] = [{"session_id": "sesn_2"}, {"error": {"type": "unknown_error", "message": ""}}]
    for number, end in enumerate(ends):
        run = RunRecord(f"drun_{number}", made.id, agent, "manual", Reservation("sesn_2", 1, None, T0), T0)
        await store.deployments.begin(replace(run, taken_until=T0))
        await store.deployments.settle(replace(run, **end), lambda stored: stored)
    for change in changes:
        await store.deployments.change(made.id, lambda stored, change=change: replace(stored, **change))


async def sessions_live(store: MemoryStore) -> None:
    record = SessionRecord("sesn_1", 1, T0, T0, {"name": "a"}, "agent_1", 1, "env_1", {}, "sthr_1")
    generation = await store.leases.join("one", ttl=10)
    (lease,) = await store.leases.claim("one", generation, [1], ttl=10)
    await store.log.create(Commit(lease, 0, record))
    stops = [{"stop_reason": {"type": why}} for why in ("end_turn", "requires_action", "budget_reached")]
    events = [Event(new_event_id(), EventType.SESSION_IDLE, stop, T0) for stop in stops]
    events += [Event(new_event_id(), type_, {}, T0) for type_ in EventType if type_ is not EventType.SESSION_IDLE]
    record = replace(record, seq=len(events), archived_at=LATER, updated_at=LATER)
    await store.log.append(Commit(lease, 0, record, tuple(events)))
    await store.log.delete(lease, SessionId(record.id))


LIVES = [agents_live, environments_live, vaults_live, memory_stores_live, deployments_live, sessions_live]


@pytest.fixture
async def told() -> set[str]:
    """The names of all that is told when everything happens that can."""
    store = MemoryStore()
    await store.webhook_registrations.insert(Registration("whk_1", "default", "https://h/", SEALED, T0), most=1)
    for live in LIVES:
        await live(store)
    waiting = await store.webhooks.take({"whk_1": 1000}, now=LATER, until=LATER)
    return {orjson.loads(each.body)["data"]["type"] for each in waiting}


async def test_every_name_is_told_or_listed_as_never_told(told: set[str]) -> None:
    assert told == EVENT_NAMES - set(NEVER_TOLD)


def test_what_is_never_told_may_be_asked_for_and_has_its_reason() -> None:
    assert set(NEVER_TOLD) <= EVENT_NAMES
    assert all(NEVER_TOLD.values())
