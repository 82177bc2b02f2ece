"""Lists, limits and cursors, whatever is listed (spec section 0)."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from anthropic import Anthropic

from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, Scene, collect, says


@requirement("transport:list-envelope", "transport:limit")
@pytest.mark.parametrize("path, most", [("agents", 100), ("environments", 100), ("sessions", 100)])
def test_lists_have_their_envelope_and_bounded_limits(http: httpx.Client, path: str, most: int) -> None:
    page = http.get(f"/v1/{path}", params={"limit": most}).json()
    assert set(page) - {"prev_page"} == {"data", "next_page"}
    assert ("prev_page" in page) == (path == "sessions")
    for limit in ("0", str(most + 1), "-1", "ten"):
        refused = http.get(f"/v1/{path}", params={"limit": limit})
        assert refused.status_code == 400 and "limit" in refused.json()["error"]["message"]


@requirement("transport:auto-pagination")
def test_the_synchronous_sdk_walks_all_pages(client: Anthropic) -> None:
    start = datetime.now(UTC)
    made = [client.beta.agents.create(name=f"page {index}", model=MODEL).id for index in range(5)]
    found = [agent.id for agent in client.beta.agents.list(limit=2, created_at_gte=start)]
    assert found == made[::-1]


@requirement("transport:auto-pagination")
async def test_the_asynchronous_sdk_walks_all_pages_of_events(scene: Scene) -> None:
    session = await scene.session()
    await scene.answers(says("one"), says("two"))
    await scene.turn(session)
    await scene.turn(session)
    events = await collect(aiter(scene.client.beta.sessions.events.list(session, limit=3)))
    assert [event.id for event in events] == [event["id"] for event in await scene.log(session)]


@requirement("transport:cursor:order", "transport:cursor:filters")
async def test_a_cursor_keeps_its_order_but_not_its_limit(scene: Scene) -> None:
    agent = await scene.agent()
    made = [await scene.session(agent=agent) for _ in range(4)]
    first = await scene.get("/v1/sessions", {"agent_id": agent, "limit": 1})
    rest = await scene.get("/v1/sessions", {"agent_id": agent, "limit": 10, "page": first["next_page"]})
    assert [each["id"] for each in first["data"] + rest["data"]] == made[::-1]
    other = await scene.http.get("/v1/sessions", params={"order": "asc", "page": first["next_page"]})
    assert other.status_code == 400 and "order" in other.json()["error"]["message"]
    filtered = await scene.get("/v1/sessions", {"agent_id": agent, "statuses[]": "running", "page": first["next_page"]})
    assert filtered["data"] == []


@requirement("transport:cursor:bounds")
async def test_a_cursor_outside_changed_time_bounds_is_refused(scene: Scene) -> None:
    agent = await scene.agent()
    for _ in range(3):
        await scene.session(agent=agent)
    first = await scene.get("/v1/sessions", {"agent_id": agent, "limit": 1})
    position = first["data"][0]["created_at"]
    params = {"agent_id": agent, "page": first["next_page"], "created_at[lt]": position}
    assert (await scene.http.get("/v1/sessions", params=params)).status_code == 400
    params = {"agent_id": agent, "page": first["next_page"], "created_at[lte]": position}
    assert (await scene.http.get("/v1/sessions", params=params)).status_code == 200


@requirement("transport:cursor:garbage")
@pytest.mark.parametrize("page", ["x", "", "e30", "WzEsMl0", "%00", "A" * 2000], ids=lambda page: page[:8] or "empty")
@pytest.mark.parametrize("path", ["agents", "environments", "sessions"])
def test_a_cursor_that_is_none_is_a_400(http: httpx.Client, path: str, page: str) -> None:
    refused = http.get(f"/v1/{path}", params={"page": page})
    assert refused.status_code == 400 and "page" in refused.json()["error"]["message"]


@requirement("transport:cursor:garbage")
async def test_a_cursor_of_another_listing_is_a_400(scene: Scene) -> None:
    await scene.agent()
    await scene.agent()
    page = (await scene.get("/v1/agents", {"limit": 1}))["next_page"]
    session = await scene.session()
    for path in ("/v1/sessions", "/v1/environments", f"/v1/sessions/{session}/events"):
        assert (await scene.http.get(path, params={"page": page})).status_code == 400
