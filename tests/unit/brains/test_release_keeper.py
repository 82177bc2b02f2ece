"""Processes that share what they know of versions, and take a bad one back.

Bug class this catches: a version that breaks its bounds and stays, or that is judged by what is not its own.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from agents.brain_settings import BrainDefinition, RollbackBounds
from agents.brains.immutable import check_unchanged
from agents.brains.port import BrainFailure
from agents.brains.registry import Registry
from agents.brains.release_keeper import ReleaseKeeper, broken_bound
from agents.brains.release_records import Outcome, OutcomeRow
from agents.brains.releases import declared_split
from agents.clock import ManualClock
from agents.config import InvalidSettings
from agents.errors import Conflict, InvalidRequest, NotFound, Unavailable
from agents.governance.audit.entries import SYSTEM, AuditEntry
from agents.governance.records import LOOK_SECONDS
from agents.governance.split import Split, StoredSplit, promoted, released, rolled_back
from agents.store.memory_releases import MemoryReleases
from tests.unit.waiting import until

BOUNDS = {"max_error_rate": 0.25, "max_p95_seconds": 8, "min_requests": 4, "window_seconds": 60}


def registry(**qwen: Any) -> Registry:
    given = {"engine": "replay", "versions": {"2": {"weight": 10}, "3": {}}, "rollback": BOUNDS, **qwen}
    return Registry({"qwen": BrainDefinition.model_validate(given), "one": BrainDefinition(engine="replay")})


class Away(MemoryReleases):
    """A store that can be away, or slow to be read, or have its splits changed by somebody else first."""

    away = False
    first: Split | None = None
    meanwhile: Callable[[], Awaitable[Any]] | None = None
    """What happens while outcomes are read."""

    async def splits(self) -> Any:
        if self.away:
            raise Unavailable("away")
        return await super().splits()

    async def add_outcomes(self, rows: Any, *, forget_before: int) -> None:
        if self.away:
            raise Unavailable("away")
        await super().add_outcomes(rows, forget_before=forget_before)

    async def outcomes(self, since: int) -> Any:
        found = await super().outcomes(since)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        return found

    async def change_split(self, name: str, stored: StoredSplit, *, forget: Any = (), entry: Any = None) -> None:
        if self.first is not None:
            between, self.first = StoredSplit(self.first, stored.declared, stored.revision), None
            await super().change_split(name, between)
        await super().change_split(name, stored, forget=forget, entry=entry)


class Stage:
    """Two processes and what they share."""

    def __init__(self, brains: Registry) -> None:
        self.acts: list[AuditEntry] = []
        self.clock, self.records = ManualClock(), Away(self.acts.append)
        self.brains = brains
        self.one, self.other = self.keeper(), self.keeper()

    def keeper(self) -> ReleaseKeeper:
        return ReleaseKeeper(self.brains, self.records, self.clock)

    async def answers(self, keeper: ReleaseKeeper, version: str, *, good: int = 0, bad: int = 0, slow: int = 0) -> None:
        brain = self.brains.find(f"qwen@{version}")

        async def answer(failure: bool, seconds: float) -> AsyncIterator[dict[str, Any]]:
            self.clock.advance(seconds)
            if failure:
                raise BrainFailure("unknown", "no", transient=True)
            yield {"type": "message_stop"}

        for fails, seconds in [(False, 0.0)] * good + [(True, 0.0)] * bad + [(False, 9.0)] * slow:
            try:
                async for _ in keeper.releases.watched(brain, answer(fails, seconds)):
                    pass
            except BrainFailure:
                continue

    def splits(self) -> list[Split]:
        return [each.releases.split("qwen") for each in (self.one, self.other)]


async def test_a_change_is_seen_by_all_at_their_next_look() -> None:
    stage = Stage(registry())
    assert await stage.one.change("qwen", lambda split: promoted(split, "2")) == Split("2", {}, "1")
    assert stage.splits() == [Split("2", {}, "1"), Split("1", {"2": 10})]
    await stage.other.look()
    assert stage.splits() == [Split("2", {}, "1")] * 2
    await stage.other.change("qwen", lambda split: rolled_back(split, "2", "no"))
    assert (await stage.records.splits())["qwen"].revision == 2
    late = stage.keeper()
    await late.start()
    assert late.releases.split("qwen") == Split("1", {}, None, {"2": "no"})
    await late.close()


async def test_a_change_is_made_on_what_somebody_else_made_just_before() -> None:
    stage = Stage(registry())
    stage.records.first = Split("1", {"3": 5})
    after = await stage.one.change("qwen", lambda split: released(split, "2", 20))
    assert after == Split("1", {"3": 5, "2": 20})


async def test_a_change_that_changes_nothing_or_cannot_be_is_not_written() -> None:
    stage = Stage(registry())
    await stage.one.change("qwen", lambda split: promoted(split, "1"))
    with pytest.raises(InvalidRequest):
        await stage.one.change("qwen", lambda split: rolled_back(split, "1", "no"))
    with pytest.raises(NotFound, match="there are qwen, one"):
        await stage.one.change("gpt", lambda split: split)
    assert await stage.records.splits() == {}


async def test_a_version_is_judged_by_what_all_processes_counted(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(registry())
    await stage.answers(stage.one, "2", good=1, bad=1)
    await stage.answers(stage.other, "2", good=1)
    for keeper in (stage.one, stage.other):
        await keeper.look()
    assert stage.splits() == [Split("1", {"2": 10})] * 2
    assert await stage.other.outcomes() == {"qwen@2": Outcome(3, 1)}
    await stage.answers(stage.other, "2", bad=1)
    with caplog.at_level(logging.WARNING):
        await stage.other.look()
        await stage.one.look()
    why = "2 of 4 requests failed, and 25% may"
    assert stage.splits() == [Split("1", {}, None, {"2": why})] * 2
    assert [record.message for record in caplog.records] == [f"brain qwen@2 is rolled back to 1: {why}"]
    [act] = stage.acts
    assert (act.actor, act.action, act.object) == (SYSTEM, "rollbackBrain", "qwen")
    assert act.detail == {"version": "2", "reason": why}


async def test_a_version_that_keeps_its_readers_waiting_is_taken_back() -> None:
    stage = Stage(registry())
    await stage.answers(stage.one, "2", good=18, slow=1)
    await stage.one.look()
    assert stage.splits()[0].withdrawn == {"2": "1 of 19 requests took more than 8 s, and 5% may"}


async def promote(stage: Stage, version: str) -> None:
    at = int(stage.clock.now().timestamp())
    await stage.one.change("qwen", lambda split: promoted(split, version, at))
    await stage.other.look()


async def test_a_promoted_version_that_breaks_a_bound_gives_way_to_the_one_before_it() -> None:
    stage = Stage(registry())
    await stage.answers(stage.one, "2", good=2)
    await stage.one.look()
    await promote(stage, "2")
    await stage.answers(stage.other, "2", bad=1)
    await stage.other.look()
    assert await stage.one.outcomes() == {"qwen@2": Outcome(3, 1)}, "what it did on trial is not forgotten"
    await stage.answers(stage.other, "2", bad=1)
    await stage.answers(stage.other, "1", bad=9)
    for keeper in (stage.other, stage.one):
        await keeper.look()
    assert stage.splits() == [Split("1", {}, None, {"2": "2 of 4 requests failed, and 25% may"})] * 2


async def test_a_promoted_version_is_not_judged_by_an_old_trial_nor_for_ever() -> None:
    stage = Stage(registry(rollback={**BOUNDS, "after_promotion_seconds": 600}))
    await stage.answers(stage.one, "2", bad=9)
    await stage.one.change("qwen", lambda split: rolled_back(split, "2", "no"))
    await stage.one.look()
    await promote(stage, "2")
    await stage.other.look()
    assert await stage.other.outcomes() == {"qwen@2": Outcome()}
    stage.clock.advance(600)
    await stage.other.look()
    await stage.answers(stage.other, "2", bad=9)
    await stage.other.look()
    assert (stage.splits()[1].current, await stage.other.outcomes()) == ("2", {})


async def test_what_is_past_or_of_another_trial_or_version_does_not_count() -> None:
    stage = Stage(registry())
    await stage.answers(stage.one, "2", good=1, bad=2)
    await stage.answers(stage.one, "1", bad=9)
    await stage.one.look()
    stage.clock.advance(70)
    await stage.answers(stage.one, "2", good=3)
    await stage.one.look()
    assert await stage.one.outcomes() == {"qwen@2": Outcome(3)}
    await stage.one.change("qwen", lambda split: rolled_back(split, "2", "no"))
    await stage.one.change("qwen", lambda split: released(split, "2", 50))
    assert await stage.one.outcomes() == {"qwen@2": Outcome()}


async def test_what_comes_on_trial_while_the_others_are_judged_is_judged_the_next_time() -> None:
    stage = Stage(registry())
    await stage.answers(stage.one, "2", bad=4)
    stage.records.meanwhile = lambda: stage.one.change("qwen", lambda split: released(split, "3", 5))
    await stage.one.look()
    assert stage.one.releases.split("qwen").weights == {"3": 5}


async def test_what_a_faster_clock_counted_of_a_version_that_is_not_on_trial_here_is_left_alone() -> None:
    stage = Stage(registry())
    moment = int(stage.clock.now().timestamp()) + 10
    await stage.records.add_outcomes([OutcomeRow("qwen@3", moment, Outcome(9, 9))], forget_before=0)
    assert await stage.one.outcomes() == {"qwen@2": Outcome()}


async def test_each_brain_has_a_window_of_its_own() -> None:
    given: dict[str, Any] = {"engine": "replay", "versions": {"2": {"weight": 10}}}
    windows = {"short": {"window_seconds": 60}, "long": {"window_seconds": 600}}
    brains = {name: BrainDefinition.model_validate({**given, "rollback": window}) for name, window in windows.items()}
    stage = Stage(Registry(brains))
    past = int(stage.clock.now().timestamp()) - 100
    rows = [OutcomeRow(f"{name}@{version}", past, Outcome(1)) for name in windows for version in "12"]
    await stage.records.add_outcomes(rows, forget_before=0)
    assert await stage.one.outcomes() == {"short@2": Outcome(), "long@2": Outcome(1)}


async def test_what_was_counted_while_the_store_was_away_is_not_lost() -> None:
    stage = Stage(registry())
    await stage.answers(stage.one, "2", good=1)
    stage.records.away = True
    with pytest.raises(Unavailable):
        await stage.one.look()
    await stage.answers(stage.one, "2", good=1)
    stage.records.away = False
    await stage.one.look()
    assert await stage.one.outcomes() == {"qwen@2": Outcome(2)}


async def test_a_keeper_looks_by_itself_also_after_the_store_was_away(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(registry())
    await stage.one.start()
    stage.records.away = True
    await _look(stage)
    assert "the versions of brains are as they were known: away" in caplog.text
    stage.records.away = False
    await stage.other.change("qwen", lambda split: promoted(split, "3"))
    await _look(stage)
    assert stage.one.releases.split("qwen").current == "3"
    await stage.one.close()


async def _look(stage: Stage) -> None:
    """Let the keeper that sleeps look once; it sleeps again then."""
    for moved in (False, True):
        await until(lambda: stage.clock.sleeping)
        if not moved:
            stage.clock.advance(LOOK_SECONDS)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(3, 3, 3), None),
        (Outcome(4, 1, 0), None),
        (Outcome(4, 2, 0), "2 of 4 requests failed, and 25% may"),
        (Outcome(20, 0, 1), None),
        (Outcome(19, 0, 1), "1 of 19 requests took more than 8 s, and 5% may"),
    ],
)
def test_bounds_are_broken_by_more_than_they_allow(outcome: Outcome, why: str | None) -> None:
    assert broken_bound(RollbackBounds.model_validate(BOUNDS), outcome) == why


def test_without_a_bound_of_time_a_version_may_be_slow() -> None:
    assert broken_bound(RollbackBounds(), Outcome(1000, 0, 1000)) is None


async def test_what_has_answered_stays_what_it_is() -> None:
    was = {
        "engine": "server",
        "model": "org/a",
        "server": {"arguments": ["--x"]},
        "versions": {"2": {"model": "org/b"}},
    }
    stage = Stage(Registry({"q": BrainDefinition.model_validate(was)}))
    events = stage.one.releases.watched(stage.brains.find("q@2"), _nothing())
    assert [event async for event in events] == []
    await stage.one.look()

    async def check(**changes: Any) -> None:
        definition = BrainDefinition.model_validate({**was, **changes})
        await check_unchanged(Registry({"q": definition}).brains, stage.records)

    await check()
    await check(model="org/c", price={"gpu_hour": 1}, versions={"2": {"model": "org/b", "resources": {"num_gpus": 1}}})
    with pytest.raises(InvalidSettings) as refused:
        await check(versions={"2": {"model": "org/c", "server": {"arguments": []}}})
    assert refused.value.message.splitlines() == [
        "brains.q: version '2' has answered with model 'org/b' and cannot have 'org/c' now; make it another version",
        "brains.q: version '2' has answered with server.arguments ['--x'] and cannot have [] now;"
        " make it another version",
    ]
    with pytest.raises(InvalidSettings, match="version '2' has answered with engine 'server'"):
        await check(versions={"2": {"engine": "replay"}})
    await check(versions={"3": {"engine": "replay"}})


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    for event in list[dict[str, Any]]():
        yield event


async def test_who_is_always_beaten_gives_up() -> None:
    stage = Stage(registry())

    def change(split: Split) -> Split:
        stage.records.first = Split("1", {"3": (split.weights.get("3", 0) + 1) % 90})
        return released(split, "2", 10 if split.weights.get("2") != 10 else 11)

    with pytest.raises(Conflict):
        await stage.one.change("qwen", change)
    assert (await stage.records.splits())["qwen"].declared == declared_split(registry().find("qwen").definition)
