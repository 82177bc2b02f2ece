"""Calls that servers run: judged, confirmed, sent, and given one result each, whatever fails (spec C.2, C.4, law 5).

Bug class this catches: a call without a result or with two, one that runs again though it must not, a policy that is
passed over, a session that a server takes down with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.brains.scripted import raw_tool_use, text, tool_use
from agents.economics.meter import MeterKind
from agents.errors import HecatonError, Overloaded, Unavailable
from agents.hands.port import ToolResult
from agents.hands.servers.memory import MemoryServer
from agents.hands.servers.port import (
    Consumption,
    ServerCall,
    ServerLost,
    ServerRefusedAuth,
    ServerResult,
    ServerUnreachable,
    VersionMismatch,
)
from agents.ids import SessionId
from agents.sessions.events import EventType
from tests.unit.waiting import until

from .conftest import ALLOW, ASK, message, toolset
from .serving import ServedWorld, mcp_toolset

CRM_FIND, CRM_CHARGE = "mcp__crm__find", "mcp__crm__charge"


@pytest.fixture
async def scene() -> AsyncIterator[ServedWorld]:
    made = ServedWorld(web=MemoryServer())
    await made.start()
    yield made
    await made.stop()


async def one_call(scene: ServedWorld, name: str = CRM_FIND, **tools: Any) -> SessionId:
    scene.brain.add(tool_use(name, {"who": "Ada"}), text("done"))
    session = await scene.create(*([mcp_toolset(**tools)] if tools else []))
    await scene.world.send(session, message("go"))
    return session


def words(result: Any) -> str:
    return "".join(block["text"] for block in result.body["content"])


# -- what the log and the model see ----------------------------------------------------------------


async def test_an_allowed_call_runs_at_its_server_and_both_sides_see_its_names(scene: ServedWorld) -> None:
    session = await one_call(scene)
    log = await scene.world.idle(session)
    use = next(event for event in log if event["type"] == "agent.mcp_tool_use")
    result = next(event for event in log if event["type"] == "agent.mcp_tool_result")
    assert {key: use[key] for key in use if key not in ("id", "processed_at", "type")} == {
        "mcp_server_name": "crm",
        "name": "find",
        "input": {"who": "Ada"},
        "evaluated_permission": "allow",
        "evaluation": {"type": "always_allow"},
    }
    assert {key: result[key] for key in result if key not in ("id", "processed_at", "type")} == {
        "mcp_tool_use_id": use["id"],
        "content": [{"type": "text", "text": "ran find"}],
        "is_error": False,
    }
    first, second = scene.brain.requests
    assert [tool["name"] for tool in first.tools] == [CRM_FIND, CRM_CHARGE]
    called, answered = second.messages[1]["content"][0], second.messages[2]["content"][0]
    assert (called["name"], called["id"], answered["tool_use_id"]) == (CRM_FIND, use["id"], use["id"])
    (call,), (caller,) = scene.crm.calls, scene.crm.callers
    assert (call.call_id, call.tool, call.server.name, call.again) == (use["id"], "find", "crm", False)
    assert (caller.session_id, caller.principal, caller.vault_ids) == (session, "team-a", ("vlt_1",))


async def test_parallel_calls_are_answered_in_any_order_beside_those_of_the_sandbox(scene: ServedWorld) -> None:
    slow = asyncio.Event()

    async def run(call: ServerCall) -> ServerResult:
        if call.tool == "find":
            await slow.wait()
        return ServerResult(call.call_id, [{"type": "text", "text": call.tool}])

    scene.crm.run = run
    scene.brain.add([tool_use(CRM_FIND), tool_use(CRM_CHARGE), tool_use("bash", {"command": "ls"})], text("done"))
    session = await scene.create(mcp_toolset(), toolset())
    await scene.world.send(session, message("go"))
    log = await scene.world.until(session, "agent.mcp_tool_result")
    assert [words_of(event) for event in log if event["type"] == "agent.mcp_tool_result"] == ["charge"]
    await scene.world.until(session, "agent.tool_result")
    slow.set()
    await scene.world.idle(session)
    results = scene.brain.requests[1].messages[2]["content"]
    assert [result["content"][0]["text"] for result in results] == ["find", "charge", "ran bash"], "in call order"


def words_of(event: dict[str, Any]) -> str:
    return event["content"][0]["text"]


@pytest.mark.parametrize(("answer", "ran"), [("allow", 1), ("deny", 0)])
async def test_a_call_that_asks_waits_for_its_confirmation(scene: ServedWorld, answer: str, ran: int) -> None:
    session = await one_call(scene, CRM_CHARGE, policy=ASK)
    log = await scene.world.idle(session)
    use = next(event for event in log if event["type"] == "agent.mcp_tool_use")
    assert use["evaluated_permission"] == "ask" and use["evaluation"] == {"type": "always_ask"}
    assert log[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [use["id"]]}
    assert not scene.crm.calls
    await scene.world.send(session, {"type": "user.tool_confirmation", "tool_use_id": use["id"], "result": answer})
    await scene.world.idle(session, 2)
    assert len(scene.crm.calls) == ran and (await scene.result(session)).body["is_error"] is not bool(ran)


@pytest.mark.parametrize(
    ("config", "evaluation"),
    [
        (ASK, {"type": "always_ask"}),
        (
            {"type": "auto"},
            {"type": "auto", "evaluated_permission": {"type": "ask", "reason_code": "indeterminate"}},
        ),
    ],
)
async def test_a_tools_own_policy_beats_that_of_its_server(
    scene: ServedWorld, config: dict[str, Any], evaluation: dict[str, Any]
) -> None:
    session = await one_call(scene, CRM_CHARGE, policy=ALLOW, charge=config)
    await scene.world.idle(session)
    (use,) = await scene.events(session, EventType.AGENT_MCP_TOOL_USE)
    assert use.body["evaluation"] == evaluation and not scene.crm.calls


async def test_a_disabled_tool_is_not_offered_and_refused_when_it_is_called(scene: ServedWorld) -> None:
    session = await one_call(scene, CRM_CHARGE, charge={"enabled": False})
    await scene.world.idle(session)
    (use,) = await scene.events(session, EventType.AGENT_MCP_TOOL_USE)
    assert [tool["name"] for tool in scene.brain.requests[0].tools] == [CRM_FIND]
    assert use.body["evaluated_permission"] == "deny" and "evaluation" not in use.body
    assert (await scene.result(session)).body["is_error"] and not scene.crm.calls


async def test_input_that_is_no_object_is_refused_as_a_call_of_its_server(scene: ServedWorld) -> None:
    scene.brain.add(raw_tool_use(CRM_FIND, "{bad"), text("done"))
    session = await scene.create()
    await scene.world.send(session, message("go"))
    await scene.world.idle(session)
    assert (await scene.result(session)).body["is_error"] and not scene.crm.calls


# -- what becomes of a call ------------------------------------------------------------------------

NOT_RUN, AMBIGUOUS, OK = "failed", "ambiguous", "ok"


@pytest.mark.parametrize(
    ("faults", "tool", "outcome", "times"),
    [
        ([ServerUnreachable("down")], CRM_FIND, NOT_RUN, 1),
        ([ServerRefusedAuth("who are you")], CRM_CHARGE, NOT_RUN, 1),
        ([VersionMismatch("wants 1, has 2")], CRM_CHARGE, NOT_RUN, 1),
        ([ServerLost("cut off")], CRM_FIND, OK, 2),
        ([ServerLost("cut off")] * 3, CRM_FIND, AMBIGUOUS, 3),
        ([ServerLost("cut off"), ServerUnreachable("down")], CRM_FIND, AMBIGUOUS, 2),
        ([ServerLost("cut off")], CRM_CHARGE, AMBIGUOUS, 1),
        ([Unavailable("no answer in time")], CRM_FIND, AMBIGUOUS, 1),
        ([ZeroDivisionError("a fault")], CRM_FIND, AMBIGUOUS, 1),
        ([Overloaded("full", retry_after=1e9)], CRM_CHARGE, NOT_RUN, 1),
    ],
)
async def test_what_a_server_fails_to_answer_has_one_result_that_says_what_is_known(
    scene: ServedWorld, quiet: None, faults: list[Exception], tool: str, outcome: str, times: int
) -> None:
    scene.crm.call_faults = list(faults)
    session = await one_call(scene, tool)
    log = await scene.world.idle(session)
    result = await scene.result(session)
    assert result.hidden is not None and result.hidden["call"]["outcome"] == outcome
    assert len(scene.crm.calls) == times and result.body["is_error"] is (outcome != OK)
    if outcome != OK and isinstance(faults[-1], HecatonError):
        assert faults[-1].message in words(result)
    assert log[-1]["stop_reason"] == {"type": "end_turn"} and (await scene.world.record(session)).dispatched == {}
    rows = await scene.world.meter.totals(session)
    assert sum(row.count for row in rows if row.kind is MeterKind.TOOL_CALL) == (outcome != NOT_RUN)


async def test_a_failure_before_the_ledger_names_a_destination_means_that_nothing_was_sent(
    scene: ServedWorld, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.servers, "destination", lambda *_: None)
    scene.crm.call_faults = [Unavailable("no answer in time")]
    session = await one_call(scene, CRM_CHARGE)
    await scene.world.idle(session)
    result = await scene.result(session)
    assert result.hidden is not None and result.hidden["call"]["outcome"] == NOT_RUN
    assert "was not run: no answer in time" in words(result)


async def test_a_full_queue_is_asked_again_when_it_says(scene: ServedWorld) -> None:
    scene.crm.call_faults = [Overloaded("full", retry_after=0.7), Overloaded("full")]
    session = await one_call(scene, CRM_CHARGE)
    for pause in (0.7, 0.5):
        await scene.world.sleepers(2)
        scene.world.clock.advance(pause)
    await scene.world.idle(session)
    told = (await scene.result(session)).hidden
    assert told is not None and told["call"]["outcome"] == OK and len(scene.crm.calls) == 3
    assert told["call"]["queue_seconds"] == pytest.approx(1.2), "the time between its tries is time in line"


async def test_what_a_call_took_is_kept_beside_its_result(scene: ServedWorld) -> None:
    took = Consumption(queue_seconds=0.5, run_seconds=2.0, bytes_out=7, cached=True, micro_usd=2500)

    async def run(call: ServerCall) -> ServerResult:
        return ServerResult(call.call_id, [], is_error=True, outcome="tool_error", consumption=took)

    scene.crm.run, scene.crm.hand = run, "crm@1.4"
    session = await one_call(scene)
    await scene.world.idle(session)
    kept = ((await scene.result(session)).hidden or {})["call"]
    assert kept.items() >= {
        "outcome": "tool_error", "server": "crm", "tool": "find", "hand": "crm@1.4", "queue_seconds": 0.5,
        "run_seconds": 2.0, "cpu_seconds": 0.0, "bytes_in": 0, "bytes_out": 7, "cached": True,
    }.items()  # fmt: skip
    (row,) = [row for row in await scene.world.meter.totals(session) if row.kind is MeterKind.TOOL_CALL]
    assert (row.name, row.seconds) == (CRM_FIND, 2.0)
    counted = scene.world.ports.metrics.recorder.snapshot()
    assert counted["hecaton_tool_calls_total"] == {("crm", "error"): (1.0,)}
    assert counted["hecaton_hand_cost_usd_total"] == {("crm",): (0.0025,)}


# -- long results ----------------------------------------------------------------------------------

LONG = "a" * 60_000 + "b" * 60_000
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}


async def long_result(scene: ServedWorld, *tools: Any) -> str:
    async def run(call: ServerCall) -> ServerResult:
        return ServerResult(call.call_id, [{"type": "text", "text": LONG}, IMAGE])

    scene.crm.run = run
    scene.brain.add(tool_use(CRM_FIND), text("done"))
    session = await scene.create(mcp_toolset(), *tools)
    await scene.world.send(session, message("go"))
    await scene.world.idle(session)
    shown, image = (await scene.result(session)).body["content"]
    assert image == IMAGE and len(shown["text"]) < 17_000
    assert shown["text"].startswith("aaa") and shown["text"].endswith("bbb") and "120000 characters" in shown["text"]
    return shown["text"]


async def test_a_long_result_is_kept_whole_where_the_sandboxs_tools_can_read_it(scene: ServedWorld) -> None:
    scene.world.hands.answer = lambda call: ToolResult(call.call_id, [], host="fake-host/1", version=7)
    shown = await long_result(scene, toolset())
    (write,) = scene.world.hands.calls
    assert write.name == "write" and write.input["content"] == LONG and write.input["file_path"] in shown
    (use,) = [key for key in scene.world.store.log.sessions]
    assert (await scene.world.record(SessionId(use))).workspace_version == 7


@pytest.mark.parametrize("tools", [(), (toolset(read={"enabled": False}),)])
async def test_a_long_result_that_nobody_could_read_is_cut_and_says_so(scene: ServedWorld, tools: Any) -> None:
    assert "could not be kept" in await long_result(scene, *tools)
    assert not scene.world.hands.calls


async def test_a_sandbox_that_does_not_take_a_long_result_costs_only_its_middle(scene: ServedWorld) -> None:
    scene.world.hands.fault = Unavailable("no host")
    assert "could not be kept" in await long_result(scene, toolset())


# -- interrupts and owners -------------------------------------------------------------------------


class Held:
    """A tool that has its effect and then answers when it is let go."""

    def __init__(self, scene: ServedWorld) -> None:
        self.begun, self.go, self.effects = asyncio.Event(), asyncio.Event(), 0
        scene.crm.run = self

    async def __call__(self, call: ServerCall) -> ServerResult:
        self.effects += 1
        self.begun.set()
        await self.go.wait()
        return ServerResult(call.call_id, [{"type": "text", "text": "late"}])


async def test_an_interrupt_reaches_the_server_and_closes_the_call(scene: ServedWorld) -> None:
    held = Held(scene)
    session = await one_call(scene, CRM_CHARGE)
    await held.begun.wait()
    await scene.world.send(session, {"type": "user.interrupt"})
    log = await scene.world.idle(session)
    (use,) = await scene.events(session, EventType.AGENT_MCP_TOOL_USE)
    result = await scene.result(session)
    assert result.body["is_error"] and result.hidden["call"]["outcome"] == "cancelled"  # type: ignore[index]
    assert scene.crm.cancelled == [use.id] and log[-1]["stop_reason"] == {"type": "end_turn"}


async def test_an_interrupted_call_that_waits_for_room_is_not_sent_again(scene: ServedWorld) -> None:
    scene.crm.call_faults = [Overloaded("full", retry_after=5.0)]
    session = await one_call(scene, CRM_CHARGE)
    await scene.world.sleepers(2)
    await scene.world.send(session, {"type": "user.interrupt"})
    await scene.world.idle(session)
    scene.world.clock.advance(10)
    scene.brain.add(text("well"))
    await scene.world.send(session, message("and now?"))
    await scene.world.idle(session)
    assert len(scene.crm.calls) == 1
    assert (await scene.result(session)).hidden["call"]["outcome"] == "cancelled"  # type: ignore[index]


async def test_the_next_owner_gets_the_answer_of_a_call_that_goes_on(scene: ServedWorld) -> None:
    held = Held(scene)
    session = await one_call(scene, CRM_CHARGE)
    await held.begun.wait()
    await scene.owner_dies()
    await until(lambda: len(scene.crm.calls) == 2)
    held.go.set()
    await scene.settled(session)
    assert words(await scene.result(session)) == "late"
    assert [call.again for call in scene.crm.calls] == [False, True] and held.effects == 1
    assert scene.world.ports.effects.resumed == 1


@pytest.mark.parametrize(("tool", "outcome", "effects"), [(CRM_FIND, OK, 2), (CRM_CHARGE, AMBIGUOUS, 1)])
async def test_a_call_that_nobody_remembers_is_run_again_only_if_it_may_be(
    scene: ServedWorld, tool: str, outcome: str, effects: int
) -> None:
    held = Held(scene)
    session = await one_call(scene, tool)
    await held.begun.wait()
    scene.servers.forget()
    await scene.owner_dies()
    held.go.set()
    await scene.settled(session)
    assert (await scene.result(session)).hidden["call"]["outcome"] == outcome and held.effects == effects  # type: ignore[index]


async def test_an_intent_is_committed_before_its_call_is_sent(scene: ServedWorld) -> None:
    seen: list[dict[str, str]] = []

    async def run(call: ServerCall) -> ServerResult:
        seen.append((await scene.world.record(SessionId(session))).dispatched)
        return ServerResult(call.call_id, [])

    scene.crm.run = run
    scene.brain.add([tool_use(CRM_FIND), tool_use(CRM_CHARGE)], text("done"))
    session = await scene.create()
    await scene.world.send(session, message("go"))
    await scene.world.idle(session)
    uses = await scene.events(session, EventType.AGENT_MCP_TOOL_USE)
    assert all(use.id in seen[0] for use in uses)


# -- web tools -------------------------------------------------------------------------------------


async def test_a_web_tool_is_a_built_in_tool_that_a_server_runs(scene: ServedWorld) -> None:
    sandbox_tools = scene.world.ports.tool_definitions()
    web = {"name": "web_fetch", "description": "", "input_schema": {"type": "object"}}
    object.__setattr__(scene.world.ports, "tool_definitions", lambda: [*sandbox_tools, web])
    tools = toolset(web_fetch=ASK)
    tools["configs"][0]["allowed_domains"] = ["example.com"]
    scene.brain.add(tool_use("web_fetch", {"url": "https://example.com"}), text("done"))
    session = await scene.create(tools)
    await scene.world.send(session, message("read https://example.com"))
    use = next(event for event in await scene.world.idle(session) if event["type"] == "agent.tool_use")
    await scene.world.send(session, {"type": "user.tool_confirmation", "tool_use_id": use["id"], "result": "allow"})
    log = await scene.world.idle(session, 2)
    (result,) = [event for event in log if event["type"] == "agent.tool_result"]
    (call,) = scene.servers.server("").calls
    assert result["tool_use_id"] == use["id"] and words_of(result) == "ran web_fetch"
    assert call.config["allowed_domains"] == ["example.com"]
    assert call.context[0]["content"] == [{"type": "text", "text": "read https://example.com"}]
    assert not scene.world.hands.calls
