"""Memory stores as resources of sessions, over HTTP (spec A.7): what is kept, what is shown, what is refused."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
from api_fakes import Server, refusal

Json = dict[str, Any]


async def store(server: Server, name: str = "User notes") -> str:
    answer = await server.client.post("/v1/memory_stores", json={"name": name})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def asked(server: Server, *resources: Json) -> httpx.Response:
    agent, place = await server.agent(), await server.environment(secrets.token_hex(8))
    body = {"agent": agent["id"], "environment_id": place["id"], "resources": list(resources)}
    return await server.client.post("/v1/sessions", json=body)


def attached(store_id: str, **more: Any) -> Json:
    return {"type": "memory_store", "memory_store_id": store_id, **more}


async def test_a_session_shows_its_stores_as_they_were_and_is_found_by_them(server: Server) -> None:
    one, two = await store(server), await store(server, "Rules")
    made = await asked(server, attached(one), attached(two, access="read_only", instructions="Obey."))
    assert made.status_code == 200, made.text
    session = made.json()
    assert session["resources"] == [
        {
            "type": "memory_store", "memory_store_id": one, "access": "read_write", "name": "User notes",
            "description": "", "instructions": None, "mount_path": "/mnt/memory/user-notes",
        },
        {
            "type": "memory_store", "memory_store_id": two, "access": "read_only", "name": "Rules",
            "description": "", "instructions": "Obey.", "mount_path": "/mnt/memory/rules",
        },
    ]  # fmt: skip
    await server.client.post(f"/v1/memory_stores/{one}", json={"name": "Other"})
    path = f"/v1/sessions/{session['id']}"
    assert (await server.client.get(f"{path}/resources")).json()["data"] == session["resources"]
    for each in (one, two):
        found = (await server.client.get("/v1/sessions", params={"memory_store_id": each})).json()["data"]
        assert [row["id"] for row in found] == [session["id"]]
    # A store that is in use may be archived and deleted all the same: it is the session that does without.
    assert (await server.client.post(f"/v1/memory_stores/{one}/archive")).status_code == 200
    assert (await server.client.delete(f"/v1/memory_stores/{one}")).status_code == 200
    assert (await server.client.get(path)).json()["resources"] == session["resources"]
    assert (await server.client.delete(path)).status_code == 200


async def test_stores_are_given_when_the_session_is_created_or_never(server: Server) -> None:
    made = (await asked(server, attached(await store(server)))).json()
    path = f"/v1/sessions/{made['id']}/resources"
    more = await server.client.post(path, json=attached(await store(server, "More")))
    assert more.status_code == 400, more.text


async def test_what_cannot_be_attached_is_refused_by_name_and_leaves_no_session(server: Server) -> None:
    one, gone, over = await store(server), await store(server, "Gone"), await store(server, "Over")
    many = [await store(server, f"store {number}") for number in range(9)]
    await server.client.delete(f"/v1/memory_stores/{gone}")
    await server.client.post(f"/v1/memory_stores/{over}/archive")
    for status, resources in (
        (404, [attached(gone)]),
        (400, [attached(over)]),
        (400, [attached(one), attached(one)]),
        (400, [attached(one), attached(await store(server, "user/notes"))]),
        (400, [attached(each) for each in many]),
        (400, [attached(one, access="write")]),
        (400, [attached(one, mount_path="/mnt/memory/x")]),
    ):
        kind = "not_found_error" if status == 404 else "invalid_request_error"
        refusal(await asked(server, *resources), status, kind)
        for each in (one, *many):
            found = (await server.client.get("/v1/sessions", params={"memory_store_id": each})).json()["data"]
            assert found == []
    assert (await asked(server, *(attached(each) for each in many[:8]))).status_code == 200
