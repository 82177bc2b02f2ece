"""Approvals: bound to what was shown, taken once, enforced by code, alive after any restart.

Bug class this catches: an approval that is lost with a process or taken twice, that runs something else than what
was shown, a second approval that hangs, a log that says "denied" while the tool runs (user asks 37 to 42).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from agents.brains.scripted import text, tool_use
from agents.errors import InvalidRequest
from agents.ids import SessionId
from agents.sessions.approvals import call_digest
from agents.sessions.events import EventType
from agents.sessions.log import Commit

from .conftest import ASK, message, toolset
from .test_ledger import Scene

CONFIRMATION = EventType.USER_TOOL_CONFIRMATION


class AskingScene(Scene):
    """A scene whose bash asks; it can lose its owner right after a commit, before anybody hears of it."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_after = 0
        self.died = asyncio.Event()
        self._never = asyncio.Event()

    async def _noted(self, commit: Commit) -> None:
        await super()._noted(commit)
        if len(self.commits) == self.dies_after:
            self.died.set()
            await self._never.wait()

    async def ask(self, *, after: int = 0) -> tuple[SessionId, str]:
        """Bring a session to where it waits for its client's word; returns it and the call."""
        self.dies_after = after
        self.world.brain.add(tool_use("bash", {"command": "rm x", "timeout_ms": 5}), text("done"))
        session = await self.world.create(toolset(bash=ASK))
        await self.send(session, message("go"), again=False)
        (call_id,) = (await self.waits(session))["event_ids"]
        return session, call_id

    async def waits(self, session: SessionId) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while ((await self.world.record(session)).stop_reason or {}).get("type") != "requires_action":
                await self.carry_on()
        return (await self.world.record(session)).stop_reason or {}

    async def carry_on(self) -> None:
        """Let time pass; a dead owner is replaced."""
        await asyncio.sleep(0)
        if self.died.is_set():
            self.died.clear()
            await self.owner_dies()

    async def send(self, session: SessionId, event: dict[str, Any], *, again: bool = True) -> None:
        """Send as a client does that hears nothing when the owner dies: it may send the same once more."""
        sending = asyncio.create_task(self.world.send(session, event))
        async with asyncio.timeout(5):
            while not sending.done():
                if self.died.is_set():
                    sending.cancel()
                    await self.carry_on()
                    if again:
                        await self.world.send(session, event)
                    return
                await asyncio.sleep(0)
        await sending

    async def finish(self, session: SessionId) -> str:
        async with asyncio.timeout(5):
            while (await self.world.record(session)).stop_reason != {"type": "end_turn"}:
                await self.carry_on()
        return await self.outcome(session)


def confirm(call_id: str, result: str = "allow") -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": result}


@pytest.fixture
async def scene() -> AsyncIterator[AskingScene]:
    made = AskingScene()
    await made.start(made.world.harness)
    yield made
    for harness in made.harnesses:
        await harness.stop()


@pytest.mark.parametrize("after", range(1, 6))
@pytest.mark.parametrize("answer", ["allow", "deny"])
async def test_an_approval_survives_the_death_of_the_owner_after_any_commit(
    scene: AskingScene, after: int, answer: str
) -> None:
    session, call_id = await scene.ask(after=after)
    await scene.send(session, confirm(call_id, answer))
    assert await scene.finish(session) == ("ok" if answer == "allow" else "error")
    assert scene.hands.effects[call_id] == (answer == "allow")
    (confirmation,) = await scene.events(session, CONFIRMATION)
    assert confirmation.body["result"] == answer
    assert len(scene.harnesses) == (2 if after <= len(scene.commits) else 1)


async def test_a_confirmation_is_bound_to_the_tool_and_the_arguments_that_were_shown(scene: AskingScene) -> None:
    session, call_id = await scene.ask()
    await scene.send(session, confirm(call_id))
    await scene.finish(session)
    (confirmation,) = await scene.events(session, CONFIRMATION)
    shown = {"timeout_ms": 5, "command": "rm x"}
    assert confirmation.hidden == {"approves": call_digest("bash", shown)}
    assert "approves" not in str(confirmation.wire())
    assert call_digest("bash", shown) != call_digest("bash", {**shown, "command": "rm y"}) != call_digest("grep", shown)


async def test_a_call_that_is_not_what_was_approved_is_refused_and_never_run(scene: AskingScene) -> None:
    session, call_id = await scene.ask()
    scene.dies_after = len(scene.commits) + 1
    sending = asyncio.create_task(scene.world.send(session, confirm(call_id)))
    await asyncio.wait_for(scene.died.wait(), 5)
    for row in scene.world.store.log.stored(session).events:
        if row["id"] == call_id:
            row["body"] = orjson.dumps({**orjson.loads(row["body"]), "input": {"command": "rm -r /"}}).decode()
    assert await scene.finish(session) == "error"
    (result,) = await scene.events(session, EventType.AGENT_TOOL_RESULT)
    assert "was not run" in result.body["content"][0]["text"]
    assert not scene.hands.effects and await scene.tool_calls_metered(session) == 0
    sending.cancel()


async def test_of_a_yes_and_a_no_at_the_same_time_one_counts_and_the_other_is_told_so(scene: AskingScene) -> None:
    session, call_id = await scene.ask()
    answers = await asyncio.gather(
        scene.world.send(session, confirm(call_id, "deny")),
        scene.world.send(session, confirm(call_id, "allow")),
        return_exceptions=True,
    )
    assert sorted(isinstance(answer, InvalidRequest) for answer in answers) == [False, True]
    outcome = await scene.finish(session)
    (confirmation,) = await scene.events(session, CONFIRMATION)
    allowed = confirmation.body["result"] == "allow"
    assert (outcome == "ok") is allowed is bool(scene.hands.effects)


async def test_the_same_yes_twice_is_one_yes(scene: AskingScene) -> None:
    session, call_id = await scene.ask()
    one, two = await asyncio.gather(*(scene.world.send(session, confirm(call_id)) for _ in range(2)))
    assert one[0]["id"] == two[0]["id"]
    assert await scene.finish(session) == "ok"
    assert len(await scene.events(session, CONFIRMATION)) == 1 and scene.hands.effects[call_id] == 1


async def test_the_same_yes_twice_in_one_request_is_one_yes(scene: AskingScene) -> None:
    session, call_id = await scene.ask()
    one, two = await scene.world.send(session, confirm(call_id), confirm(call_id))
    assert one["id"] == two["id"]
    assert await scene.finish(session) == "ok"
    assert len(await scene.events(session, CONFIRMATION)) == 1 and scene.hands.effects[call_id] == 1


async def test_a_second_approval_in_one_conversation_is_asked_for_and_taken_like_the_first(scene: AskingScene) -> None:
    scene.world.brain.add(tool_use("bash", {}), tool_use("bash", {}), text("done"), tool_use("bash", {}), text("done"))
    session = await scene.world.create(toolset(bash=ASK))
    for turn in ([1, 2], [3]):
        await scene.world.send(session, message("go"))
        for count in turn:
            (call_id,) = (await scene.waits(session))["event_ids"]
            await scene.world.send(session, confirm(call_id))
            async with asyncio.timeout(5):
                while len(await scene.events(session, EventType.AGENT_TOOL_RESULT)) < count:
                    await asyncio.sleep(0)
            assert scene.hands.effects[call_id] == 1
        await scene.world.quiet()
    assert (await scene.world.record(session)).stop_reason == {"type": "end_turn"}


async def test_after_a_no_the_log_and_what_was_run_agree_also_for_the_next_owner(scene: AskingScene) -> None:
    session, call_id = await scene.ask()
    await scene.send(session, confirm(call_id, "deny"))
    assert await scene.finish(session) == "error"
    await scene.owner_dies()
    with pytest.raises(InvalidRequest):
        await scene.world.send(session, confirm(call_id, "allow"))
    assert not scene.hands.effects and not (await scene.world.record(session)).dispatched


async def test_a_model_cannot_approve_its_own_call(scene: AskingScene) -> None:
    scene.world.brain.add(
        [tool_use("bash", {}), tool_use("user.tool_confirmation", {"result": "allow"})], text("never said")
    )
    session = await scene.world.create(toolset(bash=ASK))
    await scene.world.send(session, message("go"))
    waiting = await scene.waits(session)
    uses = await scene.events(session, EventType.AGENT_TOOL_USE)
    assert waiting["event_ids"] == [uses[0].id]
    assert uses[1].body["evaluated_permission"] == "deny" and not scene.hands.effects
