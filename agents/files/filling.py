"""Messages for a brain: blocks whose source is a file get its bytes, for no model knows this platform's files.

What is filled in is a pure function of the file's id, as a file never changes, until its bytes are gone for good; then
the model is told that they are. Messages keep their identity from request to request while there is room for them, as
what is carried to brains is told by it (``agents.brains.chunks``).
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

from agents.brains.port import Brain, BrainFailure, BrainRequest, closing
from agents.errors import NotFound, Unavailable
from agents.files.records import FileRecord
from agents.files.references import MOST_REQUEST_BYTES
from agents.files.service import Files
from agents.hands.checkpoint_store import StoreUnavailable
from agents.media import IMAGES, PDF, media_type_of

Block = dict[str, Any]

_KEPT_MESSAGES = 4096
_KEPT_BYTES = 128 * 1024**2
"""Of filled messages of all sessions of one process, as far as the bytes of files go."""


class FillingBrain:
    """Asks another brain, with the bytes of files in place."""

    def __init__(
        self, brain: Brain, files: Files, *, kept_bytes: int = _KEPT_BYTES, request_bytes: int = MOST_REQUEST_BYTES
    ) -> None:
        """*request_bytes* is what the files of one request may have together; the newest messages get theirs."""
        self._brain = brain
        self._request_bytes = request_bytes
        self._files = files
        self._room = kept_bytes
        # By the message's identity; the message is kept with it, so that no other gets its address.
        self._filled: OrderedDict[int, tuple[Block, Block, int]] = OrderedDict()

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any]]:
        """See Brain.think."""
        messages, room = list(request.messages), _Room(self._request_bytes)
        for index in reversed(range(len(messages))):
            if _has_files(messages[index]):
                messages[index] = await self._message(messages[index], room)
        async with closing(self._brain.think(replace(request, messages=messages))) as events:
            async for event in events:
                yield event

    async def _message(self, message: Block, room: _Room) -> Block:
        kept = self._filled.get(id(message))
        if kept is None or kept[2] > room.left:
            before, room.is_short = room.left, False
            filled = {**message, "content": [await self._block(block, room) for block in message["content"]]}
            if room.is_short:
                return filled
            kept = self._keep(message, filled, before - room.left)
        else:
            room.left -= kept[2]
        self._filled.move_to_end(id(message))
        return kept[1]

    def _keep(self, message: Block, filled: Block, size: int) -> tuple[Block, Block, int]:
        if (meanwhile := self._filled.get(id(message))) is not None:
            return meanwhile
        self._filled[id(message)] = message, filled, size
        self._room -= size
        while (self._room < 0 or len(self._filled) > _KEPT_MESSAGES) and len(self._filled) > 1:
            self._room += self._filled.popitem(last=False)[1][2]
        return self._filled[id(message)]

    async def _block(self, block: Block, room: _Room) -> Block:
        """Return a block with its files' bytes, as far as there is room. Raises BrainFailure."""
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            return {**block, "content": [await self._block(each, room) for each in block["content"]]}
        if not _is_file(block):
            return block
        file_id: str = block["source"]["file_id"]
        try:
            file = await self._files.records.get(file_id)
            if file.sha256 and not room.take(file.size):
                return _words(f"[file {file.filename} was left out: the conversation's files are too large together]")
            data = await self._files.whole(file) if file.sha256 else None
        except (NotFound, FileNotFoundError):
            file, data = None, None
        except (Unavailable, StoreUnavailable) as error:
            words = f"file {file_id} of the conversation cannot be read: {error.message}"
            raise BrainFailure("request_failed", words, transient=True) from error
        if file is None or data is None:
            return _words(f"[file {file_id} was here; it has been deleted or has expired]")
        return _filled(block, file, data)


@dataclass(slots=True)
class _Room:
    """What is left of the bytes that the files of one request may have."""

    left: int
    is_short: bool = False
    """Whether something had no room."""

    def take(self, size: int) -> bool:
        if size > self.left:
            self.is_short = True
            return False
        self.left -= size
        return True


def _filled(block: Block, file: FileRecord, data: bytes) -> Block:
    # By its own bytes: what is not as it is called would fail every later request of the session.
    kind = media_type_of(data)
    if kind in IMAGES if block["type"] == "image" else kind == PDF:
        encoded = base64.b64encode(data).decode()
        return {**block, "source": {"type": "base64", "media_type": kind, "data": encoded}}
    if block["type"] == "document" and kind is None and (text := data.decode("utf-8", "replace")).strip():
        title = {} if block.get("title") else {"title": file.filename}
        return {**block, **title, "source": {"type": "text", "media_type": "text/plain", "data": text}}
    return _words(f"[file {file.filename} was here; it is no {block['type']} that a model can read]")


def _words(text: str) -> Block:
    return {"type": "text", "text": text}


def _is_file(block: Block) -> bool:
    return block["type"] in ("image", "document") and block["source"]["type"] == "file"


def _has_files(message: Block) -> bool:
    return any(_is_file(block) for block in _blocks(message["content"]))


def _blocks(content: str | list[Block]) -> list[Block]:
    found: list[Block] = []
    for block in () if isinstance(content, str) else content:
        found.append(block)
        if block["type"] == "tool_result" and isinstance(block.get("content"), list):
            found += block["content"]
    return found
