"""Files and their mounts, by the official SDK and through real sandboxes (spec A.7, A.10)."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types.beta import BetaFileMetadata

from tests.conformance.requirements import requirement
from tests.conformance.scene import Scene, bash, calls, ordered_results, says, text_of, toolset


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
