"""Memory stores in sandboxes of this platform: directories that are kept the same as their stores (spec A.7, C.5)."""

from __future__ import annotations

from tests.conformance.requirements import requirement
from tests.conformance.scene import Json, Scene, bash, calls, ordered_results, says, text_of, toolset

HERE = "/mnt/memory/user-notes"


def attached(store: str, **more: str) -> Json:
    return {"type": "memory_store", "memory_store_id": store, **more}


@requirement("memory:mounts", "memory:session")
async def test_a_session_reads_what_the_api_writes_and_the_api_what_the_session_writes(scene: Scene) -> None:
    stores = scene.client.beta.memory_stores
    notes = await stores.create(name="User notes", description="What they like.")
    first = await stores.memories.create(notes.id, path="/a.md", content="one\n")
    await stores.memories.create(notes.id, path="/gone.md", content="x")
    await scene.answers(
        calls(bash(f"cat {HERE}/a.md && rm {HERE}/gone.md")),
        calls(("write", {"file_path": f"{HERE}/d/new.md", "content": "by the agent\n"})),
        says("one"),
        calls(bash(f"cat {HERE}/a.md; echo mine > {HERE}/mine.md")),
        says("two"),
    )
    session = await scene.session(toolset(), resources=[attached(notes.id)])
    results = ordered_results(await scene.turn(session))
    assert text_of(results[0]) == "one" and not results[1]["is_error"]
    found = {each.path: each async for each in stores.memories.list(notes.id, view="full") if each.type == "memory"}
    assert {path: each.content for path, each in found.items()} == {"/a.md": "one\n", "/d/new.md": "by the agent\n"}
    made = [each async for each in stores.memory_versions.list(notes.id, memory_id=found["/d/new.md"].id)]
    assert [each.created_by and each.created_by.to_dict() for each in made] == [
        {"type": "session_actor", "session_id": session}
    ]
    by_session = stores.memory_versions.list(notes.id, session_id=session)
    assert {each.operation async for each in by_session} == {"created", "deleted"}
    await stores.memories.update(first.id, memory_store_id=notes.id, content="two\n")
    assert text_of(ordered_results(await scene.turn(session))[0]) == "two"
    listed = {each.path async for each in stores.memories.list(notes.id) if each.type == "memory"}
    assert listed == {"/a.md", "/d/new.md", "/mine.md"}
    (found_by_store,) = (await scene.get("/v1/sessions", {"memory_store_id": notes.id}))["data"]
    assert found_by_store["id"] == session


@requirement("memory:mounts")
async def test_a_store_that_is_read_only_is_read_and_takes_nothing(scene: Scene) -> None:
    stores = scene.client.beta.memory_stores
    rules = await stores.create(name="User notes")
    await stores.memories.create(rules.id, path="/d/must.md", content="obey\n")
    await scene.answers(
        calls(
            bash(f"cat {HERE}/d/must.md"),
            bash(f"echo no > {HERE}/d/must.md"),
            bash(f"rm -rf {HERE}/d"),
            ("write", {"file_path": f"{HERE}/new.md", "content": "x"}),
            ("edit", {"file_path": f"{HERE}/d/must.md", "old_string": "obey", "new_string": "do not"}),
        ),
        says("done"),
    )
    session = await scene.session(toolset(), resources=[attached(rules.id, access="read_only")])
    results = ordered_results(await scene.turn(session))
    assert text_of(results[0]) == "obey"
    assert [each["is_error"] for each in results] == [False, True, True, True, True]
    (must,) = [each async for each in stores.memories.list(rules.id, view="full", depth=0)]
    assert must.type == "memory" and must.content == "obey\n"


@requirement("memory:mounts")
async def test_the_model_is_told_of_what_memory_does_not_take(scene: Scene) -> None:
    store = await scene.client.beta.memory_stores.create(name="User notes")
    await scene.answers(calls(bash(f"head -c 200000 /dev/zero > {HERE}/large.md")), calls(bash("true")), says("done"))
    session = await scene.session(toolset(), resources=[attached(store.id)])
    first, second = ordered_results(await scene.turn(session))
    assert f"{HERE}/large.md" in text_of(first) and "large.md" not in text_of(second)
