"""``/v1/environments`` (spec A.2)."""

from __future__ import annotations

from anthropic.types.beta import BetaEnvironment
from api_fakes import Server, refusal

KEYS = {
    "id",
    "type",
    "name",
    "description",
    "config",
    "metadata",
    "scope",
    "created_at",
    "updated_at",
    "archived_at",
}


async def test_a_created_environment_has_every_key_and_reads_back_the_same(server: Server) -> None:
    made = await server.environment(description="d")
    assert set(made) == KEYS
    BetaEnvironment.model_validate(made)
    assert (await server.client.get(f"/v1/environments/{made['id']}")).json() == made


async def test_a_name_is_unique_among_those_not_archived(server: Server) -> None:
    made = await server.environment("e")
    answer = await server.client.post("/v1/environments", json={"name": "e"})
    refusal(answer, 409, "conflict_error")
    assert answer.headers["x-should-retry"] == "false"
    await server.client.post(f"/v1/environments/{made['id']}/archive")
    assert (await server.environment("e"))["id"] != made["id"]


async def test_an_update_changes_and_keeps(server: Server) -> None:
    made = await server.environment("e", description="d")
    path = f"/v1/environments/{made['id']}"
    changed = (await server.client.post(path, json={"name": "f", "metadata": {"a": "b"}})).json()
    assert (changed["name"], changed["description"], changed["metadata"]) == ("f", "d", {"a": "b"})
    assert (await server.client.post(path, json={"name": None})).json() == changed
    await server.environment("taken")
    refusal(await server.client.post(path, json={"name": "taken"}), 409, "conflict_error")
    assert "name" in refusal(await server.client.post(path, json={"name": ""}), 400)


async def test_an_archived_environment_is_read_only(server: Server) -> None:
    made = await server.environment()
    path = f"/v1/environments/{made['id']}"
    archived = (await server.client.post(f"{path}/archive")).json()
    assert archived["archived_at"]
    assert (await server.client.post(f"{path}/archive")).json() == archived
    answer = await server.client.post(path, json={"description": "x"})
    refusal(answer, 400)
    assert answer.json()["error"]["details"]["error_code"] == "environment_archived"


async def test_only_an_unused_environment_is_deleted(server: Server) -> None:
    made = await server.environment()
    path = f"/v1/environments/{made['id']}"
    session = await server.session(environment_id=made["id"])
    refusal(await server.client.delete(path), 409, "conflict_error")
    await server.client.delete(f"/v1/sessions/{session['id']}")
    assert (await server.client.delete(path)).json() == {"id": made["id"], "type": "environment_deleted"}
    refusal(await server.client.get(path), 404, "not_found_error")
    refusal(await server.client.delete(path), 404, "not_found_error")
    refusal(await server.client.post(path, json={}), 404, "not_found_error")


async def test_listing_pages_and_hides_archived_ones(server: Server) -> None:
    made = [(await server.environment(f"e{n}"))["id"] for n in range(3)]
    await server.client.post(f"/v1/environments/{made[0]}/archive")
    first = (await server.client.get("/v1/environments?limit=1")).json()
    second = (await server.client.get("/v1/environments", params={"limit": 1, "page": first["next_page"]})).json()
    assert [first["data"][0]["id"], second["data"][0]["id"], second["next_page"]] == [made[2], made[1], None]
    every = (await server.client.get("/v1/environments?include_archived=true")).json()["data"]
    assert len(every) == 3
