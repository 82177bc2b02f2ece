"""Processes that share what they know of the versions of hands, and take a bad one back.

Bug class this catches: a session that is moved by a release, or a version that breaks its promises and stays.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.errors import NotFound, Unavailable
from agents.governance.audit.entries import SYSTEM, AuditEntry
from agents.governance.hand_releases import HandReleases
from agents.governance.outcomes import LONG, SHORT
from agents.governance.records import LOOK_SECONDS
from agents.governance.split import Split, promoted, released, rolled_back
from agents.hand_settings import HandDefinition
from agents.hands.deployed.records import HandVersion
from agents.hands.servers.port import Caller
from agents.store.hand_releases import MemoryHandReleases
from tests.unit.waiting import until

CONTRACT = """
hand: crm
version: "{version}"
tools: {{find: {{input: {{type: object}}, side_effects: none}}}}
sla: {{p95_seconds: 1, availability: 0.9, error_rate: 0.1, min_calls: 10, after_promotion_seconds: 600}}
"""


def hand(version: str, name: str = "crm", *, contract: bool = True) -> HandVersion:
    definition = HandDefinition(server="crm:server", version=version)
    return HandVersion(name, definition, contract=CONTRACT.format(version=version) if contract else "")


class Away(MemoryHandReleases):
    away = False

    async def add_outcomes(self, rows: object, *, now: int) -> None:
        if self.away:
            raise Unavailable("away")
        await super().add_outcomes(rows, now=now)  # type: ignore[arg-type]


class Stage:
    """Two processes and what they share."""

    def __init__(self, *versions: HandVersion, declared: dict[str, str] | None = None) -> None:
        self.acts: list[AuditEntry] = []
        self.clock, self.records = ManualClock(), Away(self.acts.append)
        self.hands = {each.id: each for each in versions or (hand("1"), hand("2"), hand("3"))}
        self.declared = declared
        self.one, self.other = self.process(), self.process()

    def process(self) -> HandReleases:
        return HandReleases(self.records, lambda: self.hands, self.clock, self.declared)

    async def release(self, version: str, weight: int) -> None:
        await self.one.change("crm", lambda split: released(split, version, weight))
        await self.other.look()

    async def promote(self, version: str) -> None:
        at = int(self.clock.now().timestamp())
        await self.one.change("crm", lambda split: promoted(split, version, at))
        await self.other.look()

    def calls(self, process: HandReleases, version: str, *, good: int = 0, bad: int = 0, slow: int = 0) -> None:
        for outcome, seconds, count in (("ok", 0.1, good), ("failed", 0.1, bad), ("ok", 9.0, slow)):
            for _ in range(count):
                process.count(f"crm@{version}", outcome, seconds)  # type: ignore[arg-type]

    async def look(self) -> None:
        for process in (self.one, self.other):
            await process.look()


def chosen(process: HandReleases, hands: list[HandVersion]) -> set[str]:
    return {process.choose("crm", hands, Caller(f"sesn_{number}")).version for number in range(200)}


async def test_the_version_that_came_first_is_current_until_another_is_promoted() -> None:
    stage = Stage()
    assert stage.one.split("crm") == Split("1")
    assert chosen(stage.one, list(stage.hands.values())) == {"1"}
    await stage.promote("3")
    assert [each.split("crm").current for each in (stage.one, stage.other)] == ["3", "3"]
    del stage.hands["crm@1"]
    assert stage.other.split("crm").current == "3"
    del stage.hands["crm@3"]
    assert stage.other.split("crm").current == "2"
    with pytest.raises(NotFound, match="there is no hand 'billing'; there are: crm"):
        stage.one.split("billing")


async def test_what_the_settings_say_later_holds() -> None:
    stage = Stage(declared={"crm": "1"})
    await stage.promote("2")
    stage.declared = {"crm": "3"}
    later = stage.process()
    await later.look()
    assert (stage.one.split("crm").current, later.split("crm").current) == ("2", "3")


async def test_a_release_gets_its_part_of_the_new_sessions_and_the_same_ones_everywhere() -> None:
    stage = Stage()
    await stage.release("2", 20)
    hands = list(stage.hands.values())
    dealt = [
        [process.choose("crm", hands, Caller(f"sesn_{number}")).version for number in range(500)]
        for process in (stage.one, stage.other)
    ]
    assert dealt[0] == dealt[1]
    assert 60 <= dealt[0].count("2") <= 140
    assert dealt[0].count("1") + dealt[0].count("2") == 500


async def test_a_version_on_trial_that_breaks_a_promise_is_taken_back_by_what_all_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    await stage.release("2", 20)
    stage.calls(stage.one, "2", good=2, bad=3)
    stage.calls(stage.other, "1", bad=50)
    await stage.look()
    assert stage.one.split("crm").weights == {"2": 20}, "it is judged by no fewer calls than ten"
    stage.calls(stage.other, "2", good=2, bad=3)
    with caplog.at_level(logging.WARNING):
        await stage.other.look()
        await stage.one.look()
    why = "6 of 10 calls were not answered, and 0.1 of them may"
    assert [each.split("crm") for each in (stage.one, stage.other)] == [Split("1", withdrawn={"2": why})] * 2
    assert [record.message for record in caplog.records] == [f"hand crm@2 is rolled back to 1: {why}"]
    assert stage.one.successor("crm", "2") == ("1", why)
    assert stage.one.successor("crm", "1") is None
    [act] = stage.acts
    assert (act.actor, act.action, act.object) == (SYSTEM, "rollbackHand", "crm")
    assert act.detail == {"version": "2", "reason": why}


async def test_a_version_that_is_too_slow_is_taken_back() -> None:
    stage = Stage()
    await stage.release("2", 20)
    stage.calls(stage.one, "2", good=10, slow=10)
    await stage.look()
    assert stage.one.split("crm").withdrawn == {"2": "10 of 20 calls took more than 1 s, and 0.05 of them may"}


async def test_a_promoted_version_is_judged_for_a_while_and_not_by_an_old_trial() -> None:
    stage = Stage()
    await stage.release("2", 20)
    stage.calls(stage.one, "2", bad=9)
    await stage.look()
    await stage.one.change("crm", lambda split: rolled_back(split, "2", "by hand"))
    await stage.promote("2")
    stage.calls(stage.one, "2", bad=9)
    await stage.look()
    assert stage.one.split("crm").current == "2"
    stage.calls(stage.other, "2", bad=9)
    await stage.look()
    assert stage.other.split("crm").current == "1"
    await stage.promote("2")
    stage.clock.advance(600)
    stage.calls(stage.other, "2", bad=50)
    await stage.look()
    assert stage.one.split("crm").current == "2"


async def test_a_version_without_a_contract_promised_nothing() -> None:
    stage = Stage(hand("1", contract=False), hand("2", contract=False))
    await stage.release("2", 20)
    stage.calls(stage.one, "2", bad=500)
    await stage.look()
    assert stage.one.split("crm").weights == {"2": 20}


async def test_a_contract_that_cannot_be_read_does_not_keep_the_others_from_being_judged() -> None:
    other = replace(hand("1", "billing"), contract="hand: [")
    stage = Stage(other, replace(other, definition=HandDefinition(server="x:y", version="2")), hand("1"), hand("2"))
    await stage.one.change("billing", lambda split: released(split, "2", 20))
    await stage.release("2", 20)
    stage.calls(stage.one, "2", bad=20)
    await stage.look()
    assert "2" in stage.one.split("crm").withdrawn


async def test_what_was_counted_while_the_store_was_away_is_not_lost() -> None:
    stage = Stage()
    stage.calls(stage.one, "1", good=2)
    stage.records.away = True
    with pytest.raises(Unavailable):
        await stage.one.look()
    stage.calls(stage.one, "1", good=1)
    stage.records.away = False
    await stage.one.look()
    assert (await stage.other.tally("crm@1", 60)).calls == 3
    assert [row.calls for row in await stage.records.outcomes(LONG, 0)] == [3]


async def test_what_is_before_the_window_does_not_count() -> None:
    stage = Stage()
    stage.calls(stage.one, "1", good=2)
    await stage.one.look()
    stage.clock.advance(120)
    stage.calls(stage.one, "1", bad=1)
    await stage.one.look()
    assert [(await stage.one.tally("crm@1", seconds)).calls for seconds in (60, 600, 86_400)] == [1, 3, 3]
    assert (await stage.one.tally("crm@1", 86_400, span=SHORT)).calls == 3


async def test_what_was_read_before_a_change_does_not_undo_it() -> None:
    stage = Stage()
    await stage.release("2", 10)
    read, asked, go = stage.records.splits, asyncio.Event(), asyncio.Event()

    async def late() -> Any:
        found = await read()
        asked.set()
        await go.wait()
        return found

    stage.records.splits = late  # type: ignore[method-assign]
    looking = asyncio.create_task(stage.one.look())
    await asked.wait()
    stage.records.splits = read  # type: ignore[method-assign]
    await stage.one.change("crm", lambda split: promoted(split, "2"))
    go.set()
    await looking
    assert stage.one.split("crm").current == "2"


async def test_where_there_are_no_hands_the_store_is_left_alone() -> None:
    stage = Stage()
    stage.hands.clear()
    stage.records.splits = None  # type: ignore[method-assign, assignment]
    await stage.one.look()


async def test_a_process_looks_by_itself_and_keeps_what_it_counted_when_it_ends() -> None:
    stage = Stage()
    await stage.one.start()
    await stage.other.change("crm", lambda split: promoted(split, "3"))
    await until(lambda: stage.clock.sleeping)
    stage.clock.advance(LOOK_SECONDS)
    await until(lambda: stage.one.split("crm").current == "3")
    stage.calls(stage.one, "3", good=1)
    await stage.one.close()
    assert (await stage.other.tally("crm@3", 60)).calls == 1


async def test_what_is_left_of_an_error_budget_is_that_of_the_worst_promise() -> None:
    stage = Stage(hand("1"), hand("1", "erp", contract=False), declared={"crm": "1"})
    assert await stage.one.budgets_left() == {"crm": 1.0}, "without a contract there is none"
    stage.calls(stage.one, "1", good=95, bad=5)
    await stage.look()
    assert await stage.other.budgets_left() == {"crm": pytest.approx(0.5)}, "one in ten may fail"
    stage.calls(stage.one, "1", slow=50)
    await stage.look()
    [left] = (await stage.other.budgets_left()).values()
    assert left < 0, "a third were slow"
