"""``/v1/memory_stores``, their memories and versions (spec A.9): what is refused, what is shown, who did it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from anthropic.types.beta import BetaManagedAgentsMemoryStore
from anthropic.types.beta.memory_stores import BetaManagedAgentsMemory, BetaManagedAgentsMemoryVersion
from api_fakes import Server, refusal
from test_api_scopes import key
from test_api_worker_access import Scene, environment_with_work

from agents.catalog.resources import stored_resource
from agents.ids import SessionId
from agents.sessions.log import Commit

Json = dict[str, Any]
WRONG = "0" * 64


async def new_store(server: Server, **fields: Any) -> str:
    answer = await server.client.post("/v1/memory_stores", json={"name": "User notes", **fields})
    assert answer.status_code == 200, answer.text
    return f"/v1/memory_stores/{answer.json()['id']}"


async def put(server: Server, store: str, path: str = "/a.md", content: str = "one", **query: str) -> Json:
    answer = await server.client.post(f"{store}/memories", json={"path": path, "content": content}, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def get(server: Server, path: str, **query: Any) -> Json:
    answer = await server.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_store_reads_back_changes_and_goes(server: Server) -> None:
    path = await new_store(server, metadata={"a": "1", "b": "2"})
    made = await get(server, path)
    BetaManagedAgentsMemoryStore.model_validate(made)
    assert (made["type"], made["name"], made["description"]) == ("memory_store", "User notes", "")
    changed = (await server.client.post(path, json={"metadata": {"a": None, "c": "3"}, "description": "d"})).json()
    assert (changed["name"], changed["description"], changed["metadata"]) == ("User notes", "d", {"b": "2", "c": "3"})
    assert (await server.client.post(path, json={"name": None, "description": None})).json() == changed
    cleared = (await server.client.post(path, json={"name": "N", "description": "", "metadata": None})).json()
    assert (cleared["name"], cleared["description"], cleared["metadata"]) == ("N", "", {})
    assert (await server.client.delete(path)).json() == {"id": made["id"], "type": "memory_store_deleted"}
    refusal(await server.client.get(path), 404, "not_found_error")
    refusal(await server.client.get(f"{path}/memories"), 404, "not_found_error")


async def test_an_archived_store_is_listed_on_request_and_written_no_more(server: Server) -> None:
    path = await new_store(server)
    memory = await put(server, path)
    assert (await server.client.post(f"{path}/archive")).json()["archived_at"]
    assert (await get(server, "/v1/memory_stores"))["data"] == []
    assert len((await get(server, "/v1/memory_stores", include_archived="true"))["data"]) == 1
    for where, body in ((path, {"name": "x"}), (f"{path}/memories", {"path": "/b", "content": ""}),
                        (f"{path}/memories/{memory['id']}", {"path": "/b"})):  # fmt: skip
        answer = await server.client.post(where, json=body)
        assert "archived" in refusal(answer, 400)
        assert answer.json()["error"]["details"]["error_code"] == "memory_store_archived"
    assert (await get(server, f"{path}/memories/{memory['id']}"))["content"] == "one"
    assert (await server.client.delete(f"{path}/memories/{memory['id']}")).status_code == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\tb"}, "name"),
        ({"name": "a", "description": "x" * 1025}, "description"),
        ({"name": "a", "metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"name": "a", "scope": "b"}, "scope"),
    ],
)
async def test_a_bad_store_is_refused_by_name(server: Server, body: Json, named: str) -> None:
    assert refusal(await server.client.post("/v1/memory_stores", json=body), 400).startswith(named)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"path": "/a"}, "content"),
        ({"path": "/a", "content": None}, "content"),
        ({"path": "/a", "content": "x" * 102_401}, "content"),
        ({"content": ""}, "path"),
        ({"path": "a", "content": ""}, "path"),
        ({"path": "/a", "content": "", "view": "full"}, "view"),
    ],
)
async def test_a_bad_memory_is_refused_by_name(server: Server, body: Json, named: str) -> None:
    path = await new_store(server)
    assert refusal(await server.client.post(f"{path}/memories", json=body), 400).startswith(named)


async def test_a_memory_shows_its_content_as_the_view_says(server: Server) -> None:
    store = await new_store(server)
    made = await put(server, store, content="é")
    BetaManagedAgentsMemory.model_validate(made)
    digest = hashlib.sha256("é".encode()).hexdigest()
    assert (made["content"], made["content_sha256"], made["content_size_bytes"]) == (None, digest, 2)
    one = f"{store}/memories/{made['id']}"
    assert await get(server, one) == {**made, "content": "é"}
    assert await get(server, one, view="basic") == made
    assert (await put(server, store, "/empty", "", view="full"))["content"] == ""
    changed = await server.client.post(one, json={"content": "two"}, params={"view": "full"})
    assert changed.json()["content"] == "two" and changed.json()["memory_version_id"] != made["memory_version_id"]
    (_, empty) = (await get(server, f"{store}/memories", view="full"))["data"]
    assert empty["content"] == ""
    assert (await get(server, f"{store}/memories"))["data"][0]["content"] is None
    assert "view" in refusal(await server.client.get(one, params={"view": "most"}), 400)


async def test_a_taken_path_is_a_conflict_that_names_who_has_it(server: Server) -> None:
    store = await new_store(server)
    made = await put(server, store, "/a/b")
    for path in ("/a/b", "/a", "/a/b/c"):
        answer = await server.client.post(f"{store}/memories", json={"path": path, "content": ""})
        refusal(answer, 409, "memory_path_conflict_error")
        told = answer.json()["error"]
        assert (told["conflicting_memory_id"], told["conflicting_path"]) == (made["id"], "/a/b")
        assert answer.headers["x-should-retry"] == "false"


async def test_what_was_expected_must_be_so(server: Server) -> None:
    store = await new_store(server)
    made = await put(server, store)
    one = f"{store}/memories/{made['id']}"

    def wanting(digest: str, **body: str) -> Json:
        return {**body, "precondition": {"type": "content_sha256", "content_sha256": digest}}

    stale = await server.client.post(one, json=wanting(WRONG, content="two"))
    assert refusal(stale, 409, "memory_precondition_failed_error") and stale.headers["x-should-retry"] == "false"
    assert (await server.client.post(one, json=wanting(WRONG, content="one"))).json() == made
    moved = (await server.client.post(one, json=wanting(made["content_sha256"], path="/b.md"))).json()
    assert (moved["id"], moved["path"]) == (made["id"], "/b.md")
    gone = await server.client.delete(one, params={"expected_content_sha256": WRONG})
    refusal(gone, 409, "memory_precondition_failed_error")
    assert "expected_content_sha256" in refusal(await server.client.delete(f"{one}?expected_content_sha256=x"), 400)
    assert "precondition" in refusal(await server.client.post(one, json=wanting("x", content="two")), 400)
    empty = await server.client.post(one, json={"content": "two", "precondition": {"type": "content_sha256"}})
    assert "precondition.content_sha256" in refusal(empty, 400)
    assert "content, path" in refusal(await server.client.post(one, json=wanting(WRONG)), 400)
    answer = await server.client.delete(one, params={"expected_content_sha256": made["content_sha256"]})
    assert answer.json() == {"id": made["id"], "type": "memory_deleted"}


async def test_memories_are_listed_in_pages_by_path_and_by_directory(server: Server) -> None:
    store = await new_store(server)
    longest = "/z/" + '"' * 1021
    every = ["/a.md", "/a/1", "/a/b/2", "/c", longest]
    for path in reversed(every):
        await put(server, store, path)
    found: list[str] = []
    query: Json = {"limit": 2}
    while True:
        page = await get(server, f"{store}/memories", **query)
        found += [item["path"] for item in page["data"]]
        if page["next_page"] is None:
            break
        query["page"] = page["next_page"]
    assert found == every
    rolled = await get(server, f"{store}/memories", depth=1)
    assert [(item["type"], item["path"]) for item in rolled["data"]] == [
        ("memory", "/a.md"), ("memory_prefix", "/a/"), ("memory", "/c"), ("memory_prefix", "/z/"),
    ]  # fmt: skip
    first = await get(server, f"{store}/memories", depth=1, limit=2)
    rest = await get(server, f"{store}/memories", depth=1, page=first["next_page"])
    assert first["data"] + rest["data"] == rolled["data"] and rest["next_page"] is None
    inside = await get(server, f"{store}/memories", depth=1, path_prefix="/a/")
    assert [item["path"] for item in inside["data"]] == ["/a/1", "/a/b/"]
    last = await get(server, f"{store}/memories", limit=4)
    assert (await get(server, f"{store}/memories", page=last["next_page"]))["data"][0]["path"] == longest


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"depth": "2"}, "depth"), ({"path_prefix": "/a"}, "path_prefix"), ({"path_prefix": "a/"}, "path_prefix"),
        ({"limit": "101"}, "limit"), ({"limit": "0"}, "limit"), ({"page": "x"}, "page"), ({"view": "x"}, "view"),
    ],
)  # fmt: skip
async def test_a_bad_query_is_refused_by_name(server: Server, query: Json, named: str) -> None:
    store = await new_store(server)
    assert refusal(await server.client.get(f"{store}/memories", params=query), 400).startswith(named)


async def test_a_page_with_contents_has_twenty_items_at_most(server: Server) -> None:
    store = await new_store(server)
    for number in range(22):
        await put(server, store, f"/{number}")
    for what in ("memories", "memory_versions"):
        assert len((await get(server, f"{store}/{what}", limit=100))["data"]) == 22
        page = await get(server, f"{store}/{what}", limit=100, view="full")
        assert len(page["data"]) == 20 and page["next_page"]


async def test_versions_tell_what_was_done_and_by_which_key(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(api_key="operator")
    made = await key(server, "developer")
    server.client.headers["x-api-key"] = "operator"
    store = await new_store(server)
    memory = await put(server, store)
    one = f"{store}/memories/{memory['id']}"
    await server.client.post(one, json={"content": "two"}, headers={"x-api-key": made["key"]})
    await server.client.delete(one)
    gone, second, first = (await get(server, f"{store}/memory_versions", memory_id=memory["id"], view="full"))["data"]
    BetaManagedAgentsMemoryVersion.model_validate(first)
    assert [each["operation"] for each in (first, second, gone)] == ["created", "modified", "deleted"]
    assert (first["content"], second["content"], gone["content"]) == ("one", "two", None)
    assert gone["content_sha256"] is None and gone["content_size_bytes"] is None and gone["path"] == "/a.md"
    assert second["created_by"] == {"type": "api_actor", "api_key_id": made["id"]}
    assert first["created_by"] == gone["created_by"] == {"type": "api_actor", "api_key_id": "default"}
    by_key = await get(server, f"{store}/memory_versions", api_key_id=made["id"])
    assert [each["id"] for each in by_key["data"]] == [second["id"]] and by_key["data"][0]["content"] is None
    for nobody in ("session_id", "service_account_id"):
        assert (await get(server, f"{store}/memory_versions", **{nobody: "x"}))["data"] == []
    deleted = await get(server, f"{store}/memory_versions", operation="deleted")
    assert [each["id"] for each in deleted["data"]] == [gone["id"]]


async def test_redaction_leaves_who_and_when(server: Server) -> None:
    store = await new_store(server)
    memory = await put(server, store)
    newest = f"{store}/memory_versions/{memory['memory_version_id']}"
    assert memory["id"] in refusal(await server.client.post(f"{newest}/redact"), 400)
    await server.client.post(f"{store}/memories/{memory['id']}", json={"content": "two"})
    redacted = (await server.client.post(f"{newest}/redact")).json()
    assert {name: redacted[name] for name in ("content", "path", "content_sha256", "content_size_bytes")} == {
        "content": None, "path": None, "content_sha256": None, "content_size_bytes": None,
    }  # fmt: skip
    assert redacted["redacted_at"] and redacted["operation"] == "created" and redacted["redacted_by"] is None
    assert await get(server, newest) == redacted
    assert "one" not in (await server.client.get(f"{store}/memory_versions?view=full")).text


@pytest.fixture
async def scene(make_server: Callable[..., Awaitable[Server]]) -> Scene:
    """A worker whose session may write to one store and read another; a third is not its session's."""
    server = await make_server(api_key="operator")
    server.client.headers["x-api-key"] = "operator"
    mine = await environment_with_work(server, "mine")
    ids = dict(mine)
    resources: list[Json] = []
    for name, access in (("writes", "read_write"), ("reads", "read_only"), ("foreign", None)):
        store = await new_store(server, name=name)
        memory = await put(server, store)
        ids |= {name: store, f"{name}_memory": f"{store}/memories/{memory['id']}"}
        if access is not None:
            store_id = store.rpartition("/")[2]
            wire = {"type": "memory_store", "memory_store_id": store_id, "access": access}
            resources.append(stored_resource(wire))
    record = await server.store.sessions.get(SessionId(mine["sesn"]))
    lease = server.host._leases[record.partition]
    changed = replace(record, resources=tuple(resources))
    await server.store.log.append(Commit(lease, record.seq, changed))
    del server.client.headers["x-api-key"]
    return Scene(server, ids)


async def test_the_token_of_an_item_opens_the_memories_of_its_session(scene: Scene) -> None:
    for store in ("writes", "reads"):
        listed = await scene.ask("token", "GET", f"{{{store}}}/memories?view=full")
        assert listed.json()["data"][0]["content"] == "one"
        assert (await scene.ask("token", "GET", f"{{{store}_memory}}")).status_code == 200
    made = await scene.ask("token", "POST", "{writes}/memories", {"path": "/b", "content": ""})
    assert made.status_code == 200
    assert (await scene.ask("token", "POST", "{writes_memory}", {"content": "two"})).status_code == 200
    assert (await scene.ask("token", "DELETE", "{writes_memory}")).status_code == 200
    told = await scene.ask("operator", "GET", "{writes}/memory_versions?session_id={sesn}")
    assert [each["operation"] for each in told.json()["data"]] == ["deleted", "modified", "created"]
    assert told.json()["data"][0]["created_by"] == {"type": "session_actor", "session_id": scene.ids["sesn"]}


@pytest.mark.parametrize("credential", ["token", "key"])
async def test_a_worker_gets_at_nothing_else_of_memories(scene: Scene, credential: str) -> None:
    attempts = [
        ("POST", "{reads}/memories", {"path": "/b", "content": ""}),
        ("POST", "{reads_memory}", {"content": "two"}),
        ("DELETE", "{reads_memory}", None),
        ("GET", "{foreign}/memories", None),
        ("GET", "{foreign_memory}", None),
        ("DELETE", "{foreign_memory}", None),
        ("GET", "/v1/memory_stores", None),
        ("GET", "{writes}", None),
        ("POST", "{writes}", {"name": "x"}),
        ("DELETE", "{writes}", None),
        ("POST", "{writes}/archive", None),
        ("GET", "{writes}/memory_versions", None),
    ]
    if credential == "key":
        attempts += [("GET", "{writes}/memories", None), ("GET", "{writes_memory}", None)]
    for method, path, body in attempts:
        refusal(await scene.ask(credential, method, path, body), 403, "permission_error")
    # By way of a store that it has, it does not reach a memory of another.
    stray = scene.ids["writes"] + "/memories/" + scene.ids["foreign_memory"].rpartition("/")[2]
    assert (await scene.ask("token", "GET", stray)).status_code == 404
