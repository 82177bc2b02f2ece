"""``/v1/memory_stores``, memories and their versions (spec A.9), with the official SDK."""

from __future__ import annotations

import hashlib
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.conformance.requirements import requirement

NOTE = "Prefers short answers.\n"


@pytest.fixture
def store(client: Anthropic) -> str:
    return client.beta.memory_stores.create(name="User notes", metadata={"user": "1"}).id


def details(caught: pytest.ExceptionInfo[anthropic.APIStatusError]) -> dict[str, Any]:
    body: Any = caught.value.body
    return body["error"]


@requirement("memory:life")
def test_a_store_lives_and_ends(client: Anthropic, store: str) -> None:
    stores = client.beta.memory_stores
    made = stores.retrieve(store)
    assert (made.name, made.description, made.metadata, made.archived_at) == ("User notes", "", {"user": "1"}, None)
    changed = stores.update(store, metadata={"user": None, "plan": "x"}, description="What they like.")
    assert (changed.name, changed.description, changed.metadata) == ("User notes", "What they like.", {"plan": "x"})
    assert changed.updated_at > made.updated_at and changed.created_at == made.created_at
    client.beta.memory_stores.memories.create(store, path="/a", content="")
    assert stores.delete(store).to_dict() == {"id": store, "type": "memory_store_deleted"}
    for call in (stores.retrieve, stores.memories.list, stores.memory_versions.list):
        with pytest.raises(anthropic.NotFoundError):
            call(store)


@requirement("memory:list")
def test_stores_are_listed_in_pages(client: Anthropic) -> None:
    stores = client.beta.memory_stores
    made = [stores.create(name=f"s{n}") for n in range(3)]
    ids = [each.id for each in made]
    stores.archive(ids[1])
    since = made[0].created_at
    assert [each.id for each in stores.list(limit=1, created_at_gte=since)] == [ids[2], ids[0]]
    assert [each.id for each in stores.list(created_at_gte=since, include_archived=True)] == ids[::-1]
    assert ids[2] not in [each.id for each in stores.list(created_at_lte=made[1].created_at, limit=100)]
    with pytest.raises(anthropic.BadRequestError):
        stores.list(limit=101)


@requirement("memory:archived")
def test_an_archived_store_takes_no_changes(client: Anthropic, store: str) -> None:
    stores, memories = client.beta.memory_stores, client.beta.memory_stores.memories
    kept = memories.create(store, path="/a", content="one")
    archived = stores.archive(store)
    assert archived.archived_at and stores.archive(store).archived_at == archived.archived_at
    with pytest.raises(anthropic.BadRequestError):
        stores.update(store, name="x")
    with pytest.raises(anthropic.BadRequestError):
        memories.create(store, path="/b", content="")
    with pytest.raises(anthropic.BadRequestError):
        memories.update(kept.id, memory_store_id=store, content="two")
    assert memories.retrieve(kept.id, memory_store_id=store).content == "one"
    memories.delete(kept.id, memory_store_id=store)
    client.beta.memory_stores.memory_versions.redact(kept.memory_version_id, memory_store_id=store)


@requirement("memory:texts")
def test_a_memory_is_written_read_renamed_and_deleted(client: Anthropic, store: str) -> None:
    memories = client.beta.memory_stores.memories
    made = memories.create(store, path="/style.md", content=NOTE)
    assert (made.content, made.content_size_bytes) == (None, len(NOTE))
    assert made.content_sha256 == hashlib.sha256(NOTE.encode()).hexdigest()
    assert memories.create(store, path="/empty", content="", view="full").content == ""
    assert memories.retrieve(made.id, memory_store_id=store).content == NOTE
    assert memories.retrieve(made.id, memory_store_id=store, view="basic").content is None
    renamed = memories.update(made.id, memory_store_id=store, path="/notes/style.md")
    assert (renamed.id, renamed.path, renamed.content_sha256) == (made.id, "/notes/style.md", made.content_sha256)
    changed = memories.update(made.id, memory_store_id=store, content="é", view="full")
    assert (changed.content, changed.content_size_bytes, changed.path) == ("é", 2, "/notes/style.md")
    assert memories.update(made.id, memory_store_id=store, content="é").memory_version_id == changed.memory_version_id
    assert memories.delete(made.id, memory_store_id=store).to_dict() == {"id": made.id, "type": "memory_deleted"}
    with pytest.raises(anthropic.NotFoundError):
        memories.retrieve(made.id, memory_store_id=store)


@requirement("memory:texts:limits")
@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("path", {"path": "a", "content": ""}),
        ("path", {"path": "/a//b", "content": ""}),
        ("path", {"path": "/a/../b", "content": ""}),
        ("path", {"path": "/e\u0301", "content": ""}),
        ("path", {"path": "/" + "x" * 1024, "content": ""}),
        ("path", {"path": "/" + "/".join("x" * 21), "content": ""}),
        ("content", {"path": "/a", "content": "é" * 51_201}),
    ],
)
def test_what_breaks_a_limit_is_refused_by_name(
    http: httpx.Client, store: str, field: str, body: dict[str, str]
) -> None:
    answer = http.post(f"/v1/memory_stores/{store}/memories", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(f"{field}: ")


@requirement("memory:texts:conflict")
def test_a_path_is_taken_by_what_is_at_it_above_it_and_below_it(client: Anthropic, store: str) -> None:
    memories = client.beta.memory_stores.memories
    first = memories.create(store, path="/a/b", content="")
    other = memories.create(store, path="/z", content="")
    for path in ("/a/b", "/a", "/a/b/c"):
        with pytest.raises(anthropic.ConflictError) as caught:
            memories.create(store, path=path, content="")
        told = details(caught)
        assert (told["type"], told["conflicting_memory_id"]) == ("memory_path_conflict_error", first.id)
        with pytest.raises(anthropic.ConflictError):
            memories.update(other.id, memory_store_id=store, path=path)
    assert memories.create(store, path="/A/b", content="").path == "/A/b"


@requirement("memory:texts:preconditions")
def test_what_was_expected_must_be_so(client: Anthropic, store: str) -> None:
    memories = client.beta.memory_stores.memories
    made = memories.create(store, path="/a", content="one")
    stale, right = "0" * 64, made.content_sha256
    with pytest.raises(anthropic.ConflictError) as caught:
        memories.update(
            made.id, memory_store_id=store, content="two",
            precondition={"type": "content_sha256", "content_sha256": stale},
        )  # fmt: skip
    assert details(caught)["type"] == "memory_precondition_failed_error"
    with pytest.raises(anthropic.ConflictError) as caught:
        memories.delete(made.id, memory_store_id=store, expected_content_sha256=stale)
    assert details(caught)["type"] == "memory_precondition_failed_error"
    changed = memories.update(
        made.id, memory_store_id=store, content="two", precondition={"type": "content_sha256", "content_sha256": right}
    )
    memories.delete(made.id, memory_store_id=store, expected_content_sha256=changed.content_sha256)


@requirement("memory:texts:list")
def test_memories_are_listed_by_path_and_by_directory(client: Anthropic, http: httpx.Client, store: str) -> None:
    memories = client.beta.memory_stores.memories
    every = ["/a.md", "/a/1", "/a/b/2", "/b", *(f"/c/{n:02}" for n in range(20))]
    for path in reversed(every):
        memories.create(store, path=path, content=path)
    assert [each.path for each in memories.list(store, limit=3)] == every
    assert [each.path for each in memories.list(store, path_prefix="/a/")] == every[1:3]
    rolled = [(each.type, each.path) for each in memories.list(store, depth=1, limit=2)]
    assert rolled == [
        ("memory", "/a.md"), ("memory_prefix", "/a/"), ("memory", "/b"), ("memory_prefix", "/c/"),
    ]  # fmt: skip
    page = memories.list(store, view="full", limit=100)
    assert len(page.data) == 20 and all(each.type == "memory" and each.content == each.path for each in page.data)
    assert [each.path for each in memories.list(store, view="full")] == every
    for query in ({"depth": 2}, {"path_prefix": "/a"}, {"limit": 101}):
        assert http.get(f"/v1/memory_stores/{store}/memories", params=query).status_code == 400


@requirement("memory:versions")
def test_each_change_leaves_a_version(client: Anthropic, store: str) -> None:
    memories, versions = client.beta.memory_stores.memories, client.beta.memory_stores.memory_versions
    made = memories.create(store, path="/a", content="one")
    memories.create(store, path="/other", content="")
    memories.update(made.id, memory_store_id=store, content="two", path="/b")
    memories.delete(made.id, memory_store_id=store)
    found = list(versions.list(store, memory_id=made.id, view="full", limit=1))
    told = [(each.operation, each.path, each.content) for each in found]
    assert told == [("deleted", "/b", None), ("modified", "/b", "two"), ("created", "/a", "one")]
    author = found[0].created_by
    assert author is not None and author.type == "api_actor"
    assert len(list(versions.list(store, api_key_id=author.api_key_id))) == 4
    assert len(list(versions.list(store, operation="created"))) == 2
    assert list(versions.list(store, session_id="sesn_none")) == []
    assert next(iter(versions.list(store, created_at_gte=found[0].created_at, memory_id=made.id))).id == found[0].id
    assert versions.retrieve(made.memory_version_id, memory_store_id=store).content == "one"


@requirement("memory:redaction")
def test_redaction_leaves_who_and_when(client: Anthropic, store: str) -> None:
    memories, versions = client.beta.memory_stores.memories, client.beta.memory_stores.memory_versions
    made = memories.create(store, path="/a", content="secret")
    with pytest.raises(anthropic.BadRequestError):
        versions.redact(made.memory_version_id, memory_store_id=store)
    memories.update(made.id, memory_store_id=store, content="two")
    redacted = versions.redact(made.memory_version_id, memory_store_id=store)
    assert (redacted.content, redacted.path, redacted.content_sha256) == (None, None, None)
    assert redacted.redacted_at and redacted.redacted_by == redacted.created_by
    assert versions.retrieve(made.memory_version_id, memory_store_id=store) == redacted
