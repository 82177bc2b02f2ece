"""Files and their mounts, by the official SDK and through real sandboxes (spec A.7, A.10)."""

from __future__ import annotations

import base64
from typing import Any

import anthropic
import pytest
from anthropic.types.beta import BetaFileMetadata

from agents.files import outputs as files_outputs
from agents.files.records import OutputBounds
from tests.conformance.requirements import requirement
from tests.conformance.scene import CUSTOM, Json, Scene, bash, calls, of_type, ordered_results, says, text_of, toolset
from tests.conformance.test_sending import PNG


async def upload(scene: Scene, content: bytes = b"first line\n", name: str = "notes.txt") -> BetaFileMetadata:
    return await scene.client.beta.files.upload(file=(name, content, "text/plain"))


@requirement("files:upload")
async def test_the_sdk_uploads_finds_lists_and_deletes(scene: Scene) -> None:
    files = scene.client.beta.files
    made = [await upload(scene, name=f"{number}.txt") for number in range(3)]
    first = await files.retrieve_metadata(made[0].id)
    assert first == made[0]
    assert (first.filename, first.mime_type, first.size_bytes, first.downloadable) == ("0.txt", "text/plain", 11, False)
    assert first.scope is None and first.expires_at is None
    chosen = await files.list(ids=[made[2].id, made[0].id, "file_none"])
    assert {each.id for each in chosen.data} == {made[0].id, made[2].id} and chosen.next_page is None
    listed = [each.id async for each in files.list(limit=2)]
    assert [each for each in listed if each in {one.id for one in made}] == [each.id for each in reversed(made)]
    gone = await files.delete(made[1].id)
    assert (gone.id, gone.type) == (made[1].id, "file_deleted")
    with pytest.raises(anthropic.NotFoundError):
        await files.retrieve_metadata(made[1].id)


@requirement("files:expiry")
async def test_a_file_expires_when_it_is_asked_to(scene: Scene) -> None:
    made = await scene.client.beta.files.upload(file=("a", b"x"), expires_in_seconds=3600)
    assert made.expires_at is not None and (made.expires_at - made.created_at).total_seconds() == 3600
    for seconds in (3599, 7_776_001):
        with pytest.raises(anthropic.BadRequestError, match="expires_in_seconds"):
            await scene.client.beta.files.upload(file=("a", b"x"), expires_in_seconds=seconds)


@requirement("files:not-downloadable")
async def test_an_upload_is_not_downloaded(scene: Scene) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        await scene.client.beta.files.download((await upload(scene)).id)
    body = refused.value.body
    assert isinstance(body, dict) and body["error"]["details"]["error_code"] == "file_not_downloadable"


@requirement("files:strict")
async def test_a_form_with_a_fault_is_refused_by_name(scene: Scene) -> None:
    post = scene.http.post
    for parts, field in (
        ([("purpose", (None, "x")), ("file", ("a", b"x"))], "purpose"),
        ([("expires_in_seconds", (None, "soon")), ("file", ("a", b"x"))], "expires_in_seconds"),
        ([("expires_in_seconds", (None, "3600"))], "file"),
    ):
        answer = await post("/v1/files", files=parts)
        assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(f"{field}: "), answer.text
    assert (await post("/v1/files", json={})).status_code == 400


@requirement("files:mounts")
async def test_a_mounted_file_is_read_and_cannot_be_changed(scene: Scene) -> None:
    file = await upload(scene)
    await scene.answers(
        calls(bash("cat /mnt/session/uploads/data/notes.txt"), bash("echo x > /mnt/session/uploads/data/notes.txt")),
        says("done"),
    )
    resources = [{"type": "file", "file_id": file.id, "mount_path": "/data/notes.txt"}]
    session = await scene.session(toolset(), resources=resources)
    (mounted,) = (await scene.retrieve(session))["resources"]
    assert mounted["mount_path"] == "/mnt/session/uploads/data/notes.txt" and mounted["file_id"] != file.id
    scoped = [each async for each in scene.client.beta.files.list(scope_id=session)]
    assert [each.id for each in scoped] == [mounted["file_id"]]
    assert scoped[0].scope is not None and (scoped[0].scope.type, scoped[0].scope.id) == ("session", session)
    # The upload may go: the session has its own.
    await scene.client.beta.files.delete(file.id)
    read, written = ordered_results(await scene.turn(session))
    assert (text_of(read), read["is_error"], written["is_error"]) == ("first line", False, True)


@requirement("files:resources")
async def test_files_come_and_go_while_a_session_goes_on(scene: Scene) -> None:
    file, resources = await upload(scene), scene.client.beta.sessions.resources
    look = "find /mnt/session/uploads -type f"
    await scene.answers(
        calls(bash(look)), says("one"), calls(bash(look)), says("two"), calls(bash(look)), says("three")
    )
    session = await scene.session(toolset())
    assert "uploads/" not in text_of(ordered_results(await scene.turn(session))[0])
    added = await resources.add(session, type="file", file_id=file.id)
    assert added.mount_path == f"/mnt/session/uploads/{file.id}"
    assert text_of(ordered_results(await scene.turn(session))[0]) == added.mount_path
    assert [each async for each in resources.list(session)] == [added]
    assert await resources.retrieve(added.id, session_id=session) == added
    gone = await resources.delete(added.id, session_id=session)
    assert (gone.id, gone.type) == (added.id, "session_resource_deleted")
    assert "uploads/" not in text_of(ordered_results(await scene.turn(session))[0])
    with pytest.raises(anthropic.NotFoundError):
        await resources.retrieve(added.id, session_id=session)


async def outputs(scene: Scene, session: str) -> dict[str, BetaFileMetadata]:
    listed = [each async for each in scene.client.beta.files.list(scope_id=session)]
    return {each.filename: each for each in listed}


@requirement("files:outputs")
async def test_what_a_session_leaves_is_listed_and_downloaded(scene: Scene) -> None:
    files = scene.client.beta.files
    folder = "/mnt/session/outputs"
    await scene.answers(
        calls(bash(f"mkdir -p {folder}/charts && echo one > {folder}/report.txt && echo two > {folder}/charts/a.csv")),
        says("done"),
        calls(bash(f"echo more >> {folder}/report.txt")),
        says("done"),
    )
    session, other = await scene.session(toolset()), await scene.session(toolset())
    await scene.turn(session)
    first = await outputs(scene, session)
    assert set(first) == {"report.txt", "a.csv"} and await outputs(scene, other) == {}
    report = first["report.txt"]
    assert (report.mime_type, report.size_bytes, report.downloadable) == ("text/plain", 4, True)
    assert report.scope is not None and report.scope.id == session
    assert await (await files.download(report.id)).read() == b"one\n"
    assert await files.retrieve_metadata(report.id) == report
    await scene.turn(session)
    second = await outputs(scene, session)
    # What has changed is another file; what has not is the same.
    assert second["a.csv"] == first["a.csv"] and second["report.txt"].id != report.id
    assert await (await files.download(second["report.txt"].id)).read() == b"one\nmore\n"
    # An output is a file: another session reads it.
    await scene.answers(calls(bash("cat /mnt/session/uploads/x")), says("done"))
    resources = [{"type": "file", "file_id": second["report.txt"].id, "mount_path": "x"}]
    reader = await scene.session(toolset(), resources=resources)
    assert text_of(ordered_results(await scene.turn(reader))[0]) == "one\nmore"
    await scene.client.beta.sessions.delete(session)
    assert await outputs(scene, session) == {}


@requirement("files:outputs")
async def test_outputs_that_a_session_has_removed_count_among_its_outputs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_outputs, "_MOST", OutputBounds(2, 1000))
    commands = ["echo 1 > a; echo 2 > b", "rm a b; echo 3 > c; echo 4 > b"]
    for command in commands:
        await scene.answers(calls(bash(f"cd /mnt/session/outputs && {command}")), says("done"))
    session = await scene.session(toolset())
    await scene.turn(session)
    await scene.turn(session)
    found = await outputs(scene, session)
    assert set(found) == {"a", "b"}
    assert await (await scene.client.beta.files.download(found["b"].id)).read() == b"4\n"


@requirement("files:ranges")
async def test_a_range_of_an_output_is_downloaded(scene: Scene) -> None:
    await scene.answers(calls(bash("printf 0123456789 > /mnt/session/outputs/digits")), says("done"))
    session = await scene.session(toolset())
    await scene.turn(session)
    url = f"/v1/files/{(await outputs(scene, session))['digits'].id}/content"
    whole = await scene.http.get(url)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, b"0123456789", "bytes")
    etag = whole.headers["etag"]
    for asked, body, said in (
        ({"range": "bytes=2-4"}, b"234", "bytes 2-4/10"),
        ({"range": "bytes=7-"}, b"789", "bytes 7-9/10"),
        ({"range": "bytes=-3"}, b"789", "bytes 7-9/10"),
        ({"range": "bytes=8-99", "if-range": etag}, b"89", "bytes 8-9/10"),
    ):
        part = await scene.http.get(url, headers=asked)
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, body, said)
        assert part.headers["content-length"] == str(len(body))
    # Another ETag, a unit or several ranges that this server does not know: all of it.
    for asked in ({"range": "bytes=2-4", "if-range": '"other"'}, {"range": "lines=1-2"}, {"range": "bytes=0-1,4-5"}):
        part = await scene.http.get(url, headers=asked)
        assert (part.status_code, part.content) == (200, b"0123456789")
    beyond = await scene.http.get(url, headers={"range": "bytes=10-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */10")


PDF = b"%PDF-1.4\n%%EOF\n"


def from_file(kind: str, file_id: str, **more: Any) -> Json:
    return {"type": kind, "source": {"type": "file", "file_id": file_id}, **more}


def sources(content: list[Json]) -> list[Json]:
    return [block["source"] for block in content if block["type"] in ("image", "document")]


@requirement("files:blocks")
async def test_images_and_documents_from_files_reach_the_model(scene: Scene) -> None:
    files = scene.client.beta.files
    image = await files.upload(file=("dot.png", base64.b64decode(PNG), "image/png"))
    paper = await files.upload(file=("paper.pdf", PDF, "application/pdf"))
    notes = await upload(scene, b"plain words")
    await scene.answers(calls(("weather", {"city": "Bonn"})), says("seen"), says("gone"))
    session = await scene.session(CUSTOM)
    content = [
        {"type": "text", "text": "look"},
        from_file("image", image.id),
        from_file("document", paper.id),
        from_file("document", notes.id, title="Notes", context="mine"),
    ]
    log = await scene.turn(session, {"type": "user.message", "content": content})
    stored = sources(of_type(log, "user.message")[0]["content"])
    assert stored == [{"type": "file", "file_id": each.id} for each in (image, paper, notes)]
    (call,) = of_type(log, "agent.custom_tool_use")
    answer = {"type": "user.custom_tool_result", "custom_tool_use_id": call["id"]}
    await scene.turn(session, {**answer, "content": [from_file("image", image.id)]})
    picture = {"type": "base64", "media_type": "image/png", "data": PNG}
    shown = (await scene.shown(2))[1]["messages"]
    assert sources(shown[0]["content"]) == [
        picture,
        {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()},
        {"type": "text", "media_type": "text/plain", "data": "plain words"},
    ]
    document = shown[0]["content"][3]
    assert (document["title"], document["context"]) == ("Notes", "mine")
    assert sources(shown[2]["content"][0]["content"]) == [picture]
    # The conversation goes on also when one of them is deleted.
    await files.delete(paper.id)
    await scene.turn(session, {"type": "user.message", "content": [{"type": "text", "text": "and now?"}]})
    assert len(await scene.shown(3)) == 3


@requirement("files:blocks:refused")
async def test_a_block_with_a_file_that_it_cannot_have_is_refused_by_name(scene: Scene) -> None:
    notes, folder = await upload(scene), "/mnt/session/outputs"
    await scene.answers(calls(bash(f"echo x > {folder}/mine.txt")), says("done"), says("read"))
    session, other = await scene.session(toolset()), await scene.session(toolset())
    await scene.turn(session)
    mine = (await outputs(scene, session))["mine.txt"].id

    def event(*blocks: Json) -> Json:
        return {"type": "user.message", "content": list(blocks)}

    where = "events[0].content[0].source.file_id"
    for refused in (from_file("document", "file_none"), from_file("document", mine)):
        assert where in (await scene.refused(other, event(refused), status=404))["message"]
    assert where in (await scene.refused(other, event(from_file("image", notes.id))))["message"]
    many = [from_file("document", notes.id)] * 101
    assert "100" in (await scene.refused(other, event(*many)))["message"]
    found = await scene.retrieve(other)
    body = {
        "agent": found["agent"]["id"],
        "environment_id": found["environment_id"],
        "initial_events": [event(from_file("document", mine))],
    }
    created = await scene.http.post("/v1/sessions", json=body)
    assert created.status_code == 404 and "initial_events[0].content[0]" in created.json()["error"]["message"]
    assert await scene.log(other) == []
    # The session's own it may.
    await scene.turn(session, event(from_file("document", mine)))
