"""Sessions after their creation (spec A.4, B.3): lists, updates, archive, delete, and what guards them."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import CUSTOM, Scene, calls, message, of_type, says, toolset


async def update(scene: Scene, session: str, status: int = 200, **changes: Any) -> dict[str, Any]:
    answer = await scene.http.post(f"/v1/sessions/{session}", json=changes)
    assert answer.status_code == status, answer.text
    return answer.json()


async def running(scene: Scene, *tools: dict[str, Any]) -> str:
    """A session whose model has begun to answer and waits at the gate ``hold``."""
    await scene.answers(says(["half", scene.gate("hold"), "whole"]))
    session = await scene.session(*tools)
    await scene.send(session, message())
    await scene.shown(1)
    return session


async def ids(scene: Scene, **params: Any) -> list[str]:
    return [each["id"] for each in (await scene.get("/v1/sessions", params))["data"]]


@requirement("sessions:update:fields", "sessions:update:event")
async def test_title_and_metadata_change_at_any_time_and_say_what_changed(scene: Scene) -> None:
    session = await running(scene)
    changed = await update(scene, session, title="new", metadata={"a": "1", "b": "2"})
    assert (changed["title"], changed["metadata"], changed["status"]) == ("new", {"a": "1", "b": "2"}, "running")
    await scene.release("hold")
    await scene.idle(session)
    await update(scene, session, title="new", metadata={"a": "1"})
    cleared = await update(scene, session, title=None, metadata={"a": None})
    assert (cleared["title"], cleared["metadata"]) == (None, {"b": "2"})
    emptied = await update(scene, session, metadata=None)
    assert emptied["metadata"] == {}
    events = of_type(await scene.log(session), "session.updated")
    bodies = [{k: v for k, v in e.items() if k not in ("id", "type", "processed_at")} for e in events]
    assert bodies == [
        {"title": "new", "metadata": {"a": "1", "b": "2"}},
        {"title": None, "metadata": {"b": "2"}},
        {},
    ]


@requirement("sessions:update:agent", "sessions:update:event")
async def test_tools_change_while_idle_only_and_from_the_next_turn(scene: Scene) -> None:
    session = await running(scene, toolset())
    refused = await update(scene, session, 400, agent={"tools": [CUSTOM]})
    assert "agent" in refused["error"]["message"]
    await scene.release("hold")
    await scene.idle(session)
    changed = await update(scene, session, agent={"tools": [CUSTOM]})
    assert changed["agent"]["tools"] == [CUSTOM] and changed["agent"]["version"] == 1
    await scene.answers(says("again"))
    log = await scene.turn(session)
    shown = await scene.shown(2)
    assert [tool["name"] for tool in shown[1]["tools"]] == ["weather"]
    [event] = of_type(await scene.log(session), "session.updated")
    assert event["agent"] == changed["agent"] and "title" not in event
    assert not of_type(log, "session.updated")
    assert await update(
        scene, session, 400, agent={"mcp_servers": [{"type": "url", "name": "x", "url": "https://x.io"}]}
    )
    cleared = await update(scene, session, agent={"tools": []})
    assert cleared["agent"]["tools"] == []


@requirement("sessions:update:vaults", "sessions:refused-parts")
async def test_vaults_and_budgets_cannot_be_added_later(scene: Scene) -> None:
    session = await scene.session()
    for change in (
        {"vault_ids": []},
        {"budget": {"type": "limit", "max_list_cost": {"amount": "5", "currency": "USD"}}},
    ):
        refused = await update(scene, session, 400, **change)
        assert next(iter(change)) in refused["error"]["message"]
    assert (await update(scene, session, budget=None))["budget"] is None
    assert (await update(scene, session, 400, agent={"system": "x"}))["error"]["message"].startswith("agent.system")


@requirement("sessions:list:filters")
async def test_sessions_are_filtered(scene: Scene) -> None:
    agent = await scene.agent()
    first = await scene.session(agent=agent)
    await scene.client.beta.agents.update(agent, name="v2")
    second, third = await scene.session(agent=agent), await scene.session(agent=agent)
    await scene.client.beta.sessions.archive(third)
    assert await ids(scene, agent_id=agent) == [second, first]
    assert await ids(scene, agent_id=agent, include_archived="true") == [third, second, first]
    assert await ids(scene, agent_id=agent, agent_version=1) == [first]
    refused = await scene.http.get("/v1/sessions", params={"agent_version": 1})
    assert refused.status_code == 400 and "agent_id" in refused.json()["error"]["message"]
    everything = {"agent_id": agent, "include_archived": "true"}
    assert await ids(scene, **everything, **{"statuses[]": ["terminated"]}) == [third]
    assert await ids(scene, **everything, **{"statuses[]": ["idle", "terminated"]}) == [third, second, first]
    made = (await scene.retrieve(second))["created_at"]
    for bound, found in (
        ("gt", []),
        ("gte", [second]),
        ("lt", [first]),
        ("lte", [second, first]),
    ):
        assert await ids(scene, agent_id=agent, **{f"created_at[{bound}]": made}) == found
    assert await ids(scene, agent_id=agent, order="asc") == [first, second]
    assert await ids(scene, agent_id=agent, deployment_id="depl_1") == []
    assert await ids(scene, memory_store_id="memstore_1") == []


@requirement("sessions:list:both-ways")
@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_pages_lead_to_and_fro(scene: Scene, order: str) -> None:
    agent = await scene.agent()
    made = [await scene.session(agent=agent) for _ in range(5)]
    expected = made[::-1] if order == "desc" else made
    query: dict[str, Any] = {"agent_id": agent, "order": order, "limit": 2}

    async def page(cursor: str | None) -> tuple[list[str], str | None, str | None]:
        found = await scene.get("/v1/sessions", query | ({"page": cursor} if cursor else {}))
        return [each["id"] for each in found["data"]], found["next_page"], found["prev_page"]

    rows1, next1, prev1 = await page(None)
    rows2, next2, prev2 = await page(next1)
    rows3, next3, prev3 = await page(next2)
    assert [rows1, rows2, rows3] == [expected[:2], expected[2:4], expected[4:]]
    assert prev1 is None and next3 is None and prev2 and prev3
    back2, forth2, further = await page(prev3)
    assert back2 == rows2 and forth2
    back1, forth1, nothing = await page(further)
    assert back1 == rows1 and nothing is None and forth1
    assert (await page(forth1))[0] == rows2


@requirement("sessions:list:both-ways", "transport:auto-pagination")
async def test_the_sdk_pages_sessions_both_ways(scene: Scene) -> None:
    agent = await scene.agent()
    made = [await scene.session(agent=agent) for _ in range(3)]
    page = await scene.client.beta.sessions.list(agent_id=agent, limit=2)
    assert page.prev_page is None
    second = await page.get_next_page()
    assert [each.id for each in second.data] == made[:1] and second.prev_page
    assert [each.id async for each in page] == made[::-1]


@requirement("sessions:archive", "sessions:archive:closed")
async def test_an_archived_session_is_terminated_and_closed_but_readable(scene: Scene) -> None:
    await scene.answers(says("hi"))
    session = await scene.session()
    before = await scene.turn(session)
    archived = await scene.client.beta.sessions.archive(session)
    assert archived.status == "terminated" and archived.archived_at
    log = await scene.log(session)
    assert log[: len(before)] == before
    assert [event["type"] for event in log[len(before) :]] == [
        "session.thread_status_terminated",
        "session.status_terminated",
    ]
    assert (await scene.retrieve(session))["status"] == "terminated"
    for call in (
        lambda: scene.client.beta.sessions.events.send(session, events=[message()]),  # type: ignore[list-item]
        lambda: scene.client.beta.sessions.update(session, title="x"),
    ):
        with pytest.raises(anthropic.ConflictError) as caught:
            await call()
        assert caught.value.response.headers["x-should-retry"] == "false"
    again = await scene.client.beta.sessions.archive(session)
    assert again.archived_at == archived.archived_at and await scene.log(session) == log


@requirement("sessions:archive")
async def test_a_session_that_waits_for_its_client_can_be_archived(scene: Scene) -> None:
    await scene.answers(calls(("weather", {"city": "Oslo"})))
    session = await scene.session(CUSTOM)
    await scene.turn(session)
    assert (await scene.client.beta.sessions.archive(session)).status == "terminated"


@requirement("sessions:guards")
async def test_a_running_session_is_neither_archived_nor_deleted(scene: Scene) -> None:
    session = await running(scene)
    for request in (("POST", f"/v1/sessions/{session}/archive"), ("DELETE", f"/v1/sessions/{session}")):
        refused: httpx.Response = await scene.http.request(*request)
        assert refused.status_code == 400 and "running" in refused.json()["error"]["message"]
    await scene.release("hold")
    log = await scene.idle(session)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert (await scene.client.beta.sessions.delete(session)).type == "session_deleted"


@requirement("sessions:delete")
async def test_a_deleted_session_is_gone_and_leaves_the_rest(scene: Scene) -> None:
    await scene.answers(says("hi"))
    agent = await scene.agent()
    session = await scene.session(agent=agent)
    await scene.turn(session)
    deleted = (await scene.http.delete(f"/v1/sessions/{session}")).json()
    assert deleted == {"id": session, "type": "session_deleted"}
    for path in ("", "/events", "/threads", "/events/stream"):
        assert (await scene.http.get(f"/v1/sessions/{session}{path}")).status_code == 404
    assert (await scene.http.post(f"/v1/sessions/{session}/events", json={"events": [message()]})).status_code == 404
    assert (await scene.http.delete(f"/v1/sessions/{session}")).status_code == 404
    assert await ids(scene, agent_id=agent, include_archived="true") == []
    await scene.get(f"/v1/agents/{agent}")
    await scene.get(f"/v1/environments/{scene.environment_id}")


@requirement("sessions:delete")
async def test_an_archived_session_can_still_be_deleted(scene: Scene) -> None:
    session = await scene.session()
    await scene.client.beta.sessions.archive(session)
    await scene.client.beta.sessions.delete(session)
    with pytest.raises(anthropic.NotFoundError):
        await scene.client.beta.sessions.retrieve(session)
