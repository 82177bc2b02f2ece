"""What the repository of deployments promises (port: agents.deployments.records)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from store_records import T0, AnyStore, claimed, session

from agents.deployments.records import (
    DeploymentListing,
    DeploymentRecord,
    Reservation,
    RunListing,
    RunRecord,
)
from agents.errors import Conflict, InvalidRequest, NotFound
from agents.governance.audit.entries import EntryQuery
from agents.sessions.log import Commit
from agents.store.ports import SessionListing

HOUR = timedelta(hours=1)
CRON = {"type": "cron", "expression": "0 * * * *", "timezone": "Europe/Vienna"}
MOST = 1000


def deployment(number: int = 1, *, scheduled: bool = True, **changes: Any) -> DeploymentRecord:
    body = {
        "name": "é",
        "agent": {"type": "agent", "id": "agent_1", "version": 2},
        "schedule": CRON if scheduled else None,
    }
    made = DeploymentRecord(f"depl_{number:04}", "team", body, T0, T0)
    if scheduled:
        made = replace(made, next_at=T0 + HOUR, due_at=T0 + HOUR + timedelta(seconds=7))
    return replace(made, **changes)


def open_run(number: int = 1, of: int = 1, **changes: Any) -> RunRecord:
    made = RunRecord(
        f"drun_{number:04}",
        deployment(of).id,
        {"type": "agent", "id": "agent_1", "version": 2},
        "schedule",
        Reservation(f"sesn_{number:04}", 7, "monolith", T0),
        T0,
        scheduled_at=T0 + HOUR,
        taken_until=T0 + HOUR,
    )
    return replace(made, **changes)


def settled(run: RunRecord, **changes: Any) -> RunRecord:
    return replace(run, **{"session_id": run.reservation.session_id, "taken_until": None, **changes})


def same(record: DeploymentRecord) -> DeploymentRecord:
    return record


def following(record: DeploymentRecord) -> DeploymentRecord:
    return replace(record, next_at=T0 + 2 * HOUR, due_at=T0 + 2 * HOUR)


@pytest.fixture
async def stored(store: AnyStore) -> AnyStore:
    """A store with one deployment."""
    await store.deployments.insert(deployment(), most=MOST)
    return store


async def test_what_is_stored_is_read_back(store: AnyStore) -> None:
    full = deployment(
        archived_at=T0, paused_reason={"type": "manual"}, last_run_at=T0, workspace_id="other", updated_at=T0 + HOUR
    )
    await store.deployments.insert(full, most=MOST)
    assert await store.deployments.get(full.id) == full
    with pytest.raises(Conflict):
        await store.deployments.insert(full, most=MOST)
    run = settled(open_run(workspace_id="other"))
    await store.deployments.begin(replace(run, session_id=None, taken_until=T0))
    assert await store.deployments.settle(run, same)
    assert await store.deployments.get_run(run.id) == run


@pytest.mark.parametrize("name", ["depl_x", "\x00", "\ud800"])
async def test_what_is_not_there_is_not_found(stored: AnyStore, name: str) -> None:
    calls = [
        stored.deployments.get(name),
        stored.deployments.change(name, same),
        stored.deployments.get_run(name),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call
    assert await stored.deployments.list(DeploymentListing(agent_id=name)) == []
    assert await stored.deployments.list_runs(RunListing(include_archived=True, deployment_id=name)) == []
    assert await stored.sessions.list(SessionListing(deployment_id=name)) == []


async def test_a_change_keeps_what_never_changes(stored: AnyStore) -> None:
    changed = await stored.deployments.change(
        deployment().id,
        lambda record: replace(record, id="x", principal="x", workspace_id="x", created_at=T0 + HOUR, last_run_at=T0),
    )
    assert changed == await stored.deployments.get(deployment().id) == deployment(last_run_at=T0)


async def test_only_so_many_deployments_have_a_schedule(stored: AnyStore) -> None:
    plain = deployment(2, scheduled=False)
    await stored.deployments.insert(plain, most=1)
    with pytest.raises(InvalidRequest):
        await stored.deployments.insert(deployment(3), most=1)
    with pytest.raises(InvalidRequest):
        await stored.deployments.change(plain.id, lambda record: replace(record, body=deployment().body), most=1)
    assert await stored.deployments.get(plain.id) == plain
    await stored.deployments.change(deployment().id, lambda record: replace(record, archived_at=T0))
    await stored.deployments.insert(deployment(3), most=1)


async def test_lists_are_filtered(store: AnyStore) -> None:
    paused, reason = deployment(2, due_at=None), {"type": "manual"}
    paused = replace(paused, paused_reason=reason)
    archived = deployment(3, archived_at=T0, paused_reason=reason)
    other = deployment(4, body={**deployment().body, "agent": {"type": "agent", "id": "agent_2", "version": 1}})
    for each in (deployment(), paused, archived, other, deployment(5, workspace_id="w")):
        await store.deployments.insert(each, most=MOST)

    async def listed(**query: Any) -> list[str]:
        found = await store.deployments.list(DeploymentListing(order="asc", workspace_id="default", **query))
        return [each.id[-1] for each in found]

    assert await listed() == ["1", "2", "4"]
    assert await listed(include_archived=True) == ["1", "2", "3", "4"]
    assert await listed(status="paused") == ["2"]
    assert await listed(status="active") == ["1", "4"]
    assert await listed(agent_id="agent_2") == ["4"]
    assert await listed(limit=1) == ["1", "2"]


async def test_what_is_due_comes_in_the_order_of_its_time(store: AnyStore) -> None:
    late = deployment(1, due_at=T0 + 2 * HOUR)
    for each in (late, deployment(2), deployment(3, due_at=None), deployment(4, due_at=T0 + 3 * HOUR)):
        await store.deployments.insert(each, most=MOST)
    due = await store.deployments.due(T0 + 2 * HOUR, 5)
    assert [each.id[-1] for each in due] == ["2", "1"]
    assert [each.id[-1] for each in await store.deployments.due(T0 + 2 * HOUR, 1)] == ["2"]


async def test_of_several_that_fire_one_does(stored: AnyStore) -> None:
    fired = await asyncio.gather(
        *(stored.deployments.fire(deployment(), following, open_run(number)) for number in range(1, 5))
    )
    assert sorted(fired) == [False, False, False, True]
    assert len(await stored.deployments.take_open(T0 + HOUR, T0 + 2 * HOUR, 9)) == 1
    assert (await stored.deployments.get(deployment().id)).next_at == T0 + 2 * HOUR


async def test_an_instant_has_one_run_even_when_its_deployment_waits_for_it_again(stored: AnyStore) -> None:
    assert await stored.deployments.fire(deployment(), same, open_run(1))
    assert not await stored.deployments.fire(deployment(), following, open_run(2))
    assert (await stored.deployments.get(deployment().id)).next_at == T0 + 2 * HOUR
    assert [run.id for run in await stored.deployments.take_open(T0 + HOUR, T0 + HOUR, 9)] == ["drun_0001"]


@pytest.mark.parametrize(
    "change", [{"paused_reason": {"type": "manual"}}, {"archived_at": T0}, {"next_at": T0, "due_at": T0}]
)
async def test_what_has_changed_since_it_was_seen_does_not_fire(stored: AnyStore, change: dict[str, Any]) -> None:
    await stored.deployments.change(deployment().id, lambda record: replace(record, **change))
    assert not await stored.deployments.fire(deployment(), following, open_run())
    assert await stored.deployments.take_open(T0 + HOUR, T0 + HOUR, 9) == []


async def test_a_deployment_can_move_on_without_a_run(stored: AnyStore) -> None:
    assert await stored.deployments.fire(deployment(), following, None)
    assert (await stored.deployments.get(deployment().id)).next_at == T0 + 2 * HOUR


async def test_manual_runs_have_no_instant_and_there_may_be_many(stored: AnyStore) -> None:
    for number in (1, 2):
        await stored.deployments.begin(open_run(number, trigger="manual", scheduled_at=None))
    assert len(await stored.deployments.take_open(T0 + HOUR, T0 + HOUR, 9)) == 2


async def test_an_open_run_is_taken_by_one_and_shown_to_nobody(stored: AnyStore) -> None:
    run = open_run()
    await stored.deployments.begin(run)
    assert await stored.deployments.take_open(T0 + HOUR - timedelta(seconds=1), T0 + 2 * HOUR, 9) == []
    until = T0 + 2 * HOUR
    taken = await asyncio.gather(*(stored.deployments.take_open(T0 + HOUR, until, 9) for _ in range(3)))
    assert [each for some in taken for each in some] == [replace(run, taken_until=until)]
    assert await stored.deployments.list_runs(RunListing(include_archived=True)) == []
    with pytest.raises(NotFound):
        await stored.deployments.get_run(run.id)


async def test_a_run_is_settled_once_together_with_its_deployment(stored: AnyStore) -> None:
    run = open_run()
    await stored.deployments.begin(run)
    assert await stored.deployments.settle(settled(run), lambda record: replace(record, last_run_at=T0))
    other = settled(run, session_id=None, error={"type": "unknown_error", "message": "é"})
    assert not await stored.deployments.settle(other, following)
    assert await stored.deployments.get_run(run.id) == settled(run)
    assert await stored.deployments.get(deployment().id) == deployment(last_run_at=T0)
    assert await stored.deployments.take_open(T0 + 9 * HOUR, T0 + 9 * HOUR, 9) == []


async def test_a_pause_that_nobody_asked_for_is_in_the_audit_trail(stored: AnyStore) -> None:
    """Those that clients ask for are written down as requests."""
    reason = {"type": "error", "error": {"type": "agent_archived_error"}}

    async def end(number: int, paused_reason: dict[str, Any] | None) -> None:
        run = open_run(number, trigger="manual", scheduled_at=None)
        await stored.deployments.begin(run)
        failed = settled(run, session_id=None, error={"type": "agent_archived_error", "message": "no secret"})
        await stored.deployments.settle(failed, lambda record: replace(record, paused_reason=paused_reason))

    await end(1, None)
    assert await stored.audit.entries(EntryQuery()) == []
    await end(2, reason)
    await end(3, reason)
    [entry] = await stored.audit.entries(EntryQuery())
    assert (entry.actor, entry.action, entry.object) == ("hecaton", "pauseDeployment", deployment().id)
    assert '"detail":{"run":"drun_0002","error":"agent_archived_error"}' in entry.body


async def test_runs_are_listed_by_what_became_of_them(stored: AnyStore) -> None:
    await stored.deployments.insert(deployment(2), most=MOST)
    failed = {"session_id": None, "error": {"type": "unknown_error", "message": ""}}
    runs = [
        settled(open_run(1)),
        settled(open_run(2, trigger="manual", scheduled_at=None), **failed),
        settled(open_run(3, of=2), created_at=T0 + HOUR),
        settled(open_run(4, workspace_id="w", scheduled_at=None)),
    ]
    for run in runs:
        await stored.deployments.begin(replace(run, session_id=None, error=None, taken_until=T0))
        assert await stored.deployments.settle(run, same)

    async def listed(**query: Any) -> list[str]:
        listing = RunListing(include_archived=True, workspace_id="default", **query)
        return [each.id[-1] for each in await stored.deployments.list_runs(listing)]

    assert await listed() == ["3", "2", "1"]
    assert await listed(deployment_id=deployment().id) == ["2", "1"]
    assert await listed(has_error=True) == ["2"]
    assert await listed(has_error=False) == ["3", "1"]
    assert await listed(trigger="manual") == ["2"]
    assert await listed(created_gte=T0 + HOUR) == ["3"]
    assert await listed(limit=1) == ["3", "2"]


async def test_settled_runs_are_removed_when_they_are_old(stored: AnyStore) -> None:
    runs = [open_run(number, scheduled_at=None) for number in range(1, 6)]
    for run in runs:
        await stored.deployments.begin(run)
    for run, ended in zip(runs[1:], (T0, T0 + timedelta(minutes=1), T0, T0 + HOUR), strict=True):
        assert await stored.deployments.settle(settled(run, created_at=ended), same)

    async def kept() -> list[str]:
        listing = RunListing(include_archived=True, order="asc")
        return sorted(run.id for run in await stored.deployments.list_runs(listing))

    assert await stored.deployments.remove_old_runs(T0, 10) == 0
    assert await stored.deployments.remove_old_runs(T0 + HOUR, 3) == 2
    assert await kept() == [runs[3].id, runs[4].id]
    assert await stored.deployments.remove_old_runs(T0 + HOUR, 10) == 1
    assert await kept() == [runs[4].id]
    assert [run.id for run in await stored.deployments.take_open(T0 + HOUR, T0 + 2 * HOUR, 10)] == [runs[0].id]


async def test_sessions_are_listed_by_their_deployment(stored: AnyStore) -> None:
    lease = await claimed(stored)
    ours, other = session(deployment_id=deployment().id), session()
    for record in (ours, other):
        await stored.log.create(Commit(lease, 0, record))
    run = open_run(reservation=Reservation(ours.id, ours.partition, None, T0))
    await stored.deployments.begin(run)
    assert await stored.deployments.settle(settled(run), same)
    assert await stored.sessions.list(SessionListing(deployment_id=deployment().id)) == [ours]


async def test_a_session_is_listed_by_its_deployment_before_its_run_is_settled_and_when_it_ended_with_an_error(
    stored: AnyStore,
) -> None:
    ours, listing = session(deployment_id=deployment().id), SessionListing(deployment_id=deployment().id)
    run = open_run(reservation=Reservation(ours.id, ours.partition, None, T0))
    await stored.deployments.begin(run)
    await stored.log.create(Commit(await claimed(stored), 0, ours))
    assert await stored.sessions.list(listing) == [ours]
    lost = settled(run, session_id=None, error={"type": "unknown_error", "message": "too late"})
    assert await stored.deployments.settle(lost, same)
    assert await stored.sessions.list(listing) == [ours]


async def test_both_belong_to_a_workspace(stored: AnyStore) -> None:
    await stored.deployments.insert(deployment(2, workspace_id="w"), most=MOST)
    await stored.deployments.begin(open_run(of=2, workspace_id="w"))
    assert await stored.deployments.settle(settled(open_run(of=2, workspace_id="w")), same)
    assert await stored.owners.workspace_of("deployment", deployment().id) == "default"
    assert await stored.owners.workspace_of("deployment", deployment(2).id) == "w"
    assert await stored.owners.workspace_of("deployment_run", open_run().id) == "w"
    assert await stored.owners.workspace_of("deployment_run", "drun_none") is None
