"""What the author of an agent tells it in mid-conversation (spec B.1, H-5)."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import CUSTOM, Json, Scene, calls, message, of_type, says


def remark(text: str) -> Json:
    return {"type": "system.message", "content": [{"type": "text", "text": text}]}


@requirement("events:system-message")
async def test_it_is_told_from_its_turn_on(scene: Scene) -> None:
    await scene.answers(says("one"), says("two"), says("three"))
    session = await scene.session()
    await scene.turn(session)
    log = await scene.turn(session, message("now"), remark("Answer in verse."))
    [logged] = of_type(log, "system.message")
    assert logged["content"] == remark("Answer in verse.")["content"] and logged["processed_at"]
    kinds = [event["type"] for event in log]
    assert kinds.index("system.message") == len(kinds) - 1 - kinds[::-1].index("user.message") + 1
    await scene.turn(session)
    before, beside, after = ("Answer in verse." in str(body["system"]) for body in await scene.shown(3))
    assert (before, beside, after) == (False, True, True)


@requirement("events:system-message")
async def test_the_sdk_sends_one_alone_and_it_starts_no_turn(scene: Scene) -> None:
    session = await scene.session()
    sent = await scene.client.beta.sessions.events.send(session, events=[remark("The user is on mobile.")])  # type: ignore[list-item]
    assert [event.type for event in sent.data or ()] == ["system.message"]
    assert (await scene.client.beta.sessions.retrieve(session)).status == "idle"
    page = await scene.client.beta.sessions.events.list(session, types=["system.message"])
    assert [event.to_dict()["content"] for event in page.data] == [remark("The user is on mobile.")["content"]]
    await scene.answers(says("ok"))
    await scene.turn(session)
    assert "The user is on mobile." in str((await scene.shown(1))[0]["system"])


@requirement("events:system-message:place")
async def test_its_place_in_a_request_is_checked(scene: Scene) -> None:
    session = await scene.session()
    for events in ([remark("x"), message()], [message(), remark("x"), remark("y")]):
        error = await scene.refused(session, *events)
        assert "system.message must be the last event" in error["message"]
    error = await scene.refused(session, message(), {"type": "user.interrupt"}, remark("x"))
    assert error["message"].startswith("events[2].type: system.message must stand alone")
    await scene.refused(session, {"type": "system.message", "content": []})


@requirement("events:system-message:waiting")
async def test_who_waits_for_a_result_takes_it_behind_the_result(scene: Scene) -> None:
    await scene.answers(calls(("weather", {"city": "Rome"})), says("done"))
    session = await scene.session(CUSTOM)
    [use] = of_type(await scene.turn(session), "agent.custom_tool_use")
    assert "waits for its client" in (await scene.refused(session, remark("x")))["message"]
    result = {"type": "user.custom_tool_result", "custom_tool_use_id": use["id"], "content": []}
    log = await scene.turn(session, result, remark("It is winter."))
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert "It is winter." in str((await scene.shown(2))[1]["system"])


@requirement("events:system-message:deployments")
async def test_a_deployment_may_begin_its_sessions_with_one(scene: Scene) -> None:
    await scene.answers(says("done"))
    deployments, agent = scene.client.beta.deployments, await scene.agent()
    start: Any = [message("begin"), remark("It is Monday.")]
    made = await deployments.create(name="d", agent=agent, environment_id=scene.environment_id, initial_events=start)
    assert [event.type for event in made.initial_events] == ["user.message", "system.message"]
    run = await deployments.run(made.id)
    assert run.session_id is not None
    log = await scene.idle(run.session_id)
    assert [event["content"] for event in of_type(log, "system.message")] == [start[1]["content"]]
    assert "It is Monday." in str((await scene.shown(1))[0]["system"])
    with pytest.raises(anthropic.BadRequestError, match=r"initial_events\[0\]\.type: system\.message must be the last"):
        await deployments.update(made.id, initial_events=start[::-1])
