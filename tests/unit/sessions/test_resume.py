"""A session goes on exactly where its log ends, wherever its owner died (laws 1, 2, 4 and 5).

One session passes through everything that a turn can hold: parallel tools, a confirmation, a custom tool, a
failing model that is asked again after a pause, an interrupt in mid-tool, messages that wait. Its owner is
killed at every commit, and at any other point; whatever happens, the log is the one of an undisturbed run.

Bug class this catches: state that lived in the process only, a step that is done twice or left out, an event
that was shown and is not there, a message that is lost or there twice.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.brains.port import BrainRequest
from agents.brains.scripted import Scripted, fail, text, thinking, tool_use
from agents.economics.meter import MeterKind
from agents.ids import new_event_id
from agents.sessions.events import Event, EventType, SessionStatus
from tests.unit.sessions.conftest import ASK, CUSTOM, message, toolset
from tests.unit.sessions.crash_points import Reborn, plain

pytestmark = pytest.mark.usefixtures("quiet")

Crashes = Callable[[int, str], bool]


def answers(request: BrainRequest) -> Scripted:
    """What the model says depends on what it was shown, so that it may be asked again."""
    match sum(message["role"] == "assistant" for message in request.messages):
        case 0:
            return [
                thinking("hmm"),
                text("both"),
                tool_use("bash", {"command": "ls"}),
                tool_use("read", {"file_path": "x"}),
            ]
        case 1:
            return [tool_use("write", {"file_path": "x", "content": "y"}), tool_use("weather", {"city": "Oslo"})]
        case 2 if request.attempt < 3:
            return [text("half of"), fail()]
        case 2:
            return [text("the weather is fine")]
        case 3:
            return [tool_use("bash", {"command": "slow"})]
        case _:
            return [text("bye")]


def with_id(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "id": new_event_id()}


def last(log: list[dict[str, Any]], type_: str) -> str:
    return [event["id"] for event in log if event["type"] == type_][-1]


async def story(session: Reborn) -> None:
    """What the client does: each step when the log has what it answers to."""
    await session.create()
    await session.send(with_id(message("go")))
    log = await session.wait_for("session.status_idle")
    asked, custom = last(log, "agent.tool_use"), last(log, "agent.custom_tool_use")
    await session.send(with_id({"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"}))
    await session.wait_for("session.status_idle", 2)
    content = [{"type": "text", "text": "7 C"}]
    await session.send(with_id({"type": "user.custom_tool_result", "custom_tool_use_id": custom, "content": content}))
    await session.wait_for("session.status_idle", 3)
    await session.send(with_id(message("now something slow")))
    await session.wait_for("agent.tool_use", 4)
    await session.send(with_id({"type": "user.interrupt"}), with_id(message("never mind")))
    await session.wait_for("session.status_idle", 5)


def made(crashes: Crashes) -> Reborn:
    random.seed(7)  # pauses are jittered; the points of a run must have the same numbers every time
    session = Reborn(answers, crashes)
    session.record = session.world.new_record(toolset(write=ASK), CUSTOM)
    return session


async def told(crashes: Crashes) -> tuple[Reborn, list[Event]]:
    session = made(crashes)
    await session.tell(story)
    return session, list((await session.world.store.log.load(session.session)).events)


async def check(session: Reborn, log: list[Event], undisturbed: list[dict[str, Any]]) -> None:
    """Judge a run by its log, by what was shown of it, and by what the tools did."""
    assert plain(log) == undisturbed
    ids = [event.id for event in log]
    assert len(set(ids)) == len(ids) and [event.seq for event in log] == list(range(1, len(log) + 1))
    uses = [event.id for event in log if event.type is EventType.AGENT_TOOL_USE]
    results = Counter(event.body["tool_use_id"] for event in log if event.type is EventType.AGENT_TOOL_RESULT)
    assert results == dict.fromkeys(uses, 1)
    assert set(session.hands.effects.values()) == {1}
    # The last call is interrupted; when the owner died before it went out, the next one need not send it any more.
    assert set(uses[:-1]) <= set(session.hands.effects) <= set(uses)
    stored = session.world.store.log.sessions[session.session]
    record = stored.record()
    assert record.status is SessionStatus.IDLE and not stored.queue and record.queued == 0 and not record.dispatched
    by_id = {event.id: event.wire() for event in log}
    for frame in session.shown:
        shown = orjson.loads(frame.data)
        if frame.seq is None:
            shown["processed_at"] = by_id[shown["id"]]["processed_at"]  # a copy of what waits
        assert shown == by_id[shown["id"]]
    answered = [total.count for total in await session.world.meter.totals() if total.kind is MeterKind.TOOL_CALL]
    assert sum(answered) == len(uses) - 1, "every call that a tool answered is counted once"


async def test_the_undisturbed_run_is_what_it_should_be() -> None:
    session, log = await told(lambda _, __: False)
    await check(session, log, plain(log))
    kinds = Counter(event.type for event in log)
    assert kinds[EventType.SESSION_RESCHEDULED] == 2 and kinds[EventType.USER_INTERRUPT] == 1
    assert session.lives == 1


_known: list[list[dict[str, Any]]] = []


async def _undisturbed() -> list[dict[str, Any]]:
    if not _known:
        _known.append(plain((await told(lambda _, __: False))[1]))
    return _known[0]


class AtCommit:
    """Ends a life before or after one commit, counted over all lives."""

    def __init__(self, number: int, when: str) -> None:
        self._left = number
        self._points = {f"{when} create", f"{when} append"}

    def __call__(self, index: int, point: str) -> bool:
        self._left -= point in self._points
        return self._left == -1 and point in self._points


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_owner_may_die_at_any_commit(when: str) -> None:
    undisturbed = await _undisturbed()
    number = 0
    while True:
        session, log = await told(AtCommit(number, when))
        await check(session, log, undisturbed)
        if session.lives == 1:
            break
        number += 1
    assert number == sum(point in (f"{when} create", f"{when} append") for point in session.points) >= 20


async def test_the_owner_may_die_after_every_commit() -> None:
    session, log = await told(lambda _, point: point in ("after create", "after append"))
    await check(session, log, await _undisturbed())
    assert session.lives > 20, "one for every commit"


async def test_the_owner_may_die_twice_at_every_commit() -> None:
    """Before it, and when it is tried again after it."""
    commits = 0

    def crashes(_: int, point: str) -> bool:
        nonlocal commits
        if point in ("before create", "before append"):
            commits += 1
            return commits % 2 == 1
        return point in ("after create", "after append")

    session, log = await told(crashes)
    await check(session, log, await _undisturbed())
    assert session.lives > 40


async def test_the_owner_may_die_at_any_point_at_all() -> None:
    undisturbed = await _undisturbed()
    points = (await told(lambda _, __: False))[0].points
    for number in range(len(points)):
        session, log = await told(lambda index, _, number=number: index == number)
        await check(session, log, undisturbed)
        assert session.lives == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 40), max_size=12))
async def test_the_owner_may_die_again_and_again(gaps: list[int]) -> None:
    """A life ends so many points after the one before it has ended."""
    left = iter([*gaps, 10**9])
    until = next(left)

    def crashes(_: int, __: str) -> bool:
        nonlocal until
        until -= 1
        if until == 0:
            until = next(left)
            return True
        return False

    logging.disable(logging.CRITICAL)
    session, log = await told(crashes)
    await check(session, log, await _undisturbed())


async def short_story(session: Reborn) -> None:
    await session.create(with_id(message("go")))
    await session.wait_for("session.status_idle")
    await session.delete()
    await session.until(lambda: not session.world.store.log._deleted)


async def test_a_session_that_begins_with_a_message_and_is_deleted_leaves_nothing_wherever_its_owner_dies() -> None:
    calm = made(lambda _, __: False)
    await calm.tell(short_story)
    for number in range(len(calm.points)):
        session = made(lambda index, _, number=number: index == number)
        await session.tell(short_story)
        assert session.lives == 2 and session.session in session.hands.released
        assert not session.world.store.log.sessions and not session.world.store.log._deleted
        assert set(session.hands.effects.values()) <= {1}
