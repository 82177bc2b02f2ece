"""``/v1/files`` (spec A.10) and files mounted for sessions (A.7), over the HTTP edge."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from anthropic.types.beta import BetaFileMetadata
from anthropic.types.beta.sessions import BetaManagedAgentsFileResource
from api_fakes import Server, refusal

from agents.clock import SystemClock
from agents.files.records import OutputBounds
from agents.files.service import open_files
from agents.hands.checkpoint_store import LocalStore, StoreUnavailable

Json = dict[str, Any]


async def upload(server: Server, content: bytes = b"hello", name: str = "a.txt", **fields: Any) -> Json:
    answer = await server.client.post("/v1/files", files={"file": (name, content, "text/plain")}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def output(server: Server, session_id: str, content: bytes = b"0123456789") -> Json:
    """A file that a session has made."""

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    files, path, most = server.platform.files, "dir/r\u00e9sum\u00e9.txt", OutputBounds(100, 10**6)
    return (await files.add_output(chunks(), len(content), session_id, path, "default", most)).wire()


def stored(server: Server) -> list[str]:
    root = server.platform.settings.data_dir / "files"
    return sorted(name for _, _, names in os.walk(root) for name in names)


async def test_an_upload_is_described_and_found_again(server: Server) -> None:
    made = await upload(server)
    BetaFileMetadata.model_validate(made)
    assert made.keys() == BetaFileMetadata.model_fields.keys()
    told = {"type": "file", "filename": "a.txt", "mime_type": "text/plain", "size_bytes": 5, "downloadable": False}
    assert told.items() <= made.items() and made["expires_at"] is None and made["scope"] is None
    assert made["id"].startswith("file_")
    assert (await server.client.get(f"/v1/files/{made['id']}")).json() == made
    gone = await server.client.delete(f"/v1/files/{made['id']}")
    assert gone.json() == {"id": made["id"], "type": "file_deleted"}
    for call in (server.client.get, server.client.delete):
        refusal(await call(f"/v1/files/{made['id']}"), 404, "not_found_error")


async def test_two_uploads_of_the_same_bytes_are_two_files_and_one_blob(server: Server) -> None:
    one, two = await upload(server), await upload(server, name="b.txt")
    assert one["id"] != two["id"] and len(stored(server)) == 1


@pytest.mark.parametrize("first", ["file", "field"])
async def test_a_field_may_stand_before_the_file_and_behind_it(server: Server, first: str) -> None:
    parts: list[Any] = [("file", ("a", b"x")), ("expires_in_seconds", (None, "3600"))]
    answer = await server.client.post("/v1/files", files=parts if first == "file" else parts[::-1])
    assert answer.status_code == 200, answer.text
    assert answer.json()["expires_at"] > answer.json()["created_at"]


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ([("expires_in_seconds", (None, "3600"))], "file: required"),
        ([("file", ("a", b"x")), ("file", ("b", b"x"))], "file: may be given once"),
        ([("file", ("a", b"x")), ("purpose", (None, "x"))], "purpose: unknown field"),
        ([("file", ("a", b"x")), ("expires_in_seconds", (None, "soon"))], "expires_in_seconds: "),
        ([("file", ("a", b"x")), ("expires_in_seconds", (None, "60"))], "expires_in_seconds: "),
        ([("file", ("a", b"x", "nonsense"))], "file: its content-type"),
    ],
)
async def test_a_form_with_a_fault_is_refused_by_name_and_leaves_nothing(
    server: Server, parts: list[Any], fault: str
) -> None:
    assert refusal(await server.client.post("/v1/files", files=parts), 400).startswith(fault)
    assert stored(server) == []


async def test_what_is_too_large_is_refused_whether_it_says_so_or_not(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(files={"max_bytes": 1000, "workspace_bytes": 1500})
    too_much = os.urandom(2 * 1024 * 1024)
    refusal(await server.client.post("/v1/files", files={"file": ("a", too_much)}), 413, "request_too_large")
    refusal(await server.client.post("/v1/files", files={"file": ("a", b"x" * 1001)}), 413, "request_too_large")
    assert stored(server) == []
    await upload(server, b"x" * 1000)
    full = await server.client.post("/v1/files", files={"file": ("a", b"y" * 501)})
    refusal(full, 403, "permission_error")
    assert full.json()["error"]["details"]["error_code"] == "storage_quota_exceeded"


async def test_a_file_may_be_larger_than_any_other_body(make_server: Callable[..., Awaitable[Server]]) -> None:
    server = await make_server(gateway={"max_body_bytes": 100_000})
    assert (await upload(server, os.urandom(3_000_000)))["size_bytes"] == 3_000_000
    too_large = await server.client.post("/v1/agents", content=b"x" * 100_001)
    refusal(too_large, 413, "request_too_large")


async def test_listings_have_pages_ids_and_scopes(server: Server) -> None:
    made = [(await upload(server, name=f"{n}.txt"))["id"] for n in range(3)]
    first = (await server.client.get("/v1/files", params={"limit": 2})).json()
    assert [each["id"] for each in first["data"]] == made[:0:-1]
    rest = (await server.client.get("/v1/files", params={"limit": 2, "page": first["next_page"]})).json()
    assert [each["id"] for each in rest["data"]] == made[:1] and rest["next_page"] is None
    chosen = await server.client.get("/v1/files", params={"ids[]": [made[1], "file_x", made[1]]})
    assert [each["id"] for each in chosen.json()["data"]] == [made[1]]
    session = await server.session()
    result = await output(server, session["id"])
    scoped = (await server.client.get("/v1/files", params={"scope_id": session["id"]})).json()
    assert scoped == {"data": [result], "next_page": None}
    assert result["scope"] == {"type": "session", "id": session["id"]} and result["downloadable"] is True
    for params in ({"ids[]": ["a"], "limit": 1}, {"limit": 1001}, {"ids[]": [str(n) for n in range(101)]}):
        refusal(await server.client.get("/v1/files", params=params), 400)


async def test_bytes_that_are_gone_or_away_are_an_error_and_no_download_that_breaks_off(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await output(server, (await server.session())["id"])
    path = f"/v1/files/{result['id']}/content"

    def away(*_: Any) -> bytes:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "read", away)
        assert (await server.client.get(path)).status_code == 503
    (digest,) = stored(server)
    await server.platform.files.blobs.delete(digest)
    refusal(await server.client.get(path), 404, "not_found_error")


FORM = {"content-type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nbytes'


async def test_so_many_are_uploaded_at_a_time(make_server: Callable[..., Awaitable[Server]]) -> None:
    server = await make_server(files={"max_uploads": 1})
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield HEAD
        begun.set()
        await go_on.wait()
        yield b"\r\n--x--\r\n"

    first = asyncio.create_task(server.client.post("/v1/files", content=body(), headers=FORM))
    async with asyncio.timeout(20):
        await begun.wait()
    second = await server.client.post("/v1/files", files={"file": ("b", b"x")})
    assert (second.status_code, "retry-after" in second.headers) == (529, True)
    go_on.set()
    assert (await first).status_code == 200
    await upload(server)


async def test_an_upload_that_takes_too_long_is_refused_and_leaves_nothing(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(files={"upload_seconds": 0.1})

    async def body() -> AsyncIterator[bytes]:
        yield HEAD
        await asyncio.Event().wait()

    assert (await server.client.post("/v1/files", content=body(), headers=FORM)).status_code == 408
    assert stored(server) == []


async def test_what_a_session_made_is_downloaded_whole_or_in_part(server: Server) -> None:
    result = await output(server, (await server.session())["id"])
    path = f"/v1/files/{result['id']}/content"
    whole = await server.client.get(path)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["content-length"] == "10" and whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''r%C3%A9sum%C3%A9.txt"
    part = await server.client.get(path, headers={"range": "bytes=2-4", "if-range": whole.headers["etag"]})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    refusal(await server.client.get(path, headers={"range": "bytes=10-"}), 416)


async def test_an_upload_is_not_downloaded(server: Server) -> None:
    answer = await server.client.get(f"/v1/files/{(await upload(server))['id']}/content")
    refusal(answer, 400)
    assert answer.json()["error"]["details"]["error_code"] == "file_not_downloadable"


async def test_a_mounted_file_is_a_file_of_its_own(server: Server) -> None:
    file = await upload(server)
    given = {"type": "file", "file_id": file["id"]}
    session = await server.session(resources=[given, {**given, "mount_path": "/data/a.txt"}])
    first, second = session["resources"]
    BetaManagedAgentsFileResource.model_validate(first)
    assert first.keys() == BetaManagedAgentsFileResource.model_fields.keys()
    assert first["mount_path"] == f"/mnt/session/uploads/{file['id']}"
    assert second["mount_path"] == "/mnt/session/uploads/data/a.txt"
    assert len({first["file_id"], second["file_id"], file["id"]}) == 3
    copy = (await server.client.get(f"/v1/files/{first['file_id']}")).json()
    assert copy["scope"] == {"type": "session", "id": session["id"]} and copy["filename"] == "a.txt"
    await server.client.delete(f"/v1/files/{file['id']}")
    assert (await server.client.get(f"/v1/files/{first['file_id']}")).status_code == 200
    await server.client.delete(f"/v1/sessions/{session['id']}")
    refusal(await server.client.get(f"/v1/files/{first['file_id']}"), 404, "not_found_error")


async def test_resources_come_and_go(server: Server) -> None:
    file, session = await upload(server), await server.session()
    path = f"/v1/sessions/{session['id']}/resources"
    made = []
    for name in ("a", "b", "c"):
        body = {"type": "file", "file_id": file["id"], "mount_path": name}
        made.append((await server.client.post(path, json=body)).json())
    assert (await server.client.get(path)).json() == {"data": made, "next_page": None}
    page = (await server.client.get(path, params={"limit": 2})).json()
    assert page["data"] == made[:2]
    rest = await server.client.get(path, params={"limit": 2, "page": page["next_page"]})
    assert rest.json() == {"data": made[2:], "next_page": None}
    one = f"{path}/{made[1]['id']}"
    assert (await server.client.get(one)).json() == made[1]
    assert (await server.client.get(f"/v1/sessions/{session['id']}")).json()["resources"] == made
    assert "only resources of type" in refusal(await server.client.post(one, json={"authorization_token": "t"}), 400)
    gone = await server.client.delete(one)
    assert gone.json() == {"id": made[1]["id"], "type": "session_resource_deleted"}
    refusal(await server.client.get(one), 404, "not_found_error")
    refusal(await server.client.delete(one), 404, "not_found_error")
    refusal(await server.client.get(f"/v1/files/{made[1]['file_id']}"), 404, "not_found_error")


async def test_a_resource_that_cannot_be_attached_leaves_nothing(server: Server) -> None:
    file, agent, environment = await upload(server), await server.agent(), await server.environment()
    given = {"type": "file", "file_id": file["id"]}
    body: Json = {"agent": agent["id"], "environment_id": environment["id"]}
    absent = {"resources": [given, {"type": "file", "file_id": "file_x"}]}
    fault = refusal(await server.client.post("/v1/sessions", json=body | absent), 404, "not_found_error")
    assert fault.startswith("resources[1].file_id: ")
    refusal(await server.client.post("/v1/sessions", json=body | {"resources": [given, given]}), 400)
    assert [each["id"] for each in (await server.client.get("/v1/files")).json()["data"]] == [file["id"]]
    assert (await server.client.get("/v1/sessions")).json()["data"] == []


async def test_what_has_expired_is_neither_mounted_nor_downloaded(server: Server) -> None:
    file = await upload(server, expires_in_seconds="3600")
    session = await server.session(resources=[{"type": "file", "file_id": file["id"]}])
    await server.store.files.expire(SystemClock().now() + timedelta(hours=2))
    body = {"type": "file", "file_id": file["id"], "mount_path": "/again"}
    answer = await server.client.post(f"/v1/sessions/{session['id']}/resources", json=body)
    refusal(answer, 404, "not_found_error")
    assert answer.json()["error"]["details"]["error_code"] == "file_expired"
    assert (await server.client.get(f"/v1/files/{file['id']}")).json()["expires_at"] == file["expires_at"]


async def test_a_sweep_removes_what_nobody_has(server: Server) -> None:
    kept, lost = await upload(server, b"kept"), await upload(server, b"lost")
    await server.client.delete(f"/v1/files/{lost['id']}")

    class Later(SystemClock):
        def now(self) -> Any:
            return super().now() + timedelta(hours=2)

    files = open_files(server.platform.settings, server.store, Later())
    await files.sweep()
    assert len(stored(server)) == 1
    assert await files.whole(await server.store.files.get(kept["id"])) == b"kept"
