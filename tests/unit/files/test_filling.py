"""Blocks with files, as brains get them: the bytes in place, or the word that they are gone."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.brains.port import BrainFailure, BrainRequest
from agents.clock import SystemClock
from agents.files.blobs import Blobs
from agents.files.filling import FillingBrain
from agents.files.service import Files, NewFile
from agents.files.settings import FileSettings
from agents.hands.checkpoint_store import LocalStore, StoreUnavailable
from agents.store.memory import MemoryStore

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


class Store(LocalStore):
    reads = 0
    away = False

    def read(self, folder: str, name: str, start: int, length: int) -> bytes:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("away")
        return super().read(folder, name, start, length)


class Listener:
    """A brain that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []

    async def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        self.asked.append(request.messages)
        yield {"type": "message_stop"}


class Stage:
    def __init__(self, place: Path, kept_bytes: int = 10**6, request_bytes: int = 10**6) -> None:
        self.store = Store(place)
        self.files = Files(MemoryStore().files, Blobs(self.store), SystemClock(), FileSettings())
        self.listener = Listener()
        self.brain = FillingBrain(self.listener, self.files, kept_bytes=kept_bytes, request_bytes=request_bytes)

    async def upload(self, data: bytes, kind: str, name: str = "name") -> str:
        async def chunks() -> AsyncIterator[bytes]:
            yield data

        staged = await self.files.stage(chunks())
        return (await self.files.add(staged, NewFile.checked(name, kind, None), "wrkspc_1")).id

    async def ask(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        request = BrainRequest("sesn_1", "model", list(messages))
        assert [event async for event in self.brain.think(request)] == [{"type": "message_stop"}]
        return self.listener.asked[-1]


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def block(kind: str, file_id: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "source": {"type": "file", "file_id": file_id}, **more}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def picture(data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded}}


async def test_files_are_filled_in_and_everything_else_is_left_as_it_is(stage: Stage) -> None:
    image, text = await stage.upload(PNG, "image/jpeg"), await stage.upload(b"words", "text/plain", "a.txt")
    said = {"role": "assistant", "content": [{"type": "text", "text": "x"}]}
    result = {"type": "tool_result", "tool_use_id": "sevt_1", "content": [block("image", image)]}
    messages = [user(block("document", text)), said, user(result)]
    first, second, third = await stage.ask(*messages)
    source = {"type": "text", "media_type": "text/plain", "data": "words"}
    assert first == user({"type": "document", "title": "a.txt", "source": source})
    assert second is said
    # An image is what its bytes are, whatever it is called.
    assert third == user({**result, "content": [picture(PNG)]})
    assert messages[0]["content"][0]["source"]["type"] == "file"


async def test_a_message_is_the_same_from_request_to_request_while_there_is_room(tmp_path: Path) -> None:
    stage = Stage(tmp_path, kept_bytes=30)
    one = user(block("image", await stage.upload(PNG, "image/png")))
    two = user(block("document", await stage.upload(b"0123456789", "text/plain")))
    first = (await stage.ask(one))[0]
    reads = stage.store.reads
    assert (await stage.ask(one))[0] is first and stage.store.reads == reads
    # The two together are over the bound: the older one is read again.
    await stage.ask(one, two)
    again = (await stage.ask(one))[0]
    assert again == first and again is not first and stage.store.reads == reads + 2


async def test_what_is_gone_or_not_as_it_is_called_is_told_in_words(stage: Stage) -> None:
    deleted, broken = await stage.upload(PNG, "image/png"), await stage.upload(b"GIF?", "image/gif", "a.gif")
    await stage.files.delete(deleted)
    (message,) = await stage.ask(user(block("image", deleted), block("image", broken)))
    assert [each["type"] for each in message["content"]] == ["text", "text"]
    assert deleted in message["content"][0]["text"] and "a.gif" in message["content"][1]["text"]


async def test_a_store_that_is_away_fails_the_request_for_now(stage: Stage) -> None:
    file_id = await stage.upload(PNG, "image/png")
    stage.store.away = True
    with pytest.raises(BrainFailure) as failed:
        await stage.ask(user(block("image", file_id)))
    assert failed.value.transient and stage.listener.asked == []
    stage.store.away = False
    assert await stage.ask(user(block("image", file_id))) == [user(picture(PNG))]


async def test_the_files_of_one_request_have_a_bound_and_the_newest_messages_get_theirs(tmp_path: Path) -> None:
    """Bug class this catches: one file that is named many times, or in many messages, fills the memory."""
    stage = Stage(tmp_path, request_bytes=2 * len(PNG))
    file_id = await stage.upload(PNG, "image/png", "a.png")
    old, new = user(block("image", file_id)), user(block("image", file_id), block("image", file_id))
    shown, newest = await stage.ask(old, new)
    assert newest["content"] == [picture(PNG), picture(PNG)]
    assert shown["content"][0]["text"].startswith("[file a.png was left out")
    assert (await stage.ask(old))[0]["content"] == [picture(PNG)]
    reads = stage.store.reads
    many = await stage.ask(user(*[block("image", file_id) for _ in range(50)]))
    assert [each["type"] for each in many[0]["content"]] == ["image"] * 2 + ["text"] * 48
    assert stage.store.reads == reads + 2
