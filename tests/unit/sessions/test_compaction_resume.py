"""A context is compacted once, wherever the session's owner dies, and every owner folds the same one.

Bug class this catches: a summary that is made twice for one need, or that only one process knows of.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainRequest
from agents.brains.scripted import Scripted, fail, reply, text, tool_use
from agents.brains.summarizing import asks_for_summary, entries_of
from agents.sessions.events import Event, EventType
from agents.sessions.state import SessionState

from .compacting import FULL, TINY, answers, opening, turns, world_of
from .conftest import message
from .crash_points import Reborn, plain
from .test_resume import with_id


async def test_a_new_owner_folds_the_same_context() -> None:
    async with world_of(answers) as world:
        session = await world.create()
        await turns(world, session, "one", "two", "three")
        live = world.harness._runners.known(session)
        assert live is not None
        restored = SessionState.restore(await world.store.log.load(session))
        assert restored.primary.conversation.messages == live.state.primary.conversation.messages
        assert vars(restored.primary.conversation) == vars(live.state.primary.conversation)


def mortal_answers(request: BrainRequest) -> Scripted:
    if asks_for_summary(request):
        return [text("half of"), fail()] if request.attempt == 1 else text(f"summary of {len(entries_of(request))}")
    if opening(request) is None:
        return reply(text("looking"), tool_use("bash", {"command": "ls"}), usage=FULL)
    return reply(text("done"), usage=TokenUsage(9))


async def story(session: Reborn) -> None:
    await session.create(with_id(message("go")))
    await session.wait_for("session.status_idle")


async def told(crashes: Callable[[int, str], bool]) -> tuple[Reborn, list[Event]]:
    session = Reborn(mortal_answers, crashes, brains={"tiny": TINY}, compaction={"keep_messages": 1})
    await session.tell(story)
    return session, list((await session.world.store.log.load(session.session)).events)


@pytest.mark.usefixtures("quiet")
async def test_the_owner_may_die_anywhere_and_the_context_is_compacted_once() -> None:
    calm, log = await told(lambda _, __: False)
    undisturbed = plain(log)
    kinds = [event.type for event in log]
    assert kinds.count(EventType.CONTEXT_COMPACTED) == 1 and kinds.count(EventType.SESSION_RESCHEDULED) == 1
    # What concerns leases is told by test_resume.py.
    ours = [number for number, point in enumerate(calm.points) if "append" in point or "model" in point]
    for number in ours:
        session, log = await told(lambda index, _, number=number: index == number)
        assert plain(log) == undisturbed
        assert session.lives == 2
