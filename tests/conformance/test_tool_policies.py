"""Which tools there are and under which policy; the SDK's own runner (spec C.1, C.2, C.3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anthropic import beta_async_tool

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

BUILT_IN = ["bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search"]


async def offered(scene: Scene, *tools: Any) -> list[str]:
    await scene.answers(says("ok"))
    count = len(await scene.shown())
    await scene.turn(await scene.session(*tools))
    body = (await scene.shown(count + 1))[-1]
    assert all(set(tool) >= {"name", "description", "input_schema"} for tool in body.get("tools", []))
    return [tool["name"] for tool in body.get("tools", [])]


@requirement("tools:definitions", "tools:disabled")
async def test_the_model_is_offered_what_is_enabled_and_nothing_else(scene: Scene) -> None:
    assert await offered(scene) == []
    assert await offered(scene, toolset()) == BUILT_IN
    assert await offered(scene, toolset(bash={"enabled": False}), CUSTOM) == [*BUILT_IN[1:], "weather"]
    assert await offered(scene, toolset({"enabled": False}, read={"enabled": True})) == ["read"]
    assert await offered(scene, CUSTOM) == ["weather"]


@requirement("tools:disabled")
async def test_a_disabled_or_unknown_tool_is_denied_before_any_policy(scene: Scene) -> None:
    uses = (bash("touch ran"), ("hammer", {}), ("web_search", {"query": "x"}), ("glob", {"pattern": "*"}))
    await scene.answers(calls(*uses), says("done"))
    log = await scene.turn(await scene.session(toolset(bash={"enabled": False}, web_search={"enabled": False})))
    found = of_type(log, "agent.tool_use")
    assert [use["evaluated_permission"] for use in found] == ["deny", "deny", "deny", "allow"]
    assert all("evaluation" not in use for use in found[:3])
    results = ordered_results(log)
    assert [result["is_error"] for result in results] == [True, True, True, False]
    assert "ran" not in text_of(results[3])
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("tools:auto-policy")
@pytest.mark.parametrize("judge", [says("ask"), says("I would say: allow"), fails(400, "invalid_request_error")])
async def test_auto_asks_when_there_is_no_judgement(scene: Scene, judge: Json) -> None:
    await scene.answers(calls(bash("true")), judge)
    log = await scene.turn(await scene.session(toolset({"permission_policy": {"type": "auto"}})))
    [use] = of_type(log, "agent.tool_use")
    assert use["evaluated_permission"] == "ask"
    assert use["evaluation"] == {
        "type": "auto",
        "evaluated_permission": {"type": "ask", "reason_code": "indeterminate"},
    }
    assert log[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [use["id"]]}


@requirement("tools:auto-policy:judged", "tools:auto-policy:usage")
async def test_under_auto_a_judge_allows_or_denies_each_call(scene: Scene) -> None:
    session = await scene.session(toolset({"permission_policy": {"type": "auto"}}))
    used = {"input_tokens": 5000, "output_tokens": 1}
    await scene.answers(calls(bash("echo harmless")), says("allow", usage=used), says("done"))
    log = await scene.turn(session, message("say something harmless"))
    [use] = of_type(log, "agent.tool_use")
    assert use["evaluated_permission"] == "allow"
    assert use["evaluation"] == {"type": "auto", "evaluated_permission": {"type": "allow"}}
    [result] = of_type(log, "agent.tool_result")
    assert "harmless" in text_of(result) and not result["is_error"]
    judge = (await scene.shown(3))[1]
    assert "tools" not in judge and "echo harmless" in judge["messages"][0]["content"][-1]["text"]
    spans = sum(end["model_usage"]["input_tokens"] for end in of_type(log, "span.model_request_end"))
    found = await scene.client.beta.sessions.retrieve(session)
    assert found.usage.input_tokens == spans + 5000

    await scene.answers(calls(bash("touch ran")), says("deny"), says("I may not"))
    log = await scene.turn(session)
    [use] = of_type(log, "agent.tool_use")
    assert use["evaluated_permission"] == "deny"
    assert use["evaluation"]["evaluated_permission"] == {"type": "deny", "reason_code": "high_risk"}
    [result] = of_type(log, "agent.tool_result")
    assert result["is_error"] and log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("tools:runner", "events:thread-first")
async def test_the_sdks_tool_runner_answers_custom_tools_over_several_rounds(scene: Scene) -> None:
    asked: list[str] = []

    @beta_async_tool(name="weather", description="Tells the weather of a city.")
    async def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: where
        """
        asked.append(city)
        if city == "Nowhere":
            raise ValueError("no such city")
        return f"{len(city)} C"

    await scene.answers(
        calls(("weather", {"city": "Oslo"}), ("weather", {"city": "Bergen"})),
        calls(("weather", {"city": "Nowhere"}), bash("echo built-in")),
        says("done"),
    )
    session = await scene.session(CUSTOM, toolset())
    runner = scene.client.beta.sessions.events.tool_runner(session, tools=[weather], max_idle=0.2)
    done: list[Any] = []
    async with asyncio.timeout(20):
        await scene.send(session, message())
        async for call in runner:
            done.append(call)
    assert sorted(asked) == ["Bergen", "Nowhere", "Oslo"]
    owned = [call for call in done if call.result is not None]
    assert [call.posted for call in owned] == [True] * 3
    log = await scene.log(session)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    results = of_type(log, "user.custom_tool_result")
    assert sorted(text_of(result) for result in results)[:2] == ["4 C", "6 C"]
    assert [bool(result["is_error"]) for result in results].count(True) == 1


@requirement("tools:runner", "events:custom:early")
async def test_a_runner_that_comes_late_answers_what_waits(scene: Scene) -> None:
    @beta_async_tool(name="weather", description="Tells the weather of a city.")
    async def weather(city: str) -> str:
        return f"fine in {city}"

    # The command takes a while: a runner forgets that the turn ended when the end reaches it before it has
    # put the confirmed call of somebody else aside (SDK 2.11.0), and would then wait for ever.
    await scene.answers(calls(("weather", {"city": "Oslo"}), bash("sleep 0.4; echo asked")), says("done"))
    session = await scene.session(CUSTOM, toolset(bash=ASK))
    log = await scene.turn(session)
    custom, asked = log[-1]["stop_reason"]["event_ids"]

    async def confirm() -> None:
        await scene.until(session, "user.custom_tool_result")
        await scene.send(session, {"type": "user.tool_confirmation", "tool_use_id": asked, "result": "allow"})

    runner = scene.client.beta.sessions.events.tool_runner(session, tools=[weather], max_idle=0.2)
    confirming = asyncio.create_task(confirm())
    async with asyncio.timeout(20):
        dispatched = [call async for call in runner]
        await confirming
    assert [call.tool_use_id for call in dispatched if call.posted] == [custom]
    log = await scene.log(session)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert text_of(of_type(log, "agent.tool_result")[0]) == "asked"
