"""The API on a real platform: Ray, the proxy, two gateways, two harnesses, a brain and a sandbox host.

Bug class this catches: what only breaks between processes - frames that cross gateways, errors that must
survive pickling, streams behind a proxy, sessions of several owners. The whole conformance suite can be run
against such a platform too (tests/conformance/platform.py).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import beta_async_tool
from anthropic.lib.sessions import accumulate_managed_agents_event

from agents.sessions.partition import partition_of
from tests.conformance.platform import LivePlatform
from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    ASK,
    CUSTOM,
    END,
    REQUEST,
    START,
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

# The first test waits for the platform; a busy machine takes a minute.
pytestmark = pytest.mark.timeout(240)
END_TURN = {"type": "end_turn"}


@requirement("events:order:text-turn", "streams:open", "streams:order")
async def test_a_text_turn_is_streamed_in_order(scene: Scene) -> None:
    await scene.answers(says("hello"))
    session = await scene.session()
    async with scene.stream(session) as stream:
        await scene.send(session, message("hi"))
        await stream.until("session.status_idle")
    assert stream.types[1:] == [*START, "user.message", *REQUEST, *END]
    assert stream.events[1:] == await scene.log(session)


@requirement("tools:bash", "tools:bash:persists", "tools:write", "tools:read")
async def test_tools_work_in_one_sandbox_over_several_turns(scene: Scene) -> None:
    await scene.answers(
        calls(bash("mkdir d && cd d && export W=kept")),
        calls(("write", {"file_path": "d/a.txt", "content": "alpha\n"})),
        says("one"),
        calls(bash("pwd; echo $W; cat a.txt; (exit 3)")),
        calls(("read", {"file_path": "d/a.txt"})),
        says("two"),
    )
    session = await scene.session(toolset())
    first = ordered_results(await scene.turn(session))
    second = ordered_results(await scene.turn(session))
    assert [result["is_error"] for result in (*first, *second)] == [False, False, True, False]
    assert text_of(second[0]).startswith("/workspace/d\nkept\nalpha")
    assert text_of(second[1]).rstrip("\n") == "alpha"


@requirement("tools:parallel")
async def test_parallel_calls_run_at_the_same_time(scene: Scene) -> None:
    meet = "touch {0}; until [ -e {1} ]; do sleep 0.01; done; echo {0}"
    uses = [bash(meet.format("a", "b")), bash(meet.format("b", "a")), bash("sleep 0.2"), bash("sleep 0.2")]
    async with asyncio.timeout(30):
        results = await scene.results(*uses)
    assert [text_of(result) for result in results[:2]] == ["a", "b"]


@requirement("tools:large-output")
async def test_a_large_output_crosses_the_processes_as_a_preview(scene: Scene) -> None:
    [result] = await scene.results(bash("seq 1 40000"))
    assert len(text_of(result)) <= 100_000 and ".txt" in text_of(result)


@requirement("events:confirm:allow", "events:confirm:deny", "events:settle:partial")
async def test_confirmations_run_or_refuse_their_calls(scene: Scene) -> None:
    await scene.answers(calls(bash("echo ran"), bash("touch refused")), says("done"))
    session = await scene.session(toolset(bash=ASK))
    log = await scene.turn(session)
    allowed, denied = log[-1]["stop_reason"]["event_ids"]
    decision = {"type": "user.tool_confirmation", "tool_use_id": allowed, "result": "allow"}
    await scene.send(session, decision)
    log = await scene.idle(session, 2)
    assert log[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [denied]}
    await scene.send(session, {**decision, "tool_use_id": denied, "result": "deny", "deny_message": "not today"})
    results = ordered_results(await scene.idle(session, 3))
    assert text_of(results[0]) == "ran" and results[1]["is_error"] and "not today" in text_of(results[1])


@requirement("tools:runner", "events:custom:round-trip")
async def test_the_sdks_tool_runner_answers_custom_tools(scene: Scene) -> None:
    @beta_async_tool(name="weather", description="Tells the weather of a city.")
    async def weather(city: str) -> str:
        return f"fine in {city}"

    await scene.answers(calls(("weather", {"city": "Oslo"}), bash("echo beside")), says("done"))
    session = await scene.session(CUSTOM, toolset())
    await scene.send(session, message())
    async with asyncio.timeout(30):
        runner = scene.client.beta.sessions.events.tool_runner(session, tools=[weather], max_idle=0.3)
        dispatched = [call async for call in runner]
    assert sum(call.posted for call in dispatched) == 1
    log = await scene.log(session)
    assert text_of(of_type(log, "user.custom_tool_result")[0]) == "fine in Oslo"
    assert log[-1]["stop_reason"] == END_TURN


@requirement("events:interrupt:thinking", "events:interrupt:tools", "events:interrupt:next")
async def test_interrupts_stop_the_model_and_the_tools(scene: Scene) -> None:
    await scene.answers(says(["half", scene.gate("never")]), calls(bash("sleep 60")), says("after"))
    session = await scene.session(toolset())
    await scene.send(session, message())
    await scene.shown(1)
    async with asyncio.timeout(15):
        log = await scene.turn(session, {"type": "user.interrupt"})
        assert log[-1]["stop_reason"] == END_TURN
        await scene.shown(1, closed=1)
        await scene.send(session, message())
        await scene.until(session, "agent.tool_use")
        await scene.send(session, {"type": "user.interrupt"}, message("go on"))
        log = await scene.idle(session, 3)
    [result] = of_type(log, "agent.tool_result")
    assert result["is_error"] is True and text_of(of_type(log, "agent.message")[0]) == "after"


@requirement("streams:deltas:accumulate", "streams:deltas:prefix")
async def test_previews_grow_into_the_final_message(scene: Scene) -> None:
    whole = [f"word{n} " for n in range(30)]
    await scene.answers(says([*whole[:10], scene.gate("hold"), *whole[10:]]))
    session = await scene.session()
    snapshot: Any = None
    grown: list[str] = []
    async with asyncio.timeout(20):
        stream = await scene.client.beta.sessions.events.stream(session, event_deltas=["agent.message"])
        async with stream:
            await scene.send(session, message())
            async for event in stream:
                snapshot = accumulate_managed_agents_event(snapshot, event)
                if event.type == "event_delta":
                    grown.append(snapshot.content[0].text)
                    await scene.release("hold")
                if event.type == "session.status_idle":
                    break
    assert snapshot.content[0].text == "".join(whole)
    # What was shown before the gate opened came while the model was still speaking.
    assert grown and len(grown[0]) <= len("".join(whole[:10])) and "".join(whole).startswith(grown[-1])


@requirement("streams:resume:header", "streams:resume:query", "streams:many")
async def test_streams_of_both_gateways_resume_and_show_the_same(scene: Scene) -> None:
    await scene.answers(calls(bash("true")), says("one"), says([scene.gate("hold"), "two"]))
    session = await scene.session(toolset())
    log = await scene.turn(session)
    await scene.send(session, message())
    await scene.shown(3)
    ready = asyncio.Barrier(7)

    async def watch(place: int) -> list[str]:
        resume: Any = {"params": {"after": log[place]["id"]}} if place % 2 else {"last-event-id": log[place]["id"]}
        async with scene.stream(session, **resume) as stream:
            await ready.wait()
            await stream.until("session.status_idle", 2)
            return [event["id"] for event in stream.events]

    async with asyncio.timeout(30):
        watching = [asyncio.create_task(watch(place)) for place in range(6)]
        await ready.wait()
        await scene.release("hold")
        views = await asyncio.gather(*watching)
    whole = [event["id"] for event in await scene.log(session)]
    assert views == [whole[place + 1 :] for place in range(6)]


@requirement("events:retry", "events:retry:exhausted", "events:retry:mid-stream")
async def test_model_failures_are_retried_and_told(scene: Scene) -> None:
    busy = fails(529, "overloaded_error")
    await scene.answers(busy, says(["half", {"drop": True}]), says("there"), busy, busy, busy, says("back"))
    session = await scene.session()
    log = await scene.turn(session)
    errors = [(e["error"]["type"], e["error"]["retry_status"]["type"]) for e in of_type(log, "session.error")]
    assert errors == [("model_overloaded_error", "retrying"), ("model_request_failed_error", "retrying")]
    assert [text_of(event) for event in of_type(log, "agent.message")] == ["there"]
    log = await scene.turn(session)
    assert log[-1]["stop_reason"] == {"type": "retries_exhausted"}
    assert text_of(of_type(await scene.turn(session), "agent.message")[0]) == "back"


@requirement("transport:auto-pagination", "sessions:list:both-ways", "events:list:cursors")
async def test_pages_join_whichever_gateway_answers(scene: Scene) -> None:
    agent = await scene.agent()
    made = [await scene.session(agent=agent) for _ in range(5)]
    sessions = scene.client.beta.sessions
    assert [each.id async for each in sessions.list(agent_id=agent, limit=2)] == made[::-1]
    second = await (await sessions.list(agent_id=agent, limit=2)).get_next_page()
    back = await scene.get("/v1/sessions", {"agent_id": agent, "limit": 2, "page": second.prev_page})
    assert [each["id"] for each in back["data"]] == made[:2:-1]
    await scene.answers(says("one"))
    log = await scene.turn(made[0])
    assert await scene.log(made[0], limit=2) == log


@requirement("sessions:archive", "sessions:archive:closed", "sessions:delete", "streams:ends", "sessions:guards")
async def test_archive_and_delete_end_streams_and_keep_their_guards(scene: Scene) -> None:
    await scene.answers(says(["half", scene.gate("hold"), "whole"]))
    session, other = await scene.session(), await scene.session()
    await scene.send(session, message())
    await scene.shown(1)
    with pytest.raises(anthropic.BadRequestError):
        await scene.client.beta.sessions.delete(session)
    await scene.release("hold")
    await scene.idle(session)
    async with asyncio.timeout(20), scene.stream(session) as first, scene.stream(other) as second:
        await scene.client.beta.sessions.archive(session)
        assert [event["type"] for event in await first.rest()][-1] == "session.status_terminated"
        await scene.client.beta.sessions.delete(other)
        assert [event["type"] for event in await second.rest()] == ["session.deleted"]
    with pytest.raises(anthropic.ConflictError):
        await scene.client.beta.sessions.events.send(session, events=[message()])  # type: ignore[list-item]
    with pytest.raises(anthropic.NotFoundError):
        await scene.client.beta.sessions.retrieve(other)


@requirement("platform:many-sessions", "platform:owners")
async def test_many_sessions_at_once_do_not_mix(scene: Scene) -> None:
    agent = await scene.agent(toolset())
    sessions = [await scene.session(agent=agent) for _ in range(40)]
    owners = {partition_of(each, 64) % 2 for each in sessions}
    assert owners == {0, 1}, "the sessions must belong to both harnesses for this test to mean anything"

    async def run(number: int, session: str) -> str:
        directive = f'stub: tools=2 command="echo {number} >> f; cat f" text="end {number}"'
        log = await scene.turn(session, message(directive))
        results = [text_of(result) for result in ordered_results(log)]
        assert results == [f"{number}", f"{number}\n{number}"]
        return text_of(of_type(log, "agent.message")[0])

    async with asyncio.timeout(60):
        ends = await asyncio.gather(*(run(number, session) for number, session in enumerate(sessions)))
    assert ends == [f"end {number}" for number in range(40)]


@requirement("streams:disconnect")
async def test_a_client_that_leaves_stops_nothing(scene: Scene) -> None:
    await scene.answers(calls(bash("sleep 0.5; echo late")), says("finished"))
    session = await scene.session(toolset())
    async with scene.stream(session) as stream:
        await scene.send(session, message())
        await stream.until("agent.tool_use")
    log = await scene.idle(session)
    assert log[-1]["stop_reason"] == END_TURN and text_of(of_type(log, "agent.message")[0]) == "finished"


@requirement("transport:auth:refused", "transport:request-id", "transport:errors:unknown-path", "transport:body-cap")
def test_the_edge_keeps_its_word_behind_the_proxy(platform: LivePlatform, http: httpx.Client) -> None:
    refused = httpx.get(f"{platform.url}/v1/agents", headers={"authorization": "Bearer wrong"})
    assert refused.status_code == 401 and refused.json()["request_id"] == refused.headers["request-id"]
    assert http.get("/v1/nothing").status_code == 404
    assert http.get("/v1/dreams").status_code == 404
    assert http.post("/v1/agents", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    piece = b" " * (1024 * 1024)
    answer = http.post("/v1/agents", content=(piece for _ in range(33)), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@requirement("streams:keep-alive")
async def test_keep_alives_pass_the_proxy_unbuffered(scene: Scene) -> None:
    session = await scene.session()
    async with scene.stream(session) as stream:
        await stream.comment()
        started = time.monotonic()
        for _ in range(3):
            await stream.comment()
        assert time.monotonic() - started < 10


@requirement("platform:ready")
def test_the_platform_reports_on_its_parts(platform: LivePlatform) -> None:
    ready = httpx.get(f"{platform.url}/-/readyz", timeout=20)
    report: Json = ready.json()
    assert ready.status_code == 200 and report["ready"] is True
    assert {"harness", "sandboxes"} <= set(report)
    metrics = httpx.get(f"{platform.url}/metrics", timeout=20)
    assert metrics.status_code == 200 and b"# HELP" in metrics.content
    harnesses = [f'harness="harness-{index}"' for index in range(2)]
    for figure in [f"hecaton_harness_compactions{{{harness}}} " for harness in harnesses] + [
        f'hecaton_brain_circuit_open{{brain="default@1",{harness}}} 0.0' for harness in harnesses
    ]:
        assert figure in metrics.text
