"""The primary thread (spec A.6)."""

from __future__ import annotations

from anthropic.types.beta.sessions import BetaManagedAgentsSessionThread
from api_fakes import Server, refusal
from sse import Frames

from agents.sessions.events import EventType, SessionStatus

KEYS = {
    "id",
    "type",
    "session_id",
    "parent_thread_id",
    "agent",
    "status",
    "stats",
    "usage",
    "workflow_run_id",
    "created_at",
    "updated_at",
    "archived_at",
}


async def test_a_session_has_one_primary_thread(server: Server) -> None:
    session = await server.session()
    path = f"/v1/sessions/{session['id']}/threads"
    body = (await server.client.get(path)).json()
    (thread,) = body["data"]
    assert (set(thread), body["next_page"]) == (KEYS, None)
    assert (thread["parent_thread_id"], thread["status"], thread["stats"], thread["usage"]) == (
        None,
        "idle",
        None,
        None,
    )
    assert "multiagent" not in thread["agent"]
    BetaManagedAgentsSessionThread.model_validate(thread)
    assert (await server.client.get(f"{path}/{thread['id']}")).json() == thread


async def test_after_a_turn_the_thread_shows_stats_and_its_own_cost(server: Server) -> None:
    session = await server.session()
    await server.host.log(
        session["id"], EventType.SESSION_IDLE, stop_reason={"type": "end_turn"}, active_seconds=3600.0
    )
    (thread,) = (await server.client.get(f"/v1/sessions/{session['id']}/threads")).json()["data"]
    assert thread["stats"]["active_seconds"] == thread["usage"]["active_seconds"] == 3600.0
    assert thread["usage"]["list_cost"]["amount"] == "0"
    assert (await server.client.get(f"/v1/sessions/{session['id']}")).json()["usage"]["list_cost"]["amount"] == "8"


async def test_threads_are_filtered_by_status(server: Server) -> None:
    session = await server.session()
    path = f"/v1/sessions/{session['id']}/threads"
    assert (await server.client.get(f"{path}?statuses[]=running")).json()["data"] == []
    assert len((await server.client.get(f"{path}?statuses[]=running&statuses[]=idle")).json()["data"]) == 1
    refusal(await server.client.get(f"{path}?statuses[]=x"), 400)
    refusal(await server.client.get(f"{path}?limit=1001"), 400)
    refusal(await server.client.get(f"{path}?page=x"), 400)


async def test_the_primary_thread_cannot_be_archived_by_itself(server: Server) -> None:
    session = await server.session()
    path = f"/v1/sessions/{session['id']}/threads"
    thread = (await server.client.get(path)).json()["data"][0]["id"]
    assert "primary" in refusal(await server.client.post(f"{path}/{thread}/archive"), 400)


async def test_an_unknown_thread_or_session_is_404(server: Server) -> None:
    session = await server.session()
    for path in (
        f"/v1/sessions/{session['id']}/threads/sthr_none",
        f"/v1/sessions/{session['id']}/threads/sthr_none/events",
        f"/v1/sessions/{session['id']}/threads/sthr_none/stream",
        "/v1/sessions/sesn_none/threads",
    ):
        refusal(await server.client.get(path), 404, "not_found_error")
    answer = await server.client.post(f"/v1/sessions/{session['id']}/threads/sthr_none/archive")
    refusal(answer, 404, "not_found_error")
    assert server.host.subscriptions == []


async def test_the_threads_history_and_stream_are_the_sessions(server: Server) -> None:
    session = await server.session()
    base = f"/v1/sessions/{session['id']}/threads"
    base = f"{base}/{(await server.client.get(base)).json()['data'][0]['id']}"
    async with Frames(server, f"{base}/stream") as frames:
        event = await server.host.log(session["id"], EventType.SESSION_TERMINATED, status=SessionStatus.TERMINATED)
        assert [frame["id"] for frame in await frames.rest()] == [event.id]
    listed = (await server.client.get(f"{base}/events?limit=1")).json()
    assert [each["id"] for each in listed["data"]] == [event.id]
