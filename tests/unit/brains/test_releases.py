"""Which version answers a session, and what is learnt of it.

Bug class this catches: a session that changes its version without a reason, or for a reason the log does not tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.assembly import AnswerAssembler
from agents.brains.policy import RulePolicy
from agents.brains.port import BrainFailure, BrainRequest, Refusal, Standing
from agents.brains.registry import Registry
from agents.brains.release_records import Outcome
from agents.brains.releases import Releases, declared_split
from agents.brains.route import versions_told
from agents.brains.routing import RoutedBrain
from agents.brains.scripted import Fail, ScriptedBrain, fail, text
from agents.economics.price_book import PriceBook
from agents.governance.split import Split, StoredSplit

REFUSED = Fail(BrainFailure("request_failed", "too long", transient=False, refusal=Refusal(400, "too long")))


class Stage:
    """A brain with versions 1 and 2, and one that stands in; each says which it is."""

    def __init__(self, **qwen: Any) -> None:
        given = {"engine": "replay", "versions": {"2": {}}, "fallbacks": ["spare"], **qwen}
        self.definition = BrainDefinition.model_validate(given)
        self.registry = Registry({"qwen": self.definition, "spare": BrainDefinition(engine="replay")})
        self.seconds = 0.0
        self.plan: dict[str, list[Any]] = {brain.id: [] for brain in self.registry.brains}
        self.brains = {brain.id: ScriptedBrain(by=self._next) for brain in self.registry.brains}
        self.slow: set[str] = set()
        self.down: set[str] = set()
        self.releases = Releases(self.registry, lambda: self.seconds)
        policy = RulePolicy(PriceBook.load())
        self.brain = RoutedBrain(self.registry, self, policy, releases=self.releases, patience=0)

    def _next(self, request: BrainRequest) -> Any:
        plan = self.plan[request.brain]
        return plan.pop(0) if plan else text(request.brain)

    async def think(self, brain: str, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        if brain in self.slow:
            self.seconds += 9
        async for event in self.brains[brain].think(request):
            yield event

    def standing(self, brain: str) -> Standing:
        return Standing(0, 0, 0, 0) if brain in self.down else Standing(1, 4, 0, 0)

    def split(self, split: Split) -> None:
        self.releases.learn({"qwen": StoredSplit(split, declared_split(self.definition), 1)}, 0)

    async def ask(
        self, model: str = "qwen", session: str = "s", versions: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return what the log would say of the brain that answered."""
        assembler = AnswerAssembler()
        request = BrainRequest(session, model, [{"role": "user", "content": "hi"}], versions=versions or {})
        async for event in self.brain.think(request):
            assembler.feed(event)
        [block] = assembler.finish().blocks
        assert assembler.route is not None
        told = assembler.route.wire()
        assert block.text == told["id"]
        return told


async def test_new_sessions_are_dealt_out_by_the_weights_and_then_stay() -> None:
    stage = Stage(versions={"2": {"weight": 50}})
    first = {f"s{n}": await stage.ask(session=f"s{n}") for n in range(20)}
    assert {told["id"] for told in first.values()} == {"qwen@1", "qwen@2"}
    stage.split(Split("2", previous="1"))
    for session, told in first.items():
        assert await stage.ask(session=session, versions=versions_told(told)) == told
        assert (await stage.ask(session=session))["id"] == "qwen@2"


async def test_a_version_that_is_named_answers_whatever_the_weights() -> None:
    stage = Stage()
    stage.split(Split("1", withdrawn={"2": "slow"}))
    assert await stage.ask("qwen@2", versions={"qwen": "1"}) == {"id": "qwen@2", "requested": "qwen@2"}


async def test_the_policy_and_fallbacks_keep_to_the_sessions_version_too() -> None:
    stage = Stage(versions={"2": {}}, fallbacks=[], roles=["reasoning"])
    assert (await stage.ask("auto:reasoning", versions={"qwen": "2"}))["id"] == "qwen@2"
    turned = Stage(fallbacks=[])
    turned.registry = Registry(
        {"first": BrainDefinition(engine="replay", fallbacks=["qwen"]), "qwen": turned.definition}
    )
    turned.brains["first@1"] = ScriptedBrain(fail("overloaded"))
    turned.brain = RoutedBrain(turned.registry, turned, RulePolicy(PriceBook.load()), patience=0)
    assert (await turned.ask("first", versions={"qwen": "2"}))["id"] == "qwen@2"


async def test_a_session_whose_version_is_rolled_back_or_gone_moves_once_and_the_log_says_why() -> None:
    stage = Stage(versions={"2": {}, "3": {}})
    stage.split(Split("1", {"3": 100}, withdrawn={"2": "rolled back: 3 of 20 requests failed"}))
    told = await stage.ask(versions={"qwen": "2"})
    moved = {"id": "qwen@2", "reason": "rolled back: 3 of 20 requests failed"}
    assert told == {"id": "qwen@1", "requested": "qwen", "moved_from": moved}
    assert await stage.ask(versions=versions_told(told)) == {"id": "qwen@1", "requested": "qwen"}
    told = await stage.ask(versions={"qwen": "0"})
    assert told["moved_from"] == {"id": "qwen@0", "reason": "it is no longer declared"}


async def test_the_current_version_stands_in_first_and_the_session_keeps_its_own() -> None:
    stage = Stage()
    stage.plan["qwen@2"] = [fail("overloaded")]
    told = await stage.ask(versions={"qwen": "2"})
    assert (told["id"], [each["id"] for each in told["passed_over"]]) == ("qwen@1", ["qwen@2"])
    assert versions_told(told) == {"qwen": "2"}
    stage.down.add("qwen@2")
    assert (await stage.ask(versions={"qwen": "2"}))["id"] == "qwen@1"
    stage.down.add("qwen@1")
    told = await stage.ask(versions={"qwen": "2"})
    assert (told["id"], versions_told(told)) == ("spare@1", {"qwen": "2", "spare": "1"})


async def test_what_was_changed_at_run_time_gives_way_to_settings_that_ask_for_something_else() -> None:
    stage = Stage(versions={"2": {"weight": 10}})
    before = replace(declared_split(stage.definition), weights={"2": 20})
    stage.releases.learn({"qwen": StoredSplit(Split("2", previous="1"), before, 7)}, 0)
    assert stage.releases.split("qwen") == Split("1", {"2": 10})
    stage.releases.learn({"qwen": StoredSplit(Split("2"), declared_split(stage.definition), 8)}, 0)
    assert (stage.releases.split("qwen").current, stage.releases.find("qwen").id) == ("2", "qwen@2")
    assert stage.releases.find("qwen@1").id == "qwen@1"


async def test_how_a_version_on_trial_does_is_counted() -> None:
    stage = Stage(versions={"2": {"weight": 10}}, rollback={"max_p95_seconds": 8})
    stage.plan["qwen@2"] = [fail("unknown"), fail("overloaded"), REFUSED]
    for _ in range(2):
        await stage.ask(versions={"qwen": "2"})
    with pytest.raises(BrainFailure):
        await stage.ask(versions={"qwen": "2"})
    await stage.ask(versions={"qwen": "2"})
    stage.slow.add("qwen@2")
    await stage.ask(versions={"qwen": "2"})
    assert stage.releases.take_outcomes() == {"qwen@2": Outcome(requests=4, failed=2, slow=1)}
    assert stage.releases.take_outcomes() == {}


async def test_what_nobody_waited_for_counts_only_when_it_took_too_long() -> None:
    stage = Stage(versions={"2": {"weight": 10}}, rollback={"max_p95_seconds": 8})
    for slow in (set[str](), {"qwen@2"}):
        stage.slow = slow
        answer = stage.brain.think(BrainRequest("s", "qwen", [], versions={"qwen": "2"}))
        await anext(answer)
        await anext(answer)
        await answer.aclose()
    assert stage.releases.take_outcomes() == {"qwen@2": Outcome(1, slow=1)}


async def test_each_version_is_said_to_have_answered_once() -> None:
    stage = Stage()
    stage.plan["spare@1"] = [fail("unknown")]
    await stage.ask()
    await stage.ask(versions={"qwen": "2"})
    with pytest.raises(BrainFailure):
        await stage.ask("spare")
    assert [brain.id for brain in stage.releases.take_answered()] == ["qwen@1", "qwen@2"]
    await stage.ask()
    assert list(stage.releases.take_answered()) == []
