"""A budget holds, and its raise wakes the session, wherever the owner dies (laws 1, 2 and 4).

One session meets its cap after a tool and behind a wait for its client; it is woken by a raise and by a removal. Its
owner is killed at every commit; the log is that of an undisturbed run.

Bug class this catches: a raise that is recorded while nobody goes on, a cap that the next owner has forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Scripted, text, tool_use
from agents.errors import InvalidRequest
from agents.sessions.events import Event, SessionStatus
from tests.unit.sessions.conftest import CUSTOM, message, toolset
from tests.unit.sessions.crash_points import Reborn, plain
from tests.unit.sessions.test_budget import INTERRUPT, cents, for_a_cent
from tests.unit.sessions.test_resume import AtCommit, Crashes, last, with_id

pytestmark = pytest.mark.usefixtures("quiet")


def answers(request: BrainRequest) -> Scripted:
    match sum(message["role"] == "assistant" for message in request.messages):
        case 0:
            return for_a_cent(tool_use("bash", {"command": "ls"}), tool_use("read", {"file_path": "x"}))
        case 1:
            return for_a_cent(tool_use("weather", {"city": "Oslo"}))
        case _:
            return for_a_cent(text("bye"))


async def story(session: Reborn) -> None:
    await session.create()
    await session.send(with_id(message("go")))
    await session.wait_for("session.status_idle")
    await _nothing_starts(session)
    await session.send(with_id(INTERRUPT))
    await session.update(budget=cents(2))
    log = await session.wait_for("session.status_idle", 2)
    await _nothing_starts(session)
    custom = last(log, "agent.custom_tool_use")
    await session.send(with_id({"type": "user.custom_tool_result", "custom_tool_use_id": custom}))
    await session.wait_for("session.status_idle", 3)
    await session.update(title="still paused")
    await session.update(budget=None)
    await session.wait_for("session.status_idle", 4)


async def _nothing_starts(session: Reborn) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await session.send(with_id(message("more")))
    assert caught.value.error_code == "budget_reached"


async def told(crashes: Crashes) -> tuple[Reborn, list[Event]]:
    session = Reborn(answers, crashes)
    session.record = replace(session.world.new_record(toolset(), CUSTOM), budget=cents(1))
    await session.tell(story)
    return session, list((await session.world.store.log.load(session.session)).events)


def check(session: Reborn, log: list[Event], undisturbed: list[dict[str, Any]]) -> None:
    assert plain(log) == undisturbed
    record = session.world.store.log.sessions[session.session].record()
    assert (record.status, record.budget, record.queued) == (SessionStatus.IDLE, None, 0)
    assert record.usage.token_cost_micro_usd == 30_000, "of each request what its one answer in the log cost"
    assert set(session.hands.effects.values()) == {1} and len(session.hands.effects) == 2


async def test_the_undisturbed_run_pauses_twice_and_ends() -> None:
    session, log = await told(lambda _, __: False)
    check(session, log, plain(log))
    stops = [event.body["stop_reason"]["type"] for event in log if event.type == "session.status_idle"]
    assert stops == ["budget_reached", "requires_action", "budget_reached", "end_turn"]
    assert not any(event.type == "user.interrupt" for event in log) and session.lives == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_owner_may_die_at_any_commit(when: str) -> None:
    undisturbed = plain((await told(lambda _, __: False))[1])
    number = 0
    while True:
        session, log = await told(AtCommit(number, when))
        check(session, log, undisturbed)
        if session.lives == 1:
            break
        number += 1
    assert number == 12


async def test_the_owner_may_die_after_every_commit() -> None:
    undisturbed = plain((await told(lambda _, __: False))[1])
    session, log = await told(lambda _, point: point in ("after create", "after append"))
    check(session, log, undisturbed)
    assert session.lives == 13, "one for every commit"
