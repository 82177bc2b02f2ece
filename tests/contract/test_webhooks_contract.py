"""What every store tells webhooks, and to whom (ports: agents.webhooks.registrations, agents.webhooks.outbox).

Bug class this catches: a change that is committed and not told, or told and not committed; news of another workspace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from store_records import T0, AnyStore, agent, claimed, environment, logged, session, step

from agents.deployments.records import DeploymentRecord, Reservation, RunRecord
from agents.errors import Conflict, Fenced, NotFound
from agents.governance.audit.entries import SYSTEM, AuditEntry
from agents.ids import SessionId
from agents.listing import Listing
from agents.memory.records import MemoryStoreRecord
from agents.sessions.events import EventType
from agents.vaults.envelope import Sealed, WrappedKey
from agents.vaults.records import CredentialRecord, Renewal, RenewalFailure, VaultRecord
from agents.webhooks.outbox import Delivery
from agents.webhooks.registrations import Registration

LATER = T0 + timedelta(days=400)
SEALED = Sealed(WrappedKey("mk_1", "a2V5"), {"secret": "c2VhbGVk"})
NOW: Any = {"now": T0, "most": 10, "expired": T0}
STOP = {"stop_reason": {"type": "end_turn"}, "stop_details": None}


def endpoint(number: int = 1, **changes: Any) -> Registration:
    return replace(Registration(f"whk_{number:04}", "default", "https://hooks.example/x", SEALED, T0), **changes)


async def register(store: AnyStore, *endpoints: Registration) -> None:
    for each in endpoints:
        await store.webhook_registrations.insert(each, most=10)


async def taken(store: AnyStore, of: str = "whk_0001") -> Sequence[Delivery]:
    return await store.webhooks.take({of: 100}, now=LATER, until=LATER + timedelta(days=1))


async def told(store: AnyStore, of: str = "whk_0001") -> list[tuple[str, str]]:
    """Return what waits for an endpoint: names, and what they are about; those are then gone."""
    found: list[tuple[str, str]] = []
    for each in await taken(store, of):
        event = orjson.loads(each.body)
        assert event["id"] == each.message_id
        found.append((event["data"]["type"], event["data"]["id"]))
        await store.webhooks.delivered(each)
    return sorted(found)


async def test_what_is_registered_is_read_back_and_listed(store: AnyStore) -> None:
    one, other = endpoint(events=("agent.created", "agent.archived")), endpoint(2, workspace_id="team-a")
    await register(store, one, other)
    every = store.webhook_registrations
    assert await every.get(one.id) == one
    assert await every.list(Listing(order="asc")) == [one, other]
    assert await every.list(Listing(workspace_id="team-a")) == [other]


@pytest.mark.parametrize("name", ["whk_x", "\x00", "\ud800"])
async def test_what_is_not_registered_is_not_found(store: AnyStore, name: str) -> None:
    every = store.webhook_registrations
    for call in (every.get(name), every.enable(name), every.delete(name)):
        with pytest.raises(NotFound):
            await call


async def test_endpoints_are_bounded(store: AnyStore) -> None:
    await store.webhook_registrations.insert(endpoint(), most=1)
    with pytest.raises(Conflict):
        await store.webhook_registrations.insert(endpoint(2), most=1)


async def test_the_catalog_tells_what_becomes_of_agents_and_environments(store: AnyStore) -> None:
    await register(store, endpoint())
    made, place = agent(), environment()
    await store.agents.insert(made)
    await store.agents.update(replace(made, version=2), expected_version=1)
    await store.agents.archive(made.id, T0)
    await store.agents.archive(made.id, LATER)  # already is
    await store.environments.insert(place)
    await store.environments.update(replace(place, name="n"))
    await store.environments.update(replace(place, archived_at=T0))
    await store.environments.delete(place.id)
    assert await told(store) == [
        *((f"agent.{what}", made.id) for what in ("archived", "created", "updated")),
        *((f"environment.{what}", place.id) for what in ("archived", "created", "deleted", "updated")),
    ]


async def test_what_is_refused_is_not_told(store: AnyStore) -> None:
    await register(store, endpoint())
    await store.agents.insert(agent())
    await store.environments.insert(environment())
    await told(store)
    with pytest.raises(Conflict):
        await store.agents.insert(agent())
    with pytest.raises(Conflict):
        await store.agents.update(agent(version=9), expected_version=8)
    with pytest.raises(Conflict):
        await store.environments.insert(environment(2, name=environment().name))
    assert await told(store) == []


async def test_vaults_tell_what_becomes_of_them_and_their_credentials(store: AnyStore) -> None:
    await register(store, endpoint())
    vault = VaultRecord("vlt_1", "", {"display_name": "v", "metadata": {}}, T0, T0)
    body = {"display_name": None, "metadata": {}, "auth": {"type": "static_bearer", "mcp_server_url": "https://h/"}}
    made = [CredentialRecord(f"vcrd_{n}", vault.id, f"url:https://h/{n}", body, SEALED, T0, T0) for n in range(4)]
    vaults = store.vaults
    await vaults.insert(vault)
    for each in made:
        await vaults.insert_credential(each)
    failure = Renewal(failure=RenewalFailure("400 invalid_grant", transient=False))
    passing = Renewal(failure=RenewalFailure("503", transient=True))
    for renewal in (passing, failure, failure):
        await vaults.change_credential(vault.id, "vcrd_0", lambda stored, now=renewal: replace(stored, renewal=now))
    await vaults.change_credential(vault.id, "vcrd_1", lambda stored: replace(stored, archived_at=T0))
    await vaults.delete_credential(vault.id, "vcrd_2")
    [first, *_] = [each for each in await taken(store) if b"refresh_failed" in each.body.encode()]
    assert orjson.loads(first.body)["data"]["vault_id"] == vault.id
    await vaults.archive(vault.id, T0)
    await vaults.archive(vault.id, T0)
    await vaults.delete(vault.id)
    late = await store.webhooks.take({"whk_0001": 100}, now=LATER + timedelta(days=2), until=LATER + timedelta(days=3))
    names = sorted((orjson.loads(each.body)["data"]["type"], orjson.loads(each.body)["data"]["id"]) for each in late)
    assert names == [
        ("vault.archived", "vlt_1"),
        ("vault.created", "vlt_1"),
        ("vault.deleted", "vlt_1"),
        *(("vault_credential.archived", f"vcrd_{n}") for n in (0, 1, 3)),
        *(("vault_credential.created", f"vcrd_{n}") for n in range(4)),
        ("vault_credential.deleted", "vcrd_2"),
        ("vault_credential.refresh_failed", "vcrd_0"),
    ]


def deployed(**changes: Any) -> DeploymentRecord:
    cron = {"type": "cron", "expression": "0 * * * *", "timezone": "UTC"}
    body = {"name": "d", "agent": {"type": "agent", "id": "agent_1", "version": 1}, "schedule": cron}
    return replace(DeploymentRecord("depl_1", "", body, T0, T0, next_at=T0, due_at=T0), **changes)


def run(number: int, **changes: Any) -> RunRecord:
    made = RunRecord(
        f"drun_{number}",
        "depl_1",
        {"type": "agent", "id": "agent_1", "version": 1},
        "manual",
        Reservation(f"sesn_{number}", 1, None, T0),
        T0,
        taken_until=LATER,
    )
    return replace(made, **changes)


async def test_deployments_tell_what_becomes_of_them(store: AnyStore) -> None:
    await register(store, endpoint())
    await store.deployments.insert(deployed(), most=10)
    assert await told(store) == [("deployment.created", "depl_1")]
    changes: list[tuple[str | None, dict[str, Any]]] = [
        ("updated", {"body": {**deployed().body, "name": "n"}}),
        ("paused", {"paused_reason": {"type": "manual"}}),
        (None, {"paused_reason": {"type": "error", "error": {"type": "unknown_error"}}}),
        ("unpaused", {"paused_reason": None}),
        ("updated", {"body": {**deployed().body, "resources": [{"wire": {}, "key": ["mk_1", "a"], "fields": {}}]}}),
        (None, {"body": {**deployed().body, "resources": [{"wire": {}, "key": ["mk_2", "b"], "fields": {}}]}}),
        (None, {"next_at": LATER, "due_at": LATER, "last_run_at": T0}),
        ("archived", {"archived_at": T0}),
        (None, {"archived_at": LATER}),
    ]
    for name, change in changes:
        await store.deployments.change("depl_1", lambda stored, change=change: replace(stored, **change))
        assert await told(store) == ([(f"deployment.{name}", "depl_1")] if name else [])


async def test_runs_tell_that_they_begin_and_how_they_end(store: AnyStore) -> None:
    await register(store, endpoint())
    every = store.deployments
    await every.insert(deployed(), most=10)
    await told(store)
    await every.begin(run(1))
    fired = run(2, trigger="schedule", scheduled_at=T0)
    assert await every.fire(deployed(), lambda stored: replace(stored, next_at=LATER, due_at=LATER), fired)
    assert not await every.fire(deployed(), lambda stored: stored, run(3))
    assert await told(store) == [("deployment_run.started", f"drun_{number}") for number in (1, 2)]
    ended = replace(run(1), session_id="sesn_1", taken_until=None)
    assert await every.settle(ended, lambda stored: stored)
    assert not await every.settle(ended, lambda stored: stored)
    assert await told(store) == [("deployment_run.succeeded", "drun_1")]
    why = {"type": "agent_archived_error", "message": "m"}
    reason = {"type": "error", "error": {"type": why["type"]}}
    failed = replace(fired, error=why, taken_until=None)
    assert await every.settle(failed, lambda stored: replace(stored, paused_reason=reason, due_at=None))
    assert await told(store) == [("deployment.paused", "depl_1"), ("deployment_run.failed", "drun_2")]


async def test_memory_stores_tell_what_becomes_of_them(store: AnyStore) -> None:
    await register(store, endpoint())
    made = MemoryStoreRecord("memstore_1", {"name": "m", "description": "", "metadata": {}}, T0, T0)
    await store.memory.insert(made)
    await store.memory.change(made.id, lambda stored: replace(stored, body={**stored.body, "name": "n"}))
    await store.memory.archive(made.id, T0)
    await store.memory.archive(made.id, LATER)
    await store.memory.delete(made.id)
    names = ("archived", "created", "deleted")
    assert await told(store) == [(f"memory_store.{what}", made.id) for what in names]


async def test_sessions_tell_in_the_commit_of_what_they_tell(store: AnyStore) -> None:
    await register(store, endpoint())
    lease = await claimed(store)
    commit = step(lease, session(lease.partition))
    await store.log.create(commit)
    record, name = commit.record, commit.record.id
    assert await told(store) == [("session.created", name)]
    turn = step(lease, record, logged(EventType.SESSION_RUNNING, x=1), logged(), logged(EventType.SESSION_IDLE, **STOP))
    await store.log.append(turn)
    await store.log.append(turn)  # an attempt whose outcome nobody heard
    names = ("idled", "running", "status_idled", "status_run_started")
    assert await told(store) == [(f"session.{each}", name) for each in names]
    with pytest.raises(Fenced):
        stale = replace(lease, epoch=lease.epoch + 1)
        await store.log.append(step(stale, turn.record, logged(EventType.SESSION_UPDATED, title="t")))
    assert await told(store) == []
    await store.log.delete(lease, SessionId(name))
    assert await told(store) == [("session.deleted", name)]


async def test_commits_that_travel_together_tell_each_its_own(store: AnyStore) -> None:
    await register(store, endpoint(), endpoint(2, events=("session.created",)))
    lease = await claimed(store)
    made = [step(lease, session(lease.partition), logged(EventType.SESSION_RUNNING, x=1)) for _ in range(5)]
    await asyncio.gather(*map(store.log.create, made))
    ids = sorted(each.record.id for each in made)
    assert await told(store, "whk_0002") == [("session.created", each) for each in ids]
    assert len(await told(store)) == 15


async def test_an_endpoint_hears_of_its_workspace_and_of_what_it_asked_for(store: AnyStore) -> None:
    await register(store, endpoint(events=("agent.archived",)), endpoint(2, workspace_id="team-a"))
    await store.agents.insert(agent())
    await store.agents.insert(agent(2, workspace_id="team-a"))
    await store.agents.archive(agent().id, T0)
    assert await told(store) == [("agent.archived", agent().id)]
    assert await told(store, "whk_0002") == [("agent.created", agent(2).id)]


async def test_one_that_is_given_up_is_disabled_until_it_is_enabled(store: AnyStore) -> None:
    await register(store, endpoint())
    await store.agents.insert(agent())
    await store.agents.insert(agent(2))
    [first, _] = await taken(store)
    entry = AuditEntry(T0, SYSTEM, "disableWebhook", first.endpoint)
    outbox, every = store.webhooks, store.webhook_registrations
    assert await outbox.give_up(first, patience=1, until=None, entry=entry, reason="status 301")
    assert await every.get(first.endpoint) == endpoint(disabled_at=T0, disabled_reason="status 301")
    assert await every.list(Listing()) == []
    assert await every.list(Listing(include_archived=True)) == [await every.get(first.endpoint)]
    await store.agents.insert(agent(3))
    assert await told(store) == []
    # A commit that began before it was disabled may end after.
    await outbox.add("whe_late", '{"id": "whe_late", "data": {"type": "late", "id": ""}}', [first.endpoint], **NOW)
    assert await every.enable(first.endpoint) == endpoint()
    await store.agents.insert(agent(4))
    assert await every.enable(first.endpoint) == endpoint(), "which takes nothing from one that is enabled"
    assert await told(store) == [("agent.created", agent(4).id)]


async def test_one_that_is_deleted_leaves_nothing(store: AnyStore) -> None:
    await register(store, endpoint())
    await store.agents.insert(agent())
    await store.webhook_registrations.delete("whk_0001")
    await store.agents.insert(agent(2))
    assert await told(store) == []
    await register(store, endpoint())
    assert await told(store) == []


async def test_what_waits_is_bounded_by_number_and_by_age(store: AnyStore) -> None:
    await register(store, endpoint())
    for number in range(1, 4):
        await store.agents.insert(agent(number, created_at=T0 + timedelta(seconds=number)))
        if number == 1:
            await register(store, endpoint(2))
    outbox = store.webhooks
    assert await outbox.bound(most=3, expired=T0) == {}
    assert await outbox.bound(most=2, expired=T0) == {"whk_0001": 1}
    assert await told(store) == [("agent.created", agent(number).id) for number in (2, 3)]
    assert await outbox.bound(most=2, expired=T0 + timedelta(seconds=3)) == {}
    assert await told(store, "whk_0002") == [("agent.created", agent(3).id)]


async def test_a_secret_is_sealed_anew_only_as_it_was(store: AnyStore) -> None:
    await register(store, endpoint())
    fresh = Sealed(WrappedKey("mk_2", "bmV3"), SEALED.fields)
    every = store.webhook_registrations
    await every.reseal("whk_0001", replace(SEALED, key=WrappedKey("mk_0", "a2V5")), fresh)
    assert (await every.get("whk_0001")).sealed == SEALED
    await every.reseal("whk_0001", SEALED, fresh)
    assert (await every.get("whk_0001")).sealed == fresh
