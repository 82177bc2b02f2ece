"""Files that blocks of events refer to: whether they may, before anything is stored (spec A.12, B)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.clock import Clock
from agents.errors import InvalidRequest, NotFound
from agents.files.records import FileListing, FileRecord, FileRecords, expired, no_file
from agents.media import IMAGES, PDF

MOST_DOCUMENTS = 100  # spec A.12
MOST_BYTES = 20 * 1024**2
"""Of one file as a block: in base64 it must fit into a request to a model (32 MB, spec A.12)."""
MOST_REQUEST_BYTES = 24 * 1024**2
"""Of all files of a request together, each as often as it is there: in base64 those 32 MB."""
_IDS_AT_ONCE = 100
_TEXTS = frozenset(f"application/{kind}" for kind in ("json", "toml", "x-yaml", "xml", "yaml"))


@dataclass(frozen=True, slots=True)
class Reference:
    """One block with a file, and where it is."""

    where: str
    kind: str
    """``image`` or ``document``."""
    file_id: str


def references(where: str, events: Sequence[Mapping[str, Any]]) -> list[Reference]:
    """Return the blocks of *events*, which *where* names, that have a file as their source."""
    found: list[Reference] = []
    for index, event in enumerate(events):
        for place, block in enumerate(event.get("content") or ()):
            if block["type"] in ("image", "document") and block["source"]["type"] == "file":
                at = f"{where}[{index}].content[{place}].source.file_id"
                found.append(Reference(at, block["type"], block["source"]["file_id"]))
    return found


class FileReferences:
    """Looks at what events refer to."""

    def __init__(self, records: FileRecords, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def check(
        self, where: str, events: Sequence[Mapping[str, Any]], workspace_id: str, session_id: str | None = None
    ) -> None:
        """Raise for the first file that events of session *session_id* (None: a new one) cannot have.

        NotFound: it is not there, has expired, or is another workspace's or session's. InvalidRequest: it is no image,
        no PDF and no text, or too large, or there are too many documents, or too large ones together. Unavailable.
        """
        wanted = references(where, events)
        if not wanted:
            return
        if sum(each.kind == "document" for each in wanted) > MOST_DOCUMENTS:
            raise InvalidRequest(f"{where}: must have at most {MOST_DOCUMENTS} documents from files")
        files = await self._found(each.file_id for each in wanted)
        left = MOST_REQUEST_BYTES
        for each in wanted:
            file = files.get(each.file_id)
            foreign = file is None or file.workspace_id != workspace_id or file.session_id not in (None, session_id)
            if file is None or foreign:
                raise NotFound(f"{each.where}: {no_file(each.file_id).message}")
            if file.is_expired(self._clock.now()):
                fault = expired(each.file_id)
                raise NotFound(f"{each.where}: {fault.message}", error_code=fault.error_code)
            _check_kind(each, file)
            left -= file.size
            if left < 0:
                words = f"the files of one request may have at most {MOST_REQUEST_BYTES} bytes together"
                raise InvalidRequest(f"{each.where}: {words}")

    async def _found(self, file_ids: Iterable[str]) -> dict[str, FileRecord]:
        ids = list(dict.fromkeys(file_ids))
        found: dict[str, FileRecord] = {}
        for first in range(0, len(ids), _IDS_AT_ONCE):
            some = tuple(ids[first : first + _IDS_AT_ONCE])
            found.update({row.id: row for row in await self._records.list(FileListing(limit=len(some), ids=some))})
        return found


def is_text(mime_type: str) -> bool:
    """Whether a file of this type is text for a model."""
    return mime_type.startswith("text/") or mime_type in _TEXTS or mime_type.endswith(("+json", "+xml"))


def _check_kind(reference: Reference, file: FileRecord) -> None:
    if reference.kind == "image" and file.mime_type not in IMAGES:
        raise InvalidRequest(f"{reference.where}: an image is one of {', '.join(IMAGES)}, not {file.mime_type}")
    if reference.kind == "document" and file.mime_type != PDF and not is_text(file.mime_type):
        raise InvalidRequest(f"{reference.where}: a document is {PDF} or text, not {file.mime_type}")
    if file.size > MOST_BYTES:
        raise InvalidRequest(f"{reference.where}: a block's file may have {MOST_BYTES} bytes, and this has {file.size}")
    if not file.size:
        raise InvalidRequest(f"{reference.where}: the file is empty")
