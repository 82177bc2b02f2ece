"""Memory stores in sessions of self-hosted environments: the SDK's own worker mounts them (spec A.7, A.9, D.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from anthropic.lib.tools._memories import SessionMemoryStores

from tests.conformance.requirements import requirement
from tests.conformance.scene import bash, calls, says, text_of, toolset
from tests.conformance.worker_site import Site, results_of, site

__all__ = ["site"]


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the worker has what the API says is at /mnt: this machine's own /mnt is not the test's."""

    def place(self: SessionMemoryStores, resource: Any) -> Path:
        return tmp_path / resource.mount_path.lstrip("/")

    monkeypatch.setattr(SessionMemoryStores, "_store_root", place)
    return tmp_path / "mnt/memory"


@requirement("memory:session", "memory:worker")
async def test_the_sdks_worker_keeps_stores_and_directories_the_same(site: Site, mounted: Path) -> None:
    scene, stores = site.scene, site.scene.client.beta.memory_stores
    notes = await stores.create(name="User notes", description="What they like.")
    rules = await stores.create(name="Rules")
    one = await stores.memories.create(notes.id, path="/a.md", content="one")
    await stores.memories.create(notes.id, path="/gone.md", content="x")
    await stores.memories.create(rules.id, path="/must.md", content="obey")
    here = mounted / "user-notes"
    await scene.answers(
        calls(bash(f"cat {here}/a.md {mounted}/rules/must.md; echo two > {here}/a.md; mkdir {here}/d;"
                   f" echo new > {here}/d/b.md; rm {here}/gone.md; echo mine > {mounted}/rules/must.md")),
        says("done"),
    )  # fmt: skip
    resources = [
        {"type": "memory_store", "memory_store_id": notes.id},
        {"type": "memory_store", "memory_store_id": rules.id, "access": "read_only", "instructions": "Follow them."},
    ]
    session = await scene.session(toolset(), environment_id=site.id, resources=resources)
    shown = (await scene.retrieve(session))["resources"]
    assert [each["mount_path"] for each in shown] == ["/mnt/memory/user-notes", "/mnt/memory/rules"]
    assert (await scene.get(f"/v1/sessions/{session}/resources"))["data"] == shown
    assert (await scene.get("/v1/sessions", {"memory_store_id": rules.id}))["data"][0]["id"] == session
    async with site.serving():
        log = await site.turn(session)
        assert text_of(results_of(log)[0]).startswith("oneobey")
        await site.until("stopped")
    found = {each.path: each async for each in stores.memories.list(notes.id, view="full") if each.type == "memory"}
    assert {path: each.content for path, each in found.items()} == {"/a.md": "two\n", "/d/b.md": "new\n"}
    assert found["/a.md"].id == one.id
    async for version in stores.memory_versions.list(notes.id, memory_id=one.id, operation="modified"):
        assert version.created_by is not None and version.created_by.to_dict() == {
            "type": "session_actor", "session_id": session,
        }  # fmt: skip
    (must,) = [each async for each in stores.memories.list(rules.id, view="full")]
    assert must.type == "memory" and must.content == "obey"
