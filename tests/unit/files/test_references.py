"""Blocks with files, before anything is stored.

Bug class this catches: a small request whose files fill the memory of whoever asks the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.clock import SystemClock
from agents.errors import InvalidRequest
from agents.files import references
from agents.files.blobs import Blobs
from agents.files.references import FileReferences
from agents.files.service import Files, NewFile
from agents.files.settings import FileSettings
from agents.hands.checkpoint_store import LocalStore
from agents.store.memory import MemoryStore

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 92


def message(file_id: str, times: int) -> dict[str, Any]:
    image = {"type": "image", "source": {"type": "file", "file_id": file_id}}
    return {"type": "user.message", "content": [image] * times}


async def test_a_file_counts_as_often_as_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST_REQUEST_BYTES", 3 * len(PNG))
    files = Files(MemoryStore().files, Blobs(LocalStore(tmp_path)), SystemClock(), FileSettings())

    async def chunks() -> AsyncIterator[bytes]:
        yield PNG

    file = await files.add(await files.stage(chunks()), NewFile.checked("a.png", "image/png", None), "wrkspc_1")
    look = FileReferences(files.records, SystemClock())
    await look.check("events", [message(file.id, 2), message(file.id, 1)], "wrkspc_1")
    with pytest.raises(InvalidRequest, match=r"events\[1\]\.content\[1\]\.source\.file_id: the files of one request"):
        await look.check("events", [message(file.id, 2), message(file.id, 2)], "wrkspc_1")
