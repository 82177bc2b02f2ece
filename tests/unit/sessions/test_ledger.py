"""The ledger of effects: what becomes of a tool call when its host, its owner or both die around it (law 5).

Bug class this catches: a call that runs twice though once was wanted, a call without a result or with two, an
effect that is passed over in silence, a session that waits for a host that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agents.brains.scripted import text, tool_use
from agents.economics.meter import MeterKind
from agents.errors import Unavailable
from agents.ids import EventId, SessionId
from agents.sessions.events import Event, EventType
from agents.sessions.harness import Harness
from agents.sessions.log import Commit

from .conftest import ASK, World, make_world, message, toolset
from .mortal_hands import Moment, MortalHands

ONCE, TWICE, NEVER = 1, 2, 0


class Scene:
    """A world whose hands are mortal, and the one tool call that it is about."""

    def __init__(self) -> None:
        self.world: World = make_world()
        self.hands = MortalHands()
        self.world.ports = replace(self.world.ports, hands=self.hands)
        self.world.harness = Harness(self.world.ports, owner="harness-0")
        self.harnesses = [self.world.harness]
        self.commits: list[Commit] = []
        self._append = self.world.store.log.append
        self.world.store.log.append = self._noted  # type: ignore[method-assign]

    async def _noted(self, commit: Commit) -> None:
        if any(event.type is EventType.AGENT_TOOL_RESULT for event in commit.events):
            await self.hands.pause(Moment.ANSWERED)
        await self._append(commit)
        self.commits.append(commit)

    async def start(self, harness: Harness) -> None:
        await harness.start()

    async def begin(self, *uses: Any, tools: dict[str, Any] | None = None) -> SessionId:
        self.world.brain.add(list(uses), text("done"))
        session = await self.world.create(*([tools] if tools else []))
        await self.world.send(session, message("go"))
        return session

    async def owner_dies(self) -> None:
        """Another owner takes over; the one before is stale, whatever it still does."""
        self.world.harness = self.world.another_harness()
        self.harnesses.append(self.world.harness)
        await self.start(self.world.harness)

    async def events(self, session: SessionId, type_: EventType) -> list[Event]:
        return [event for event in (await self.world.store.log.load(session)).events if event.type is type_]

    async def outcome(self, session: SessionId) -> str:
        """Wait for the end of the turn; says how the only call ended, after checking what must always hold."""
        async with asyncio.timeout(5):
            while (record := await self.world.record(session)).status != "idle":
                await asyncio.sleep(0)
        assert record.stop_reason == {"type": "end_turn"}
        assert record.dispatched == {}, "no intent outlives its call"
        (use,) = await self.events(session, EventType.AGENT_TOOL_USE)
        (result,) = await self.events(session, EventType.AGENT_TOOL_RESULT)
        assert result.body["tool_use_id"] == use.id
        ambiguous = result.hidden == {"outcome": "ambiguous"}
        assert ambiguous <= result.body["is_error"]
        return "ambiguous" if ambiguous else "error" if result.body["is_error"] else "ok"

    async def tool_calls_metered(self, session: SessionId) -> int:
        totals = await self.world.meter.totals(session)
        return sum(total.count for total in totals if total.kind is MeterKind.TOOL_CALL)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.start(made.world.harness)
    yield made
    made.hands.go.set()
    for harness in made.harnesses:
        await harness.stop()


@dataclass(frozen=True)
class Row:
    """What dies at a moment, and what must come of a call of each kind: its result, and how often it took effect."""

    moment: Moment
    dies: str
    bash: tuple[str, int]
    write: tuple[str, int]


OK = ("ok", ONCE)
TABLE = [
    Row(Moment.PLACED, "host", bash=OK, write=OK),
    Row(Moment.PLACED, "owner", bash=OK, write=OK),
    # The next owner cannot know that nothing was sent.
    Row(Moment.PLACED, "both", bash=("ambiguous", NEVER), write=OK),
    Row(Moment.ARRIVED, "host", bash=("ambiguous", NEVER), write=OK),
    Row(Moment.ARRIVED, "owner", bash=OK, write=OK),
    Row(Moment.ARRIVED, "both", bash=("ambiguous", NEVER), write=OK),
    Row(Moment.DONE, "host", bash=("ambiguous", ONCE), write=("ok", TWICE)),
    Row(Moment.DONE, "owner", bash=OK, write=OK),
    Row(Moment.DONE, "both", bash=("ambiguous", ONCE), write=("ok", TWICE)),
    Row(Moment.ANSWERED, "host", bash=OK, write=OK),
    Row(Moment.ANSWERED, "owner", bash=OK, write=OK),
    Row(Moment.ANSWERED, "both", bash=("ambiguous", ONCE), write=("ok", TWICE)),
]


@pytest.mark.parametrize("tool", ["bash", "write"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.moment.name.lower()}-{row.dies}")
async def test_whatever_dies_around_a_call_it_has_one_result_and_its_effects_are_accounted_for(
    scene: Scene, row: Row, tool: str
) -> None:
    hands = scene.hands
    hands.hold = row.moment
    session = await scene.begin(tool_use(tool, {}))
    async with asyncio.timeout(5):
        await hands.reached.wait()
    (call_id, host) = next(iter((await scene.world.record(session)).dispatched.items()))
    if row.dies in ("host", "both"):
        hands.die(host)
    if row.dies in ("owner", "both"):
        await scene.owner_dies()
    hands.go.set()
    outcome, effects = getattr(row, tool)
    assert await scene.outcome(session) == outcome
    assert hands.effects[call_id] == effects
    assert await scene.tool_calls_metered(session) == 1
    figures = scene.world.ports.effects
    assert figures.ambiguous == (outcome == "ambiguous")
    # What would be ambiguous for bash is what a repeatable tool is run again for.
    assert figures.repeated == (tool == "write" and row.bash[0] == "ambiguous")
    assert (figures.resumed > 0) == (row.dies in ("owner", "both"))


async def test_a_turn_with_one_tool_call_makes_no_commit_for_the_ledger(scene: Scene) -> None:
    session = await scene.begin(tool_use("bash", {}))
    assert await scene.outcome(session) == "ok"
    made = [[event.type.value for event in commit.events] for commit in scene.commits]
    assert len(made) == 4 and all(made), made  # taken up, answered, ran, answered: as if there were no ledger
    intents = [commit.record.dispatched for commit in scene.commits]
    (use,) = await scene.events(session, EventType.AGENT_TOOL_USE)
    assert intents == [{}, {use.id: "a/1"}, {}, {}]


async def test_a_place_that_is_not_known_yet_is_committed_before_the_call_goes_out(scene: Scene) -> None:
    scene.hands.knows_places = False
    scene.hands.hold = Moment.PLACED
    session = await scene.begin(tool_use("bash", {}))
    async with asyncio.timeout(5):
        await scene.hands.reached.wait()
    assert list((await scene.world.record(session)).dispatched.values()) == ["a/1"]
    assert scene.hands.ran_on == []
    scene.hands.go.set()
    assert await scene.outcome(session) == "ok"


async def test_a_session_stays_with_its_host_and_remembers_the_version_of_its_files(scene: Scene) -> None:
    scene.hands.hosts = dict(reversed(scene.hands.hosts.items()))
    scene.world.brain.add(tool_use("bash", {}), tool_use("bash", {}), text("done"))
    session = await scene.world.create()
    await scene.world.send(session, message("go"))
    await scene.world.idle(session)
    record = await scene.world.record(session)
    assert (record.workspace_host, record.workspace_version) == ("b/1", 1)
    scene.hands.hosts = dict(reversed(scene.hands.hosts.items()))
    scene.world.brain.add(tool_use("bash", {}), text("done"))
    await scene.world.send(session, message("go"))
    await scene.world.idle(session, 2)
    assert scene.hands.ran_on == ["b/1"] * 3


async def test_a_call_that_takes_its_hosts_down_is_not_tried_on_and_on(scene: Scene) -> None:
    scene.hands.deadly = "read"
    session = await scene.begin(tool_use("read", {}))
    assert await scene.outcome(session) == "ambiguous"
    assert sum(scene.hands.effects.values()) == 3


async def test_a_leaving_host_that_has_never_seen_a_call_gives_it_up_unharmed(scene: Scene) -> None:
    scene.hands.hold = Moment.PLACED
    session = await scene.begin(tool_use("bash", {}))
    async with asyncio.timeout(5):
        await scene.hands.reached.wait()
    scene.hands.hosts["a"].leaving = True
    await scene.owner_dies()  # the new owner cannot know whether the call was sent; the host does
    scene.hands.go.set()
    assert await scene.outcome(session) == "ok"
    assert scene.hands.ran_on == ["b/1"]


async def test_a_call_that_is_refused_goes_on_until_a_host_takes_it(scene: Scene) -> None:
    scene.hands.hosts["a"].leaving = True
    scene.hands.stale_answers = 6
    session = await scene.begin(tool_use("bash", {}))
    assert await scene.outcome(session) == "ok"
    assert scene.hands.ran_on == ["b/1"]


async def test_hands_that_name_a_leaving_host_for_ever_are_not_believed_for_ever(scene: Scene) -> None:
    scene.hands.hosts["a"].leaving = True
    scene.hands.stale_answers = 1000
    session = await scene.begin(tool_use("bash", {}))
    assert await scene.outcome(session) == "error"
    assert scene.hands.ran_on == []


async def test_without_any_host_a_call_is_an_error_that_says_it_was_not_run(scene: Scene) -> None:
    scene.hands.hosts.clear()
    session = await scene.begin(tool_use("bash", {}))
    assert await scene.outcome(session) == "error"
    (result,) = await scene.events(session, EventType.AGENT_TOOL_RESULT)
    assert "was not run" in result.body["content"][0]["text"]
    assert await scene.tool_calls_metered(session) == 0


async def test_an_ambiguous_result_says_what_is_not_known_and_what_to_do(scene: Scene) -> None:
    scene.hands.deadly = "bash"
    session = await scene.begin(tool_use("bash", {}))
    assert await scene.outcome(session) == "ambiguous"
    (result,) = await scene.events(session, EventType.AGENT_TOOL_RESULT)
    said = result.body["content"][0]["text"]
    assert "fully, partly or not at all" in said and "check" in said


async def test_an_interrupt_leaves_no_intent_and_stops_the_call_where_it_runs(scene: Scene) -> None:
    scene.hands.hold = Moment.ARRIVED
    session = await scene.begin(tool_use("bash", {}))
    async with asyncio.timeout(5):
        await scene.hands.reached.wait()
    await scene.world.send(session, {"type": "user.interrupt"})
    assert await scene.outcome(session) == "error"
    (use,) = await scene.events(session, EventType.AGENT_TOOL_USE)
    assert scene.hands.cancelled == {use.id: "a/1"}


async def test_a_failing_commit_of_a_result_is_the_logs_failure_and_not_the_hands(scene: Scene) -> None:
    log, append = scene.world.store.log, scene.world.store.log.append
    failures = [Unavailable("the store is away")]

    async def fails_once(commit: Commit) -> None:
        if failures and any(event.type is EventType.AGENT_TOOL_RESULT for event in commit.events):
            raise failures.pop()
        await append(commit)

    log.append = fails_once  # type: ignore[method-assign]
    session = await scene.begin(tool_use("bash", {}))
    async with asyncio.timeout(5):
        while failures:
            await asyncio.sleep(0)
    await scene.owner_dies()
    assert await scene.outcome(session) == "ok"
    assert sum(scene.hands.effects.values()) == ONCE


async def test_a_denied_call_has_neither_an_intent_nor_a_run(scene: Scene) -> None:
    session = await scene.begin(tool_use("bash", {}), tools=toolset(bash=ASK))
    log = await scene.world.idle(session)
    (call_id,) = log[-1]["stop_reason"]["event_ids"]
    assert (await scene.world.record(session)).dispatched == {}
    await scene.world.send(session, {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": "deny"})
    await scene.world.idle(session, 2)
    assert await scene.outcome(session) == "error"
    assert EventId(call_id) not in scene.hands.effects and all(not commit.record.dispatched for commit in scene.commits)
