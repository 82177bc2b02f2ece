"""Sandbox tools of a session on a self-hosted environment: they block the turn until a worker answers (spec B.3, D)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.brains.scripted import text, tool_use
from agents.errors import InvalidRequest
from agents.ids import SessionId

from .conftest import ASK, CUSTOM, World, message, toolset

SELF_HOSTED = {"type": "self_hosted"}


async def self_hosted(world: World, *tools: dict[str, Any]) -> SessionId:
    record = replace(world.new_record(*tools), environment=SELF_HOSTED)
    await world.harness.create(record, [])
    return SessionId(record.id)


def result(call_id: str, said: str = "done", **more: Any) -> dict[str, Any]:
    return {"type": "user.tool_result", "tool_use_id": call_id, "content": [{"type": "text", "text": said}], **more}


def confirm(call_id: str, verdict: str) -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": verdict}


def uses(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in log if event["type"] in ("agent.tool_use", "agent.custom_tool_use")]


def waits_for(log: list[dict[str, Any]]) -> list[str]:
    stop = [event for event in log if event["type"] == "session.status_idle"][-1]["stop_reason"]
    return stop.get("event_ids", []) if stop["type"] == "requires_action" else []


async def test_allowed_calls_wait_for_their_results_and_never_reach_a_sandbox_here(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "ls"}), tool_use("read", {"file_path": "a"})], text("thanks"))
    session = await self_hosted(world)
    await world.send(session, message("go"))
    log = await world.idle(session)
    first, second = (use["id"] for use in uses(log))
    assert waits_for(log) == [first, second] and uses(log)[0]["evaluated_permission"] == "allow"
    (echo,) = await world.send(session, result(second, "b"))
    assert echo["processed_at"] is not None and echo["is_error"] is None
    assert waits_for(await world.idle(session, 2)) == [first]
    await world.send(session, result(first, "a", is_error=True))
    log = await world.idle(session, 3)
    assert log[-1]["stop_reason"] == {"type": "end_turn"} and world.hands.calls == []
    blocks = world.brain.requests[1].messages[-1]["content"]
    assert [(block["tool_use_id"], block.get("is_error")) for block in blocks] == [(first, True), (second, None)]


async def test_a_result_is_taken_once_and_its_exact_repeat_gets_the_first_echo(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "ls"})], text("thanks"))
    session = await self_hosted(world)
    await world.send(session, message("go"))
    (call,) = uses(await world.idle(session))
    first = await world.send(session, result(call["id"]))
    await world.idle(session, 2)
    assert await world.send(session, result(call["id"])) == first
    with pytest.raises(InvalidRequest, match="different answer"):
        await world.send(session, result(call["id"], "another"))
    with pytest.raises(InvalidRequest, match="not an open tool use"):
        await world.send(session, result("sevt_unknown"))


async def test_a_gated_call_waits_for_its_confirmation_and_then_for_its_result(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "rm"})], text("thanks"))
    session = await self_hosted(world, toolset(bash=ASK))
    await world.send(session, message("go"))
    (call,) = uses(await world.idle(session))
    with pytest.raises(InvalidRequest, match=r"needs a user\.tool_confirmation"):
        await world.send(session, result(call["id"]))
    await world.send(session, confirm(call["id"], "allow"))
    log = await world.idle(session, 2)
    assert waits_for(log) == [call["id"]] and world.hands.calls == []
    assert await world.send(session, confirm(call["id"], "allow")) and waits_for(await world.log(session))
    await world.send(session, result(call["id"]))
    assert (await world.idle(session, 3))[-1]["stop_reason"] == {"type": "end_turn"}


async def test_a_denied_call_is_closed_here_and_takes_no_result(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "rm"})], text("pity"))
    session = await self_hosted(world, toolset(bash=ASK))
    await world.send(session, message("go"))
    (call,) = uses(await world.idle(session))
    await world.send(session, confirm(call["id"], "deny"))
    log = await world.idle(session, 2)
    (closed,) = (event for event in log if event["type"] == "agent.tool_result")
    assert closed["tool_use_id"] == call["id"] and closed["is_error"]
    with pytest.raises(InvalidRequest):
        await world.send(session, result(call["id"]))


async def test_an_interrupt_closes_calls_in_the_form_that_a_tool_runner_takes_for_an_answer(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "ls"})])
    session = await self_hosted(world)
    await world.send(session, message("go"))
    (call,) = uses(await world.idle(session))
    await world.send(session, {"type": "user.interrupt"})
    log = await world.idle(session, 2)
    (closed,) = (event for event in log if event["type"] == "user.tool_result")
    assert closed["tool_use_id"] == call["id"] and closed["is_error"]
    with pytest.raises(InvalidRequest, match="different answer"):
        await world.send(session, result(call["id"]))


async def test_a_disabled_tool_is_refused_here(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "ls"})], text("pity"))
    session = await self_hosted(world, toolset(bash={"enabled": False}))
    await world.send(session, message("go"))
    log = await world.idle(session)
    assert "agent.tool_result" in [event["type"] for event in log] and waits_for(log) == []


async def test_custom_tools_and_sandbox_tools_take_only_their_own_kind_of_result(world: World) -> None:
    world.brain.add([tool_use("weather", {"city": "Ulm"}), tool_use("bash", {"command": "ls"})], text("thanks"))
    session = await self_hosted(world, toolset(), CUSTOM)
    await world.send(session, message("go"))
    custom, sandbox = (use["id"] for use in uses(await world.idle(session)))
    for wrong in (result(custom), {"type": "user.custom_tool_result", "custom_tool_use_id": sandbox}):
        with pytest.raises(InvalidRequest):
            await world.send(session, wrong)
    await world.send(session, {"type": "user.custom_tool_result", "custom_tool_use_id": custom}, result(sandbox))
    assert (await world.idle(session, 2))[-1]["stop_reason"] == {"type": "end_turn"}


async def test_on_a_cloud_environment_a_tool_result_is_refused_by_its_type(world: World) -> None:
    session = await world.create()
    with pytest.raises(InvalidRequest, match="only for environments of type self_hosted"):
        await world.send(session, result("sevt_1"))


async def test_a_new_owner_waits_for_the_same_results(world: World) -> None:
    world.brain.add([tool_use("bash", {"command": "ls"})], text("thanks"))
    session = await self_hosted(world)
    await world.send(session, message("go"))
    (call,) = uses(await world.idle(session))
    await world.harness.stop()
    world.harness = world.another_harness()
    await world.harness.start()
    await world.send(session, result(call["id"]))
    assert (await world.idle(session, 2))[-1]["stop_reason"] == {"type": "end_turn"}
    assert world.hands.calls == []
