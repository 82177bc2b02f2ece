"""A coordinator and the agents it delegates to, each in a thread of its own (spec A.6, B.3 "Threads", C.6)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

import pytest
from anthropic import NotFoundError

from tests.conformance.requirements import requirement
from tests.conformance.scene import ASK, CUSTOM, END, Json, Scene, bash, calls, fails, message, of_type, says, text_of
from tests.conformance.scene import toolset as built_in
from tests.conformance.sse import raw_stream
from tests.conformance.test_budgets import cents
from tests.conformance.test_skills import chosen, files
from tests.conformance.worker_site import Site, site

__all__ = ["site"]

INTERRUPT = {"type": "user.interrupt"}
STATUS = "session.thread_status_"


class Team:
    """A scene whose agent delegates, and a scene for what each of its helpers says."""

    def __init__(self, scene: Scene, names: Sequence[str]) -> None:
        self.scene = scene
        self.helpers = {name: Scene(scene.platform, scene.client, scene.http, scene.environment_id) for name in names}
        self.session = ""

    async def start(self, *tools: Json, skills: Sequence[Json] = (), **params: object) -> str:
        """Make a session whose agent has the helpers (with *tools*) and itself on its roster; returns its id."""
        roster: list[Json] = []
        for name, helper in self.helpers.items():
            roster.append({"type": "agent", "id": await helper.agent(*tools, name=name, skills=skills)})
        agent = await self.scene.agent(multiagent={"type": "coordinator", "agents": [*roster, {"type": "self"}]})
        self.session = await self.scene.session(agent=agent, **params)
        return self.session

    async def delegates(self, *names: str) -> None:
        """Have the coordinator delegate to these as its next answer, all at once."""
        await self.scene.answers(
            calls(*(("create_agent", {"agent": name, "message": f"task of {name}"}) for name in names))
        )

    async def threads(self) -> dict[str, Json]:
        """All threads by the names of their agents; the coordinator's own is ``primary``."""
        rows = (await self.scene.get(f"/v1/sessions/{self.session}/threads"))["data"]
        return {_name(row): row for row in rows}

    def path(self, thread: Json) -> str:
        return f"/v1/sessions/{self.session}/threads/{thread['id']}"

    async def history(self, thread: Json) -> list[Json]:
        return (await self.scene.get(f"{self.path(thread)}/events"))["data"]

    async def at_rest(self, name: str) -> Json:
        """Wait until a helper's thread is idle or terminated, by the session's stream; returns its row."""
        async with asyncio.timeout(self.scene.patience), self.scene.stream(self.session) as stream:
            while True:
                found = (await self.threads()).get(name)
                if found is not None and found["status"] in ("idle", "terminated"):
                    return found
                await stream.next(self.scene.patience)

    async def done(self) -> list[Json]:
        """Wait until the session rests; returns its history."""
        async with asyncio.timeout(self.scene.patience), self.scene.stream(self.session) as stream:
            while (await self.scene.retrieve(self.session))["status"] != "idle":
                await stream.next(self.scene.patience)
        return await self.scene.log(self.session)


def _name(row: Json) -> str:
    return row["agent"].get("name", "advisor") if row["parent_thread_id"] else "primary"


def kinds(events: Sequence[Json], *prefixes: str) -> list[str]:
    return [event["type"] for event in events if event["type"].startswith(prefixes or ("",))]


@requirement("threads:children", "threads:concurrent")
async def test_agents_work_at_the_same_time_and_the_coordinator_hears_of_each(scene: Scene) -> None:
    team = Team(scene, ["alice", "bob"])
    alice, bob = team.helpers.values()
    await team.delegates("alice", "bob", "actor")
    await alice.answers(says([alice.gate("hold"), "from alice"]))
    await bob.answers(says([bob.gate("hold"), "from bob"]))
    session = await team.start()
    await scene.send(session, message())
    await alice.shown(1)
    await bob.shown(1)
    assert (await scene.retrieve(session))["status"] == "running"
    threads = await team.threads()
    assert {name: thread["status"] for name, thread in threads.items() if name in ("alice", "bob")} == {
        "alice": "running",
        "bob": "running",
    }
    primary = threads.pop("primary")
    assert {thread["parent_thread_id"] for thread in threads.values()} == {primary["id"]}
    assert set(threads) == {"alice", "bob", "actor"}
    await bob.release("hold")
    await team.at_rest("bob")
    assert (await scene.retrieve(session))["status"] == "running"
    await alice.release("hold")
    log = await team.done()
    assert kinds(log)[-3:] == END and log[-1]["stop_reason"] == {"type": "end_turn"}
    assert kinds(log, "session.status_") == ["session.status_running", "session.status_idle"]
    heard = {event["from_agent_name"]: text_of(event) for event in of_type(log, "agent.thread_message_received")}
    assert heard == {"alice": "from alice", "bob": "from bob", "actor": "ok"}
    told = {event["to_agent_name"]: text_of(event) for event in of_type(log, "agent.thread_message_sent")}
    assert told == {name: f"task of {name}" for name in threads}
    async for thread in scene.client.beta.sessions.threads.list(session):
        by_id = await scene.client.beta.sessions.threads.retrieve(thread.id, session_id=session)
        assert by_id.id == thread.id and by_id.status == "idle" and by_id.archived_at is None


@requirement("threads:children:events", "threads:crossposting")
async def test_a_thread_has_its_own_history_and_the_primary_shows_the_outline_of_it(scene: Scene) -> None:
    team = Team(scene, ["alice"])
    [alice] = team.helpers.values()
    await team.delegates("alice")
    await alice.answers(calls(bash("echo inner")), says("finished"))
    session = await team.start(built_in())
    await scene.send(session, message())
    await team.at_rest("alice")
    log, child = await team.done(), (await team.threads())["alice"]
    own = await team.history(child)
    assert kinds(own) == [
        f"{STATUS}running",
        "agent.thread_message_received",
        "span.model_request_start",
        "agent.tool_use",
        "span.model_request_end",
        "agent.tool_result",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "agent.thread_message_sent",
        f"{STATUS}idle",
    ]
    primary = (await team.threads())["primary"]["id"]
    assert own[1]["from_session_thread_id"] == primary and "from_agent_name" not in own[1]
    assert own[-2]["to_session_thread_id"] == primary and "to_agent_name" not in own[-2]
    [created] = of_type(log, "session.thread_created")
    assert (created["session_thread_id"], created["agent_name"]) == (child["id"], "alice")
    shown = [event for event in log if event.get("session_thread_id") == child["id"]]
    assert kinds(shown) == ["session.thread_created", f"{STATUS}running", f"{STATUS}idle"]
    assert [event for event in own if event in log] == shown[1:]
    # The first status of a thread in the log is the primary's: by it SDK runners know which one that is.
    assert next(event for event in log if event["type"].startswith(STATUS))["session_thread_id"] == primary
    # What it was shown: its own task, its own system prompt and tools, nothing of the coordinator's.
    [first, _] = await alice.shown(2)
    assert first["messages"] == [{"role": "user", "content": first["messages"][0]["content"]}]
    assert {tool["name"] for tool in first["tools"]}.isdisjoint({"create_agent", "send_to_agent", "list_agents"})
    coordinator = (await scene.shown(1))[0]
    assert {tool["name"] for tool in coordinator["tools"]} == {"create_agent", "send_to_agent", "list_agents"}


@requirement("threads:children:stream")
async def test_a_threads_stream_shows_its_events_and_previews_alone(scene: Scene) -> None:
    team = Team(scene, ["alice"])
    [alice] = team.helpers.values()
    await team.delegates("alice")
    await alice.answers(says([alice.gate("hold"), "se", "cret"]))
    session = await team.start()
    async with scene.stream(session, {"event_deltas[]": "agent.message"}) as outer:
        await scene.send(session, message())
        await alice.shown(1)
        child = (await team.threads())["alice"]
        async with raw_stream(scene.http, f"{team.path(child)}/stream", {"event_deltas[]": "agent.message"}) as inner:
            await alice.release("hold")
            await inner.until(f"{STATUS}idle")
        await outer.until("session.status_idle")
    assert inner.types[:2] == ["event_start", "event_delta"]
    logged = [event for event in inner.events if event.get("processed_at")]
    assert logged == (await team.history(child))[-len(logged) :]
    assert "agent.message" in kinds(logged) and "session.status_idle" not in kinds(logged)
    previews = [event["event"]["id"] for event in outer.events if event["type"] == "event_start"]
    assert logged[0]["id"] not in previews
    assert [event for event in outer.events if event.get("processed_at")] == await scene.log(session)
    stream = await scene.client.beta.sessions.threads.events.stream(child["id"], session_id=session)
    await stream.close()
    listed = [
        event.id async for event in scene.client.beta.sessions.threads.events.list(child["id"], session_id=session)
    ]
    assert listed == [event["id"] for event in await team.history(child)]


@requirement("threads:answers", "threads:status")
async def test_what_children_ask_is_shown_and_answered_in_the_session(scene: Scene) -> None:
    team = Team(scene, ["alice", "bob"])
    alice, bob = team.helpers.values()
    await team.delegates("alice", "bob")
    await alice.answers(calls(bash("echo ran")), says("alice is done"))
    await bob.answers(calls(("weather", {"city": "Oslo"})), says("bob is done"))
    session = await team.start(built_in(bash=ASK), CUSTOM)
    await scene.send(session, message())
    log, threads = await team.done(), await team.threads()
    [asked], [custom] = of_type(log, "agent.tool_use")[-1:], of_type(log, "agent.custom_tool_use")
    assert asked["session_thread_id"] == threads["alice"]["id"] and asked["evaluated_permission"] == "ask"
    assert custom["session_thread_id"] == threads["bob"]["id"]
    stop = log[-1]["stop_reason"]
    assert stop["type"] == "requires_action" and set(stop["event_ids"]) == {asked["id"], custom["id"]}
    # The thread of an answer is the call's, whatever the client says or leaves out.
    [echo] = await scene.send(
        session,
        {"type": "user.custom_tool_result", "custom_tool_use_id": custom["id"], "content": says("rain")["content"]},
    )
    assert echo["session_thread_id"] == threads["bob"]["id"]
    await team.at_rest("bob")
    log = await team.done()
    assert log[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [asked["id"]]}
    [echo] = await scene.send(
        session, {"type": "user.tool_confirmation", "tool_use_id": asked["id"], "result": "allow"}
    )
    assert echo["session_thread_id"] == threads["alice"]["id"]
    log = await scene.until(session, "session.status_idle", len(of_type(log, "session.status_idle")) + 1)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    [result] = of_type(await team.history(threads["alice"]), "agent.tool_result")
    assert (result["tool_use_id"], text_of(result).strip()) == (asked["id"], "ran")
    assert echo["id"] in {event["id"] for event in of_type(log, "user.tool_confirmation")}
    heard = {text_of(event) for event in of_type(log, "agent.thread_message_received")}
    assert heard == {"alice is done", "bob is done"}


@requirement("threads:interrupt")
async def test_an_interrupt_stops_the_thread_that_it_names_or_all(scene: Scene) -> None:
    team = Team(scene, ["alice", "bob"])
    alice, bob = team.helpers.values()
    await team.delegates("alice", "bob")
    await alice.answers(says([alice.gate("never"), "x"]))
    await bob.answers(says([bob.gate("never"), "x"]))
    session = await team.start()
    await scene.send(session, message())
    await alice.shown(1)
    await bob.shown(1)
    error = await scene.refused(session, {**INTERRUPT, "session_thread_id": "sthr_of_nobody"})
    assert "session_thread_id" in error["message"]
    threads = await team.threads()
    await scene.send(session, {**INTERRUPT, "session_thread_id": threads["alice"]["id"]})
    assert (await team.at_rest("alice"))["status"] == "idle"
    assert kinds(await team.history(threads["alice"]))[-3:] == [
        "span.model_request_end",
        "user.interrupt",
        f"{STATUS}idle",
    ]
    assert (await team.threads())["bob"]["status"] == "running"
    await alice.shown(1, closed=1)
    await scene.send(session, INTERRUPT)
    log = await team.done()
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert {thread["status"] for thread in (await team.threads()).values()} == {"idle"}
    assert "user.interrupt" in kinds(await team.history(threads["bob"]))
    await bob.shown(1, closed=1)


@requirement("threads:children:archive")
async def test_an_idle_thread_can_be_archived_and_takes_nothing_afterwards(scene: Scene) -> None:
    team = Team(scene, ["alice"])
    [alice] = team.helpers.values()
    await team.delegates("alice")
    await alice.answers(says([alice.gate("hold"), "wait"]), calls(("weather", {"city": "Oslo"})))
    session = await team.start(CUSTOM)
    await scene.send(session, message())
    await alice.shown(1)
    child = (await team.threads())["alice"]
    busy = await scene.http.post(f"{team.path(child)}/archive")
    assert busy.status_code == 400, busy.text
    await alice.release("hold")
    await team.at_rest("alice")
    await team.done()
    await scene.answers(calls(("send_to_agent", {"thread_id": child["id"], "message": "again"})))
    await scene.turn(session)
    log = await team.done()
    [asked] = of_type(log, "agent.custom_tool_use")
    assert log[-1]["stop_reason"] == {"type": "requires_action", "event_ids": [asked["id"]]}
    archived = await scene.client.beta.sessions.threads.archive(child["id"], session_id=session)
    assert archived.status == "terminated" and archived.archived_at is not None
    log = await team.done()
    assert kinds(log)[-3:] == [f"{STATUS}terminated", *END[1:]] and log[-1]["stop_reason"] == {"type": "end_turn"}
    answer = {"type": "user.custom_tool_result", "custom_tool_use_id": asked["id"]}
    assert "custom_tool_use_id" in (await scene.refused(session, answer))["message"]
    again = await scene.client.beta.sessions.threads.archive(child["id"], session_id=session)
    assert again.archived_at == archived.archived_at
    await scene.answers(
        calls(("send_to_agent", {"thread_id": child["id"], "message": "and again"}), ("list_agents", {}))
    )
    log = await scene.turn(session)
    results = of_type(log, "agent.tool_result")
    assert [result["is_error"] for result in results] == [True, False] and child["id"] not in text_of(results[1])


@requirement("threads:children:list")
async def test_threads_are_listed_in_pages_and_by_status(scene: Scene) -> None:
    team = Team(scene, ["alice", "bob"])
    alice = team.helpers["alice"]
    await team.delegates("alice", "bob")
    await alice.answers(says([alice.gate("hold"), "x"]))
    session = await team.start()
    await scene.send(session, message())
    await alice.shown(1)
    await team.at_rest("bob")
    path = f"/v1/sessions/{session}/threads"
    running = (await scene.get(path, {"statuses[]": "running"}))["data"]
    assert "alice" in [row["agent"]["name"] for row in running]
    found, page = [], None
    while True:
        given = {"limit": 1} | ({} if page is None else {"page": page})
        answer = await scene.get(path, given)
        found += answer["data"]
        if (page := answer["next_page"]) is None:
            break
    assert [row["agent"]["name"] for row in found] == ["actor", "alice", "bob"] and len(
        {row["id"] for row in found}
    ) == 3
    assert found[1]["agent"]["id"] and "multiagent" not in found[1]["agent"]
    with pytest.raises(NotFoundError):
        await scene.client.beta.sessions.threads.retrieve("sthr_of_nobody", session_id=session)
    await alice.release("hold")
    await team.done()


@requirement("threads:usage")
async def test_the_usage_of_the_threads_is_that_of_the_session(scene: Scene) -> None:
    team = Team(scene, ["alice"])
    [alice] = team.helpers.values()
    await team.delegates("alice")
    usage = {"input_tokens": 1_000_000, "output_tokens": 7}
    await alice.answers(says("dear", usage=usage))
    session = await team.start()
    await scene.send(session, message())
    await team.at_rest("alice")
    await team.done()
    threads, whole = await team.threads(), (await scene.retrieve(session))["usage"]
    assert threads["alice"]["usage"]["input_tokens"] == 1_000_000 and threads["alice"]["usage"]["output_tokens"] == 7
    for field in ("input_tokens", "output_tokens", "cache_read_input_tokens"):
        assert sum(thread["usage"][field] for thread in threads.values()) == whole[field]
    costs = [int(thread["usage"]["list_cost"]["amount"]) for thread in threads.values()]
    assert abs(sum(costs) - int(whole["list_cost"]["amount"])) <= len(costs)
    assert int(threads["alice"]["usage"]["list_cost"]["amount"]) >= 100


@requirement("threads:failure")
async def test_a_child_whose_model_fails_is_terminated_and_the_session_goes_on(scene: Scene) -> None:
    team = Team(scene, ["alice"])
    [alice] = team.helpers.values()
    await team.delegates("alice")
    await alice.answers(fails(400, "invalid_request_error"))
    session = await team.start()
    await scene.send(session, message())
    child = await team.at_rest("alice")
    assert child["status"] == "terminated"
    log = await team.done()
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert [event["session_thread_id"] for event in of_type(log, f"{STATUS}terminated")] == [child["id"]]
    [heard] = of_type(log, "agent.thread_message_received")
    assert "could not go on" in text_of(heard)
    assert of_type(await team.history(child), "session.error") and not of_type(log, "session.error")


@requirement("threads:shared-sandbox")
async def test_threads_work_on_the_same_files(scene: Scene) -> None:
    team = Team(scene, ["alice", "bob"])
    alice, bob = team.helpers.values()
    await alice.answers(calls(bash("echo of-alice > /workspace/note")), says("written"))
    await bob.answers(calls(bash("cat /workspace/note")), says("read"))
    session = await team.start(built_in())
    await team.delegates("alice")
    await scene.turn(session)
    await team.delegates("bob")
    await scene.turn(session)
    [result] = of_type(await team.history((await team.threads())["bob"]), "agent.tool_result")
    assert text_of(result).strip() == "of-alice"


@requirement("threads:limits")
async def test_no_more_than_25_threads_are_open_at_once(scene: Scene) -> None:
    team = Team(scene, ["alice"])
    await team.delegates(*["alice"] * 26)
    session = await team.start()
    log = await scene.turn(session)
    results = of_type(log, "agent.tool_result")
    assert [result["is_error"] for result in results] == [False] * 25 + [True] and "25" in text_of(results[-1])
    rows = (await scene.get(f"/v1/sessions/{session}/threads"))["data"]
    assert len(rows) == 26
    idle = next(row for row in rows if row["parent_thread_id"])
    assert (await scene.http.post(f"{team.path(idle)}/archive")).status_code == 200
    await team.delegates("alice")
    log = await scene.turn(session)
    assert [result["is_error"] for result in of_type(log, "agent.tool_result")] == [False]


@requirement("threads:skills")
async def test_an_agent_of_the_roster_has_its_own_skills(scene: Scene) -> None:
    name = f"tidy-{secrets.token_hex(4)}"
    skill = await scene.client.beta.skills.create(files=files(name))
    team = Team(scene, ["alice"])
    [alice] = team.helpers.values()
    await team.delegates("alice")
    await alice.answers(calls(bash(f"/workspace/skills/{name}/scripts/run.sh")), says("done"))
    session = await team.start(built_in(), skills=[chosen(skill.id)])
    await scene.turn(session)
    child = (await team.threads())["alice"]
    [result] = of_type(await team.history(child), "agent.tool_result")
    assert text_of(result).strip() == "tidied"
    pinned = [{**chosen(skill.id), "version": skill.latest_version_id}]
    assert child["agent"]["skills"] == pinned
    members = (await scene.retrieve(session))["agent"]["multiagent"]["agents"]
    assert [member["skills"] for member in members] == [pinned, []]
    assert name in str((await alice.shown(1))[0]["system"]) and name not in str((await scene.shown(1))[0]["system"])


@requirement("threads:budget")
async def test_a_budget_holds_all_threads_together(scene: Scene) -> None:
    team = Team(scene, ["alice"])
    [alice] = team.helpers.values()
    await team.delegates("alice")
    cent = {"input_tokens": 0, "output_tokens": 1000}
    await alice.answers(calls(bash("true"), usage=cent), says("alice is done"))
    session = await team.start(built_in(), budget=cents(1))
    await scene.send(session, message())
    log = await team.done()
    assert log[-1]["stop_reason"] == {"type": "budget_reached"}
    assert kinds(await team.history((await team.threads())["alice"]))[-1] == f"{STATUS}idle"
    before = len(of_type(log, "session.status_idle"))
    raised = await scene.http.post(f"/v1/sessions/{session}", json={"budget": cents(100)})
    assert raised.status_code == 200
    log = await scene.until(session, "session.status_idle", before + 1)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert "alice is done" in [text_of(event) for event in of_type(log, "agent.thread_message_received")]
    unpriced = await scene.agent(name="unpriced", model="my-own")
    boss = await scene.agent(multiagent={"type": "coordinator", "agents": [unpriced]})
    body = {"agent": boss, "environment_id": scene.environment_id, "budget": cents(100)}
    refused = await scene.http.post("/v1/sessions", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["details"]["error_code"] == "model_not_budgetable"


@requirement("threads:advisor")
async def test_an_advisor_answers_in_a_thread_that_ends_with_the_answer(scene: Scene) -> None:
    asked = secrets.token_hex(6)
    advisor = Scene(scene.platform, scene.client, scene.http, scene.environment_id)
    advisor.mark = "You advise another agent that is at work"
    roster = {"type": "coordinator", "agents": [{"type": "advisor", "model": "claude-opus-5"}]}
    agent = await scene.agent(multiagent=roster)
    await scene.answers(calls(("ask_advisor", {"question": asked}), ("ask_advisor", {"question": "more"})))
    session = await scene.session(agent=agent)
    await scene.send(session, message())
    team = Team(scene, [])
    team.session = session
    assert (await team.at_rest("advisor"))["status"] == "terminated"
    log = await team.done()
    [row] = [row for row in (await scene.get(f"/v1/sessions/{session}/threads"))["data"] if row["parent_thread_id"]]
    assert row["agent"] == {"type": "advisor", "model": "claude-opus-5"}
    own = [event for event in log if event.get("agent_name") == "anthropic.advisor"]
    names = ["session.thread_created", *(f"{STATUS}{word}" for word in ("running", "idle", "terminated"))]
    assert kinds(own) == names and {event["session_thread_id"] for event in own} == {row["id"]}
    [advice] = of_type(log, "agent.thread_message_received")
    assert (advice["from_agent_name"], text_of(advice)) == ("anthropic.advisor", "ok")
    assert [result["is_error"] for result in of_type(log, "agent.tool_result")] == [False, True]
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    [shown] = [each for each in await advisor.shown(1) if asked in str(each)]
    assert shown["model"] == "claude-opus-5" and not shown.get("tools") and scene.mark not in str(shown)
    by_sdk = await scene.client.beta.sessions.threads.retrieve(row["id"], session_id=session)
    assert by_sdk.agent.type == "advisor" and by_sdk.agent.model == "claude-opus-5"


@requirement("threads:workers")
async def test_a_worker_runs_what_every_thread_calls(site: Site) -> None:
    team = Team(site.scene, ["alice", "bob"])
    alice, bob = team.helpers.values()
    await team.delegates("alice", "bob")
    await alice.answers(calls(bash("echo of-alice")), says("alice is done"))
    await bob.answers(calls(bash("echo of-bob")), says("bob is done"))
    session = await team.start(built_in(), environment_id=site.id)
    async with site.serving():
        log = await site.turn(session)
    results = of_type(log, "user.tool_result")
    threads = await team.threads()
    assert {each["session_thread_id"]: text_of(each).strip() for each in results} == {
        threads["alice"]["id"]: "of-alice",
        threads["bob"]["id"]: "of-bob",
    }
    assert {text_of(event) for event in of_type(log, "agent.thread_message_received")} == {
        "alice is done",
        "bob is done",
    }
