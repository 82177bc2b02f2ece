"""Firing schedules: once each, also when whoever fires dies in the middle."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.deployments.failures import RunErrorType, RunFailed
from agents.deployments.records import DeploymentRecord, Reservation, RunListing, RunRecord
from agents.deployments.runs import DeploymentRuns
from agents.deployments.scheduler import DeploymentScheduler
from agents.deployments.settings import DeploymentSettings
from agents.deployments.timing import scheduled_after
from agents.errors import InvalidRequest, NotFound, Overloaded, RateLimited, Unavailable
from agents.sessions.events import SessionRecord
from agents.store.memory_deployments import MemoryDeployments
from agents.telemetry.recorder import Recorder

T0 = datetime(2026, 11, 21, 8, 0, 30, tzinfo=UTC)
LATE = 600.0
OPEN_SECONDS = 130.0
"""Longer than a run that somebody has taken stays theirs."""


class Making:
    """Makes sessions of nothing; what it is to do instead stands in ``faults``, one for each attempt."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.agents: list[Any] = []
        self.faults: list[BaseException] = []
        self.loses_answer = False
        self._reserved = 0

    def reserve(self, now: datetime) -> Reservation:
        self._reserved += 1
        return Reservation(f"sesn_{self._reserved}", 3, None, now)

    async def create(self, deployment: DeploymentRecord, reservation: Reservation) -> SessionRecord:
        self.agents.append(deployment.body["agent"])
        if self.loses_answer:
            self.made.append(reservation.session_id)
        if self.faults:
            raise self.faults.pop(0)
        if reservation.session_id not in self.made:
            self.made.append(reservation.session_id)
        return await self.find(reservation.session_id)

    async def find(self, session_id: str) -> SessionRecord:
        if session_id not in self.made:
            raise NotFound("no session")
        return SessionRecord(session_id, 3, T0, T0, {}, "agent_1", 1, "env_1", {}, "sthr_1")


class Stage:
    """One store, and as many processes as a test wants."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.store = MemoryDeployments()
        self.making = Making()
        self.settings = DeploymentSettings(late_seconds=LATE)
        self.runs = self.process()[0]

    def process(self) -> tuple[DeploymentRuns, DeploymentScheduler]:
        runs = DeploymentRuns(self.store, self.making, self.clock, self.settings, Recorder())
        return runs, DeploymentScheduler(self.store, runs, self.clock, self.settings)

    async def deploy(self, expression: str | None = "0 * * * *") -> DeploymentRecord:
        schedule = None if expression is None else {"type": "cron", "expression": expression, "timezone": "UTC"}
        body: dict[str, Any] = {"agent": {"type": "agent", "id": "agent_1", "version": 1}, "schedule": schedule}
        made = scheduled_after(DeploymentRecord("depl_1", "", body, T0, T0), T0)
        await self.store.insert(made, most=10)
        return made

    async def look(self) -> None:
        scheduler = self.process()[1]
        await scheduler.look()
        await scheduler.finished()

    async def deployed(self) -> DeploymentRecord:
        return await self.store.get("depl_1")

    async def settled(self) -> list[RunRecord]:
        return list(await self.store.list_runs(RunListing(include_archived=True, order="asc")))

    async def advance_to_due(self) -> None:
        due = (await self.deployed()).due_at
        assert due is not None
        self.clock.advance((due - self.clock.now()).total_seconds())


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def die_in_a_fire(stage: Stage) -> DeploymentRecord:
    """Fire, and die before there is a session; returns the deployment as it was."""
    await stage.deploy()
    await stage.advance_to_due()
    made = await stage.deployed()
    stage.making.faults.append(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await stage.runs.fire(made)
    return made


async def test_nothing_fires_before_its_time(stage: Stage) -> None:
    made = await stage.deploy()
    assert made.due_at is not None
    assert made.next_at == datetime(2026, 11, 21, 9, tzinfo=UTC) < made.due_at
    stage.clock.advance((made.due_at - T0).total_seconds() - 0.001)
    await stage.look()
    assert stage.making.made == []


async def test_a_schedule_fires_and_waits_for_its_next_occurrence(stage: Stage) -> None:
    made = await stage.deploy()
    await stage.advance_to_due()
    await stage.look()
    (run,) = await stage.settled()
    assert (run.trigger, run.scheduled_at, run.session_id, run.error) == ("schedule", made.next_at, "sesn_1", None)
    now = await stage.deployed()
    assert (now.next_at, now.last_run_at) == (datetime(2026, 11, 21, 10, tzinfo=UTC), stage.clock.now())


async def test_of_many_processes_one_fires(stage: Stage) -> None:
    await stage.deploy()
    await stage.advance_to_due()
    seen = await stage.deployed()
    await asyncio.gather(*(stage.process()[0].fire(seen) for _ in range(5)))
    assert len(stage.making.made) == 1
    assert len(await stage.settled()) == 1


@pytest.mark.parametrize("loses_answer", [False, True])
async def test_a_run_whose_process_dies_is_finished_by_another(stage: Stage, loses_answer: bool) -> None:
    """Whether the session had been made by then or not, there is one in the end."""
    await stage.deploy()
    await stage.advance_to_due()
    stage.making.faults.append(asyncio.CancelledError())
    stage.making.loses_answer = loses_answer
    with pytest.raises(asyncio.CancelledError):
        await stage.runs.fire(await stage.deployed())
    stage.making.loses_answer = False
    await stage.look()
    assert await stage.settled() == []  # still its own
    stage.clock.advance(OPEN_SECONDS)
    await stage.look()
    (run,) = await stage.settled()
    assert [run.session_id] == stage.making.made == ["sesn_1"]


async def test_a_platform_that_does_not_answer_is_asked_again_and_nothing_is_paused(stage: Stage) -> None:
    await stage.deploy()
    await stage.advance_to_due()
    stage.making.faults += [Unavailable("away"), Unavailable("away")]
    await stage.look()
    stage.clock.advance(OPEN_SECONDS)
    await stage.look()
    assert await stage.settled() == []
    stage.clock.advance(OPEN_SECONDS)
    await stage.look()
    assert stage.making.made == ["sesn_1"]
    assert (await stage.deployed()).status == "active"


async def test_a_run_that_is_too_late_ends_in_an_error(stage: Stage) -> None:
    await stage.deploy()
    await stage.advance_to_due()
    stage.making.faults.append(Unavailable("away"))
    await stage.look()
    stage.clock.advance(LATE + 1)
    await stage.look()
    (run,) = await stage.settled()
    assert run.error is not None
    assert run.error["type"] == "unknown_error"
    assert stage.making.made == []
    assert (await stage.deployed()).status == "active"


@pytest.mark.parametrize(
    "over", [{"paused_reason": {"type": "manual"}, "due_at": None}, {"archived_at": T0, "due_at": None}]
)
async def test_what_was_paused_or_archived_meanwhile_is_not_run_any_more(stage: Stage, over: dict[str, Any]) -> None:
    await die_in_a_fire(stage)
    changed = await stage.store.change("depl_1", lambda stored: replace(stored, **over))
    stage.clock.advance(OPEN_SECONDS)
    await stage.look()
    (run,) = await stage.settled()
    assert run.error is not None
    assert (run.error["type"], stage.making.made) == ("unknown_error", [])
    assert (await stage.deployed()).paused_reason == changed.paused_reason


async def test_a_run_that_another_finishes_runs_the_agent_that_it_tells(stage: Stage) -> None:
    made = await die_in_a_fire(stage)
    newer = {**made.body, "agent": {**made.body["agent"], "version": 2}}
    await stage.store.change("depl_1", lambda stored: replace(stored, body=newer))
    stage.clock.advance(OPEN_SECONDS)
    await stage.look()
    (run,) = await stage.settled()
    assert stage.making.agents == [made.body["agent"], run.agent] == [made.body["agent"]] * 2


async def test_a_failure_pauses_nothing_that_was_changed_meanwhile(stage: Stage) -> None:
    await stage.deploy()
    await stage.advance_to_due()

    async def changed_and_refused(deployment: DeploymentRecord, reservation: Reservation) -> SessionRecord:
        body = {**deployment.body, "environment_id": "env_2"}
        await stage.store.change("depl_1", lambda stored: replace(stored, body=body))
        raise InvalidRequest("gone", error_code="environment_archived")

    stage.making.create = changed_and_refused
    await stage.look()
    (run,) = await stage.settled()
    assert run.error is not None
    assert run.error["type"] == "environment_archived_error"
    assert (await stage.deployed()).status == "active"


@pytest.mark.parametrize(
    ("fault", "expected", "paused"),
    [
        (RateLimited("slow down"), "session_rate_limited_error", False),
        (Overloaded("no room"), "session_rate_limited_error", False),
        (InvalidRequest("no"), "session_creation_rejected_error", False),
        (NotFound("agent gone"), "session_creation_rejected_error", False),
        (InvalidRequest("gone", error_code="agent_archived"), "agent_archived_error", True),
        (InvalidRequest("gone", error_code="environment_archived"), "environment_archived_error", True),
        (InvalidRequest("gone", error_code="vault_archived"), "vault_archived_error", True),
        (InvalidRequest("gone", error_code="file_not_found"), "file_not_found_error", True),
        (NotFound("gone", error_code="skill_not_found"), "skill_not_found_error", True),
        (RunFailed("vault_not_found_error", "gone"), "vault_not_found_error", True),
    ],
)
async def test_a_failed_fire_says_why_and_pauses_what_would_fail_again(
    stage: Stage, fault: Exception, expected: RunErrorType, paused: bool
) -> None:
    await stage.deploy()
    await stage.advance_to_due()
    stage.making.faults.append(fault)
    await stage.look()
    (run,) = await stage.settled()
    assert run.session_id is None
    assert run.error is not None
    assert run.error["type"] == expected
    now = await stage.deployed()
    assert now.paused_reason == ({"type": "error", "error": {"type": expected}} if paused else None)
    assert (now.due_at is None) is paused


async def test_what_fails_by_hand_pauses_nothing_and_is_no_last_run(stage: Stage) -> None:
    made = await stage.deploy()
    stage.making.faults.append(InvalidRequest("gone", error_code="agent_archived"))
    run = await stage.runs.run_now(made)
    assert run.error is not None
    assert run.error["type"] == "agent_archived_error"
    assert await stage.deployed() == made


async def test_a_run_by_hand_that_was_lost_is_not_made_up_for(stage: Stage) -> None:
    made = await stage.deploy(None)
    stage.making.faults.append(Unavailable("away"))
    with pytest.raises(Unavailable):
        await stage.runs.run_now(made)
    stage.clock.advance(OPEN_SECONDS)
    await stage.look()
    (run,) = await stage.settled()
    assert run.error is not None
    assert (run.error["type"], stage.making.made) == ("unknown_error", [])


async def test_of_what_was_missed_the_newest_is_made_up_for(stage: Stage) -> None:
    await stage.deploy("*/5 * * * *")
    stage.clock.advance(3600)
    await stage.look()
    (run,) = await stage.settled()
    assert run.scheduled_at is not None
    assert timedelta() < stage.clock.now() - run.scheduled_at <= timedelta(minutes=6)
    following = (await stage.deployed()).next_at
    assert following == run.scheduled_at + timedelta(minutes=5)
    await stage.look()
    assert len(await stage.settled()) == 1


async def test_what_was_missed_long_ago_is_left_out(stage: Stage) -> None:
    await stage.deploy("0 9 * * *")
    stage.clock.advance(3 * 3600)
    await stage.look()
    assert await stage.settled() == []
    assert (await stage.deployed()).next_at == datetime(2026, 11, 22, 9, tzinfo=UTC)


async def test_an_occurrence_that_has_fired_does_not_fire_again(stage: Stage) -> None:
    """Even when its deployment is put back to where it was, as by a schedule that is taken away and given again."""
    made = await stage.deploy()
    await stage.advance_to_due()
    await stage.look()
    await stage.store.change("depl_1", lambda stored: replace(stored, next_at=made.next_at, due_at=made.due_at))
    await stage.look()
    assert (len(await stage.settled()), stage.making.made) == (1, ["sesn_1"])
    assert (await stage.deployed()).next_at == datetime(2026, 11, 21, 10, tzinfo=UTC)


async def test_runs_are_kept_for_so_many_days(stage: Stage) -> None:
    await stage.deploy()
    await stage.advance_to_due()
    scheduler = stage.process()[1]
    await scheduler.look()
    await scheduler.finished()
    stage.clock.advance(stage.settings.keep_days * 24 * 3600)
    await scheduler.look()
    await scheduler.finished()
    assert len(await stage.settled()) == 2
    stage.clock.advance(3600)
    await scheduler.look()
    await scheduler.finished()
    assert [run.created_at > T0 + timedelta(days=1) for run in await stage.settled()] == [True, True]


async def test_a_fault_in_one_deployment_keeps_no_other_from_firing(stage: Stage) -> None:
    await stage.deploy()
    other = replace(await stage.deployed(), id="depl_2")
    await stage.store.insert(other, most=10)
    stage.clock.advance(3600 + 540)
    stage.making.faults.append(RuntimeError("a fault"))
    await stage.look()
    assert len(stage.making.made) == 1


async def test_what_can_never_be_fired_takes_no_others_turn(stage: Stage) -> None:
    """As with a time zone that a newer release of the zones no longer has."""
    good = await stage.deploy()
    assert good.due_at is not None
    body = {**good.body, "schedule": {"type": "cron", "expression": "0 * * * *", "timezone": "Gone/Zone"}}
    for number in range(40):
        poisoned = replace(good, id=f"depl_x{number}", body=body, due_at=good.due_at - timedelta(seconds=number))
        await stage.store.insert(poisoned, most=100)
    await stage.advance_to_due()
    for _ in range(4):
        await stage.look()
    assert stage.making.made == ["sesn_1"]
    assert [run.deployment_id for run in await stage.settled()] == [good.id]


async def test_the_scheduler_looks_again_and_again_until_it_is_stopped(stage: Stage) -> None:
    await stage.deploy()
    scheduler = stage.process()[1]
    scheduler.start()
    while not stage.clock.sleeping:
        await asyncio.sleep(0)
    stage.clock.advance(3600 + 540)
    while not stage.making.made or not stage.clock.sleeping:
        await asyncio.sleep(0)
    await scheduler.finished()
    await scheduler.stop()
    assert len(await stage.settled()) == 1
