"""MCP servers elsewhere, as a session uses them (spec B.2, C.2, C.4, E.4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import ALLOW, ASK, Json, Scene, bash, calls, message, of_type, says, text_of, toolset
from tests.conformance.sse import PATIENCE
from tests.mcp_servers import Kind, LiveMcp, live_mcp

ADA = {"who": "Ada"}


@pytest.fixture
async def crm() -> AsyncIterator[LiveMcp]:
    async with live_mcp() as live:
        yield live


def mcp_toolset(default: Json | None = None, **configs: Json) -> Json:
    made: Json = {"type": "mcp_toolset", "mcp_server_name": "crm"}
    if default is not None:
        made["default_config"] = default
    return {**made, "configs": [{"name": name, **config} for name, config in configs.items()]}


def servers(crm: LiveMcp) -> list[Json]:
    return [{"type": "url", "name": "crm", "url": crm.url}]


async def session(scene: Scene, crm: LiveMcp, *tools: Json) -> str:
    agent = await scene.agent(*(tools or (mcp_toolset(ALLOW),)), mcp_servers=servers(crm))
    return await scene.session(agent=agent)


async def offered(scene: Scene) -> list[list[str]]:
    return [[tool["name"] for tool in body.get("tools", [])] for body in await scene.shown()]


def results(log: Sequence[Json]) -> list[Json]:
    return of_type(log, "agent.mcp_tool_result")


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


@requirement("mcp:offer", "events:mcp")
@pytest.mark.parametrize("kind", ["new", "sse"])
async def test_a_session_calls_tools_of_a_server_elsewhere(scene: Scene, kind: Kind) -> None:
    async with live_mcp(kind) as crm:
        await scene.answers(calls(("mcp__crm__quick", ADA)), says("done"))
        session_id = await session(scene, crm, mcp_toolset(ALLOW, charge={"enabled": False}))
        log = await scene.turn(session_id)
    first, second = await scene.shown(2)
    names = ["find", "quick", "refuse", "parrot", "flood", "learn"]
    assert [tool["name"] for tool in first["tools"]] == [f"mcp__crm__{name}" for name in names]
    [use], [result] = of_type(log, "agent.mcp_tool_use"), results(log)
    assert (use["mcp_server_name"], use["name"], use["input"]) == ("crm", "quick", ADA)
    assert (use["evaluated_permission"], use["evaluation"]) == ("allow", {"type": "always_allow"})
    assert (result["mcp_tool_use_id"], text_of(result), result["is_error"]) == (use["id"], "hello Ada", False)
    assert second["messages"][-2]["content"][-1]["name"] == "mcp__crm__quick"
    assert crm.keys == [use["id"]], "the server is given the call's id as the idempotency key"
    assert not of_type(log, "agent.tool_use", "session.error")
    types = {"types[]": ["agent.mcp_tool_use", "agent.mcp_tool_result"]}
    assert await scene.log(session_id, **types) == [use, result]


@requirement("mcp:policy", "mcp:confirmation")
@pytest.mark.parametrize("answer", ["allow", "deny"])
async def test_a_call_asks_by_default_and_waits_for_its_answer(scene: Scene, crm: LiveMcp, answer: str) -> None:
    await scene.answers(calls(("mcp__crm__quick", ADA)), says("done"))
    session_id = await session(scene, crm, mcp_toolset())
    log = await scene.turn(session_id)
    [use] = of_type(log, "agent.mcp_tool_use")
    assert (use["evaluated_permission"], use["evaluation"]) == ("ask", {"type": "always_ask"})
    assert log[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [use["id"]]} and not crm.calls
    log = await scene.turn(session_id, {"type": "user.tool_confirmation", "tool_use_id": use["id"], "result": answer})
    [result] = results(log)
    assert (crm.calls, result["is_error"]) == ((["quick"], False) if answer == "allow" else ([], True))
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("mcp:policy", "mcp:disabled", "mcp:error")
async def test_each_tool_has_its_own_policy(scene: Scene, crm: LiveMcp) -> None:
    await scene.answers(calls(("mcp__crm__refuse", {}), ("mcp__crm__learn", {}), ("mcp__crm__flood", {})), says("done"))
    log = await scene.turn(await session(scene, crm, mcp_toolset(ASK, refuse=ALLOW, learn={"enabled": False})))
    refuse, learn, flood = of_type(log, "agent.mcp_tool_use")
    permissions = [use["evaluated_permission"] for use in (refuse, learn, flood)]
    assert permissions == ["allow", "deny", "ask"] and "evaluation" not in learn
    found = {result["mcp_tool_use_id"]: result for result in results(log)}
    assert text_of(found[refuse["id"]]) == "no such customer" and found[refuse["id"]]["is_error"]
    assert found[learn["id"]]["is_error"] and flood["id"] not in found
    assert "mcp__crm__learn" not in (await offered(scene))[0]


@requirement("tools:auto-policy:mcp")
@pytest.mark.parametrize("word", ["allow", "deny"])
async def test_a_call_under_auto_is_judged(scene: Scene, crm: LiveMcp, word: str) -> None:
    await scene.answers(calls(("mcp__crm__quick", ADA)), says(word), says("done"))
    log = await scene.turn(await session(scene, crm, mcp_toolset({"permission_policy": {"type": "auto"}})))
    [use], [result] = of_type(log, "agent.mcp_tool_use"), results(log)
    assert use["evaluated_permission"] == word == use["evaluation"]["evaluated_permission"]["type"]
    assert (crm.calls, result["is_error"]) == ((["quick"], False) if word == "allow" else ([], True))
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("mcp:parallel")
async def test_calls_go_out_together_and_their_results_come_in_any_order(scene: Scene, crm: LiveMcp) -> None:
    await scene.answers(calls(("mcp__crm__charge", ADA), ("mcp__crm__quick", ADA), bash("echo here")), says("done"))
    session_id = await session(scene, crm, mcp_toolset(ALLOW), toolset())
    await scene.send(session_id, message())
    log = await scene.until(session_id, "agent.mcp_tool_result")
    assert [text_of(result) for result in results(log)] == ["hello Ada"], "the first call is held"
    await scene.until(session_id, "agent.tool_result")
    crm.go.set()
    await scene.idle(session_id)
    told = (await scene.shown(2))[1]["messages"][-1]["content"]
    assert [block["content"][0]["text"].strip() for block in told] == ["charged Ada", "hello Ada", "here"]


@requirement("mcp:large-result")
async def test_a_long_result_is_shown_in_part_and_kept_whole_in_the_sandbox(scene: Scene, crm: LiveMcp) -> None:
    await scene.answers(calls(("mcp__crm__flood", {})), says("hm"))
    session_id = await session(scene, crm, mcp_toolset(ALLOW), toolset())
    [result] = results(await scene.turn(session_id))
    [path] = re.findall(r"/tmp/tool-output/\S+\.txt", text_of(result))
    await scene.answers(calls(bash(f"wc -c < {path}")), says("done"))
    [counted] = of_type(await scene.turn(session_id), "agent.tool_result")
    assert text_of(counted).strip() == "300000" and len(text_of(result)) < 100_000


@requirement("mcp:connection", "mcp:comes-back")
async def test_a_server_that_is_away_is_told_once_and_used_when_it_is_back(scene: Scene) -> None:
    async with live_mcp(started=False) as crm:
        await crm.stop()
        await scene.answers(says("alone"), says("still alone"), calls(("mcp__crm__quick", ADA)), says("done"))
        session_id = await session(scene, crm)
        first = await scene.turn(session_id)
        [error] = of_type(first, "session.error")
        assert error["error"]["type"] == "mcp_connection_failed_error"
        assert error["error"]["mcp_server_name"] == "crm" and error["error"]["retry_status"] == {"type": "retrying"}
        assert first[-1]["stop_reason"] == {"type": "end_turn"}
        assert not of_type(await scene.turn(session_id), "session.error"), "once"
        await crm.start()
        [result] = results(await scene.turn(session_id))
        assert text_of(result) == "hello Ada"
        assert [len(names) for names in await offered(scene)] == [0, 0, 7, 7]


@requirement("mcp:authentication")
async def test_a_server_that_wants_credentials_is_told_apart(scene: Scene, crm: LiveMcp) -> None:
    crm.token = "s3cret"
    await scene.answers(says("alone"))
    log = await scene.turn(await session(scene, crm))
    [error] = of_type(log, "session.error")
    assert error["error"]["type"] == "mcp_authentication_failed_error"
    assert error["error"]["mcp_server_name"] == "crm" and log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("mcp:interrupt")
async def test_an_interrupt_closes_the_call_and_calls_it_off_at_its_server(scene: Scene, crm: LiveMcp) -> None:
    await scene.answers(calls(("mcp__crm__charge", ADA)))
    session_id = await session(scene, crm)
    await scene.send(session_id, message())
    await until(crm.begun)
    log = await scene.turn(session_id, {"type": "user.interrupt"})
    await until(crm.stopped)
    [result] = results(log)
    assert result["is_error"] and crm.cancelled == ["charge"]
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("mcp:lost")
@pytest.mark.parametrize("tool", ["find", "charge"])
async def test_a_server_that_dies_in_mid_call(scene: Scene, crm: LiveMcp, tool: str) -> None:
    await scene.answers(calls((f"mcp__crm__{tool}", ADA)), says("done"))
    session_id = await session(scene, crm)
    await scene.send(session_id, message())
    await until(crm.begun)
    await crm.stop()
    log = await scene.idle(session_id)
    [result] = results(log)
    # Of a tool that only reads it is asked again, and found away; of the other nobody knows what it did.
    assert result["is_error"] and "may have taken effect" in text_of(result)
    assert crm.calls == [tool] and log[-1]["stop_reason"] == {"type": "end_turn"}
    [error] = of_type(log, "session.error")
    assert error["error"]["type"] == "mcp_connection_failed_error"


@requirement("mcp:update")
async def test_an_idle_session_gets_other_servers(scene: Scene, crm: LiveMcp) -> None:
    await scene.answers(says("none"), says("one"))
    session_id = await scene.session()
    await scene.turn(session_id)
    await scene.client.beta.sessions.update(
        session_id,
        agent={"tools": [mcp_toolset()], "mcp_servers": servers(crm)},  # type: ignore[typeddict-item]
    )
    await scene.turn(session_id)
    assert [len(names) for names in await offered(scene)] == [0, 7]
