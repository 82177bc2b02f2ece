"""Real signals to real processes, and what must be left of the sessions afterwards.

Bug class this catches: state that lived in a process only, answers given before the commit, sandboxes and
workers that outlive their platform, a restart that forgets or repeats.
"""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from tests.cluster.instance import Instance, survivors
from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    ASK,
    CUSTOM,
    Json,
    Scene,
    bash,
    calls,
    fails,
    message,
    of_type,
    ordered_results,
    says,
    text_of,
    toolset,
)

pytestmark = pytest.mark.timeout(300)

END_TURN = {"type": "end_turn"}
STUCK = "echo run >> runs; sleep 600"


def logged(events: list[Json]) -> list[Json]:
    return [event for event in events if event["processed_at"]]


async def running_tool(scene: Scene) -> str:
    """A session whose sandbox runs a command that would take ten minutes."""
    await scene.answers(calls(bash("echo ready")), calls(bash(STUCK)), calls(bash("cat runs")), says("tool done"))
    session = await scene.session(toolset())
    await scene.send(session, message())
    await scene.until(session, "agent.tool_use", 2)
    return session


class Acknowledged:
    """Sends messages one after the other until it cannot, and remembers what was acknowledged."""

    def __init__(self, scene: Scene, session: str) -> None:
        self.session = session
        self.ids: list[str] = []
        self.enough = asyncio.Event()
        self._scene = scene

    async def run(self) -> None:
        with contextlib.suppress(httpx.HTTPError):
            for number in range(50):
                path = f"/v1/sessions/{self.session}/events"
                answer = await self._scene.http.post(path, json={"events": [message(f"{number}")]})
                if answer.status_code != 200:
                    return
                self.ids.append(answer.json()["data"][0]["id"])
                if len(self.ids) >= 5:
                    self.enough.set()


@requirement("platform:crash:log", "platform:crash:resume", "platform:no-survivors")
async def test_everything_killed_at_once_loses_nothing_and_goes_on_by_itself(instance: Instance, scene: Scene) -> None:
    acting, asked_scene, retrying, sending = (
        Scene(scene.platform, scene.client, scene.http, scene.environment_id) for _ in range(4)
    )
    await scene.answers(says("before"), says(["half", scene.gate("never")]), says("recovered"))
    done = await scene.session()
    finished = await scene.turn(done)
    thinking = await scene.session()
    await scene.send(thinking, message())
    await scene.shown(2)
    [queued] = await scene.send(thinking, message("queued"))
    tool = await running_tool(acting)
    await asked_scene.answers(calls(bash("echo allowed"), ("weather", {"city": "Oslo"})), says("answered"))
    waiting = await asked_scene.session(toolset(bash=ASK), CUSTOM)
    blocked = await asked_scene.turn(waiting)
    await retrying.answers(fails(529, "overloaded_error", headers={"retry-after": "30"}), says("there"))
    backing_off = await retrying.session()
    await retrying.send(backing_off, message())
    await retrying.until(backing_off, "session.status_rescheduled")
    await sending.answers(says([sending.gate("never")]))
    busy = await sending.session()
    sender = Acknowledged(sending, busy)
    task = asyncio.create_task(sender.run())
    await asyncio.wait_for(sender.enough.wait(), 20)
    before = {each: logged(await scene.log(each)) for each in (done, thinking, tool, waiting, backing_off)}

    known = instance.kill_everything()
    await asyncio.wait_for(task, 20)
    assert survivors(known, str(instance.data_dir)) == []
    await asyncio.to_thread(instance.up)

    assert await scene.log(done) == finished
    log = await scene.idle(thinking)
    assert text_of(of_type(log, "agent.message")[0]) == "recovered" and log[-1]["stop_reason"] == END_TURN
    assert queued["id"] in [event["id"] for event in log]
    log = await acting.idle(tool)
    results = ordered_results(log)
    # The sandbox host died with the command: it is not run again, and the model is told what nobody knows.
    assert [result["is_error"] for result in results] == [False, True, False] and log[-1]["stop_reason"] == END_TURN
    assert text_of(results[0]) == "ready" and "not at all" in text_of(results[1])
    assert results[2]["content"][-1]["text"] == "run"
    log = await retrying.idle(backing_off)
    assert text_of(of_type(log, "agent.message")[0]) == "there"
    for each, events in before.items():
        assert (await scene.log(each))[: len(events)] == events
    assert await scene.log(waiting) == blocked
    asked, custom = blocked[-1]["stop_reason"]["event_ids"]
    await asked_scene.send(
        waiting,
        {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"},
        {"type": "user.custom_tool_result", "custom_tool_use_id": custom},
    )
    log = await asked_scene.idle(waiting, 2)
    assert text_of(ordered_results(log)[0]) == "allowed" and log[-1]["stop_reason"] == END_TURN
    kept = [event["id"] for event in await sending.idle(busy) if event["id"] in sender.ids]
    assert kept == sender.ids, "an acknowledged event is there, once and in order"


@requirement("platform:stop", "platform:no-survivors", "platform:crash:resume")
async def test_sigterm_ends_cleanly_and_a_later_start_goes_on(instance: Instance, scene: Scene) -> None:
    session = await running_tool(scene)
    before = logged(await scene.log(session))
    known = instance.processes()
    async with scene.stream(session) as stream:
        status = await asyncio.to_thread(instance.down)
        with contextlib.suppress(httpx.HTTPError, StopAsyncIteration):
            while True:
                await stream.next()
    assert status == 0, instance.output()
    assert survivors(known, str(instance.data_dir)) == []
    await asyncio.to_thread(instance.up)
    log = await scene.idle(session)
    assert log[: len(before)] == before
    assert text_of(of_type(log, "agent.message")[-1]) == "tool done"
    assert len(ordered_results(log)) == 3 and log[-1]["stop_reason"] == END_TURN


@requirement("platform:no-survivors")
async def test_no_process_outlives_a_platform_that_was_killed_alone(instance: Instance, scene: Scene) -> None:
    await running_tool(scene)
    known = instance.processes()
    assert len(known) > 5
    instance.kill()
    assert survivors(known, str(instance.data_dir)) == []
