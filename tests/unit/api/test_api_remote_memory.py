"""Memory stores of another server, as a worker's sandbox hosts see them: the API stands between mirror and store.

Bug class this catches: a change of somebody else that is written over because the API's conflict was not understood, a
store that is taken for empty or deleted because its server is away, a path of a server's that leads somewhere else.
"""

from __future__ import annotations

from collections import Counter

import httpx2
import pytest
from anthropic import AsyncAnthropic
from api_fakes import Server

from agents.clock import ManualClock
from agents.errors import InvalidRequest, MemoryPathConflict, MemoryPreconditionFailed, NotFound, Unavailable
from agents.memory import rules
from agents.memory.mirror import Base, MemoryMirror, SyncPass
from agents.memory.records import Change, MemoryEdit, MemoryListing, MemoryRecord
from agents.workers.remote_memory import RemoteMemory, RemoteStores
from tests.unit.memory.test_mirror import Files

NOW = ManualClock().now()
CHANGE = Change("memver_here", None, NOW)


class Line(httpx2.AsyncBaseTransport):
    """The way to the server."""

    def __init__(self, server: Server) -> None:
        self._to = httpx2.ASGITransport(server.app)
        self.asked: Counter[str] = Counter()
        self.fault: int | None = None
        self.lose = False
        """Whether answers to what writes get lost."""
        self.says: str | None = None
        """What the server lists instead of the paths that it has."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        last = request.url.path.rpartition("/")[2]
        self.asked[f"{request.method} {'one' if last.startswith('mem_') else last}"] += 1
        if self.fault is not None:
            return httpx2.Response(self.fault, json={"error": {"type": "some_error", "message": "told to fail"}})
        answer = await self._to.handle_async_request(request)
        if self.lose and request.method == "POST":
            raise httpx2.ReadError("the answer is lost")
        if self.says is not None:
            content = (await answer.aread()).replace(b'"path":"/a"', b'"path":"' + self.says.encode() + b'"')
            return httpx2.Response(answer.status_code, content=content)
        return answer


class Scene:
    def __init__(self, line: Line, client: AsyncAnthropic, store: str) -> None:
        self.line, self.store = line, store
        self.api = client.beta.memory_stores.memories
        self.client, self.files, self.base = client, Files(), Base()

    @property
    def memory(self) -> RemoteMemory:
        return RemoteMemory(self.client)

    async def write(self, path: str, content: str) -> MemoryRecord:
        await self.api.create(self.store, path=path, content=content)
        found = await self.memory.memories(self.store, MemoryListing(limit=500))
        return next(each for each in found if each.path == path)

    async def sync(self) -> SyncPass:
        """Make a pass, as a host does for every call."""
        mirror = MemoryMirror(self.memory, ManualClock())
        return await mirror.synchronize(self.store, "env_1.sesn_1", self.files, self.base, read_only=False)

    async def stored(self) -> dict[str, str | None]:
        found = self.api.list(self.store, view="full")
        return {each.path: each.content async for each in found if each.type == "memory"}


@pytest.fixture
async def scene(server: Server) -> Scene:
    line = Line(server)
    http = httpx2.AsyncClient(transport=line)
    client = AsyncAnthropic(api_key="k", base_url="http://test", http_client=http, max_retries=0)
    return Scene(line, client, (await client.beta.memory_stores.create(name="Notes")).id)


async def test_changes_of_both_sides_meet_and_stay(scene: Scene) -> None:
    one = await scene.write("/a", "one")
    await scene.write("/b", "two")
    await scene.sync()
    assert scene.files.files == {"/a": "one", "/b": "two"}
    scene.files.files |= {"/a": "mine", "/new/c": "three"}
    del scene.files.files["/b"]
    done = await scene.sync()
    assert (done.lost, done.refused, done.failed) == ((), {}, None)
    assert scene.files.files == await scene.stored() == {"/a": "mine", "/new/c": "three"}
    await scene.api.update(one.id, memory_store_id=scene.store, content="theirs")
    scene.files.files["/a"] = "mine again"
    assert (await scene.sync()).lost == ("/a",)
    assert scene.files.files["/a"] == "theirs"


async def test_a_large_store_is_fetched_by_pages(scene: Scene) -> None:
    for number in range(105):
        await scene.api.create(scene.store, path=f"/n{number}", content=str(number))
    scene.line.asked.clear()
    await scene.sync()
    assert scene.files.files == {f"/n{number}": str(number) for number in range(105)}
    # Two pages of 100 without contents, six of 20 with them.
    assert scene.line.asked == {"GET memories": 8}
    await scene.sync()
    assert scene.line.asked == {"GET memories": 10}


async def test_conflicts_are_what_they_are_at_a_store_of_this_platform(scene: Scene) -> None:
    there, memory = await scene.write("/a", "one"), scene.memory
    other = MemoryRecord("mem_1", scene.store, "memver_1", "/a/b", rules.text_of("two"), NOW, NOW)
    with pytest.raises(MemoryPathConflict):
        await memory.create_memory(other, CHANGE)
    edit, wrong = MemoryEdit(text=rules.text_of("mine"), expected_sha256="0" * 64), "0" * 64
    with pytest.raises(MemoryPreconditionFailed):
        await memory.change_memory(scene.store, there.id, edit, CHANGE)
    with pytest.raises(MemoryPreconditionFailed):
        await memory.delete_memory(scene.store, there.id, CHANGE, expected_sha256=wrong)
    with pytest.raises(NotFound):
        await memory.memories("memstore_gone", MemoryListing())
    changed = await memory.change_memory(scene.store, there.id, MemoryEdit(path="/moved"), CHANGE)
    assert changed.path == "/moved" and (await memory.memory(scene.store, there.id)).text.content == "one"


async def test_the_model_is_told_what_the_server_says_of_a_file_it_does_not_take(scene: Scene) -> None:
    await scene.sync()
    await scene.client.beta.memory_stores.archive(scene.store)
    scene.files.files |= {"/a": "late", "/b": "late"}
    done = await scene.sync()
    assert "archived" in done.refused["/a"] and "Error code" not in done.refused["/a"]
    assert "archived" in done.refused["/b"] and scene.line.asked["POST memories"] == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [(400, InvalidRequest), (401, Unavailable), (403, Unavailable), (409, Unavailable), (529, Unavailable)],
)
async def test_what_a_server_refuses_for_now_is_no_deleted_store(
    scene: Scene, fault: int, error: type[Exception]
) -> None:
    scene.line.fault = fault
    with pytest.raises(error):
        await scene.memory.memories(scene.store, MemoryListing())


async def test_a_change_whose_answer_is_lost_is_no_change_of_somebody_else(scene: Scene) -> None:
    scene.client = scene.client.with_options(max_retries=2)
    scene.files.files["/a"] = "one"
    scene.line.lose = True
    assert (await scene.sync()).failed is not None and scene.line.asked["POST memories"] == 1
    scene.line.lose = False
    scene.files.files["/a"] = "two"
    done = await scene.sync()
    assert (done.lost, done.refused) == ((), {}) and await scene.stored() == {"/a": "two"}


@pytest.mark.parametrize("path", ["/../out", "/a//b", "no/slash", "/a/\\u0000"])
async def test_a_path_that_is_none_is_left_out(scene: Scene, path: str) -> None:
    await scene.write("/a", "one")
    await scene.write("/b", "two")
    scene.line.says = path
    await scene.sync()
    assert scene.files.files == {"/b": "two"}


async def test_a_list_without_an_end_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.write("/a", "one")
    await scene.write("/b", "two")
    monkeypatch.setattr(rules, "MAX_MEMORIES", 1)
    with pytest.raises(Unavailable):
        await scene.memory.memories(scene.store, MemoryListing())


async def test_stores_are_open_while_their_session_is_served(scene: Scene) -> None:
    stores = RemoteStores()
    with pytest.raises(Unavailable):
        await stores.open("env_1.sesn_1")
    stores.serve("env_1.sesn_1", scene.client)
    assert await (await stores.open("env_1.sesn_1")).memories(scene.store, MemoryListing()) == []
    stores.deleted("env_1.sesn_1")
    with pytest.raises(NotFound):
        await stores.open("env_1.sesn_1")
    stores.leave("env_1.sesn_1")
    with pytest.raises(Unavailable):
        await stores.open("env_1.sesn_1")
