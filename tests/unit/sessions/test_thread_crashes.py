"""Every thread of a session goes on where it stood, wherever the owner of the session died (laws 1, 2, 4 and 5).

A coordinator hands work to two agents at once: one calls a tool, the other a tool and then the client. The owner is
killed at every commit, before and after it; what each thread did, and what it was told, is that of an undisturbed run.

Bug class this catches: a message between threads that is lost or arrives twice, a thread that nobody takes up, one that
is created twice, a session that runs for ever because a child of it was forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.brains.port import BrainRequest
from agents.brains.scripted import Scripted, text, tool_use
from agents.sessions.events import Event, SessionStatus
from agents.sessions.state import SessionState
from tests.unit.sessions.conftest import CUSTOM, agent_snapshot, message, toolset
from tests.unit.sessions.crash_points import Reborn
from tests.unit.sessions.test_resume import AtCommit, Crashes, last, with_id

pytestmark = pytest.mark.usefixtures("quiet")


BUSY = 2


def helper(name: str) -> dict[str, Any]:
    return {**agent_snapshot(toolset(), CUSTOM), "id": f"agent_{name}", "name": name, "system": f"You are {name}."}


def answers(request: BrainRequest) -> Scripted:
    spoke = sum(message["role"] == "assistant" for message in request.messages)
    system = request.system or ""
    if "You are bob." in system:
        return [tool_use("bash", {"command": "ls"})] if spoke == 0 else [text("bob is done")]
    if "You are alice." in system:
        turns = (
            [tool_use("read", {"file_path": "x"})],
            [tool_use("weather", {"city": "Oslo"})],
            [text("alice is done")],
        )
        return turns[spoke]
    if spoke == 0:
        return [tool_use("create_agent", {"agent": name, "message": f"task of {name}"}) for name in ("alice", "bob")]
    # Busy until after the first of them has ended: its message waits.
    return [tool_use("bash", {"command": "ls"})] if spoke <= BUSY else [text("noted")]


async def story(session: Reborn) -> None:
    await session.create()
    await session.send(with_id(message("go")))
    log = await session.wait_for("session.status_idle")
    custom = last(log, "agent.custom_tool_use")
    await session.send(with_id({"type": "user.custom_tool_result", "custom_tool_use_id": custom}))
    await session.wait_for("session.status_idle", 2)


async def told(crashes: Crashes) -> tuple[Reborn, list[Event]]:
    session = Reborn(answers, crashes)
    record = session.world.new_record(toolset(), CUSTOM)
    agents = [helper("alice"), helper("bob")]
    agent = {**record.agent, "multiagent": {"type": "coordinator", "agents": agents}}
    session.record = replace(record, agent=agent)
    await session.tell(story)
    return session, list((await session.world.store.log.load(session.session)).events)


OF_EACH = [
    "session.thread_status_running",
    "agent.thread_message_received",
    "span.model_request_start",
    "agent.tool_use",
    "span.model_request_end",
    "agent.tool_result",
    "span.model_request_start",
]
BOB = [*OF_EACH, "agent.message", "span.model_request_end", "agent.thread_message_sent", "session.thread_status_idle"]
ALICE = [
    *OF_EACH,
    "agent.custom_tool_use",
    "span.model_request_end",
    "session.thread_status_idle",
    "session.thread_status_running",
    "user.custom_tool_result",
    "span.model_request_start",
    *BOB[-4:],
]


async def check(session: Reborn, log: list[Event]) -> None:
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    created = {
        event.body["agent_name"]: event.body["session_thread_id"] for event in log if "thread_created" in event.type
    }
    assert list(created) == ["alice", "bob"]
    assert sorted(_kinds(log, created["alice"])) == sorted(ALICE)
    assert _kinds(log, created["bob"]) == BOB
    heard = sorted(
        event.body["content"][0]["text"]
        for event in log
        if event.type == "agent.thread_message_received" and event.thread is None
    )
    assert heard == ["alice is done", "bob is done"]
    assert len(session.hands.effects) == 2 + BUSY and set(session.hands.effects.values()) == {1}
    record = session.world.store.log.sessions[session.session].record()
    assert (record.status, record.stop_reason, record.queued) == (SessionStatus.IDLE, {"type": "end_turn"}, 0)
    state = SessionState.restore(await session.world.store.log.load(session.session))
    assert all(thread.status is SessionStatus.IDLE and not thread.calls for thread in state.threads.values())
    parts = [thread.row.usage.input_tokens for thread in state.threads.values() if thread.row]
    assert sum(parts) == record.usage.input_tokens and 0 not in parts


def _kinds(log: list[Event], thread: str) -> list[str]:
    return [event.type.value for event in log if event.thread == thread]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_owner_may_die_at_any_commit(when: str) -> None:
    number = 0
    while True:
        session, log = await told(AtCommit(number, when))
        await check(session, log)
        if session.lives == 1:
            break
        number += 1
    assert number > 12


async def test_the_owner_may_die_after_every_commit() -> None:
    session, log = await told(lambda _, point: point in ("after create", "after append"))
    await check(session, log)
    assert session.lives > 12
