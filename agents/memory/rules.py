"""What holds of memories in every store: paths, sizes, conflicts (spec A.9, and the SDK's field texts)."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace

from agents.catalog.limits import check_length
from agents.errors import InvalidRequest, MemoryPathConflict, MemoryPreconditionFailed, NotFound
from agents.memory.records import Change, MemoryEdit, MemoryRecord, MemoryStoreRecord, MemoryVersionRecord, Text

MAX_CONTENT_BYTES = 102_400
MAX_MEMORIES = 2_000
MAX_PATH_BYTES = 1_024
MAX_SEGMENTS = 20
NAME_CHARS = 255
DESCRIPTION_CHARS = 1_024

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = frozenset({"Cc", "Cs"})
_UNWANTED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control and format characters, unpaired surrogates, line and paragraph separators."""


def text_of(content: str, where: str = "content") -> Text:
    """Return a content with its digest and size. Raises InvalidRequest when it is too large, or not UTF-8."""
    try:
        raw = content.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{where}: must be text that UTF-8 can hold") from None
    if "\x00" in content:
        raise InvalidRequest(f"{where}: must not hold the character U+0000, which cannot be stored")
    if len(raw) > MAX_CONTENT_BYTES:
        raise InvalidRequest(f"{where}: must have at most {MAX_CONTENT_BYTES} bytes of UTF-8, not {len(raw)}")
    return Text(content, hashlib.sha256(raw).hexdigest(), len(raw))


def checked_path(path: str, where: str = "path") -> str:
    """Return the path of a memory. Raises InvalidRequest."""
    if not path.startswith("/"):
        raise InvalidRequest(f"{where}: must start with /, as in /notes/today.md")
    check_characters(path, where)
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidRequest(f"{where}: must have at most {MAX_PATH_BYTES} bytes of UTF-8")
    if not unicodedata.is_normalized("NFC", path):
        raise InvalidRequest(f"{where}: must be in Unicode Normalization Form C")
    segments = path[1:].split("/")
    if len(segments) > MAX_SEGMENTS:
        raise InvalidRequest(f"{where}: must have 1 to {MAX_SEGMENTS} segments, not {len(segments)}")
    if not {"", ".", ".."}.isdisjoint(segments):
        raise InvalidRequest(f"{where}: a segment must not be empty, . or ..")
    return path


def check_characters(text: str, where: str, *, unwanted: frozenset[str] = _UNWANTED) -> None:
    """Raise InvalidRequest for characters of these categories of Unicode."""
    for character in text:
        if unicodedata.category(character) in unwanted:
            raise InvalidRequest(f"{where}: must not hold the character U+{ord(character):04X}")


def checked_name(name: str) -> str:
    """Return the name of a store. Raises InvalidRequest."""
    check_length("name", name, NAME_CHARS, shortest=1)
    check_characters(name, "name", unwanted=_CONTROL)
    return name


def checked_prefix(prefix: str) -> str:
    """Return what the paths of a listing begin with. Raises InvalidRequest."""
    if not (prefix.startswith("/") and prefix.endswith("/")):
        raise InvalidRequest("path_prefix: must start and end with /, as in /notes/")
    return prefix


def checked_sha256(digest: str, where: str) -> str:
    """Return the digest that a content is expected to have. Raises InvalidRequest."""
    if not _SHA256.fullmatch(digest):
        raise InvalidRequest(f"{where}: must be 64 lowercase hexadecimal characters")
    return digest


def below(directory: str) -> tuple[str, str]:
    """Return the bounds of all paths below a *directory*, which ends with ``/``: the first is theirs, the last not."""
    return directory, directory[:-1] + chr(ord("/") + 1)


def past(place: str) -> str:
    """Return the least path behind a *place* of a listing: a path, or a directory with everything in it."""
    return below(place)[1] if place.endswith("/") else place + "\x01"


def above(path: str) -> list[str]:
    """Return the paths that would have to be directories for a memory at *path*."""
    segments = path.split("/")
    return ["/".join(segments[:length]) for length in range(2, len(segments))]


def are_in_each_others_way(path: str, other: str) -> bool:
    """Whether two memories cannot be files of one directory tree."""
    return path == other or path.startswith(other + "/") or other.startswith(path + "/")


def rolled_up(paths: Iterable[str], prefix: str) -> list[str]:
    """Return sorted *paths* below *prefix* with those of each deeper directory replaced by it, and a ``/`` behind."""
    found: list[str] = []
    for path in paths:
        name, deeper, _ = path[len(prefix) :].partition("/")
        entry = prefix + name + deeper
        if not found or found[-1] != entry:
            found.append(entry)
    return found


def edited(stored: MemoryRecord, edit: MemoryEdit, change: Change) -> MemoryRecord | None:
    """Return what an edit makes of a memory, None when that is nothing new. Raises MemoryPreconditionFailed."""
    path = stored.path if edit.path is None else edit.path
    text = stored.text if edit.text is None else edit.text
    if path == stored.path and text.sha256 == stored.text.sha256:
        return None
    check_expected(stored, edit.expected_sha256)
    return replace(stored, path=path, text=text, version_id=change.version_id, updated_at=change.moment)


def check_expected(stored: MemoryRecord, expected_sha256: str | None) -> None:
    """Raise MemoryPreconditionFailed when a memory's content is not the one that a caller saw."""
    if expected_sha256 not in (None, stored.text.sha256):
        raise MemoryPreconditionFailed(
            f"memory {stored.id} has content_sha256 {stored.text.sha256}, not {expected_sha256}: read it again"
        )


def written(memory: MemoryRecord, change: Change, *, new: bool) -> MemoryVersionRecord:
    """Return the version that tells of a memory as it was written."""
    return MemoryVersionRecord(
        change.version_id,
        memory.store_id,
        memory.id,
        "created" if new else "modified",
        memory.path,
        memory.text,
        change.moment,
        change.author,
    )


def deleted(memory: MemoryRecord, change: Change) -> MemoryVersionRecord:
    """Return the version that tells of a memory's end."""
    return replace(written(memory, change, new=False), operation="deleted", text=None)


def kept_store(stored: MemoryStoreRecord, changed: MemoryStoreRecord) -> MemoryStoreRecord:
    """Return *changed* with what never changes."""
    return replace(changed, id=stored.id, workspace_id=stored.workspace_id, created_at=stored.created_at)


def refuse_archived(store: MemoryStoreRecord) -> None:
    """Raise InvalidRequest (``memory_store_archived``) when the store is archived."""
    if store.archived_at is not None:
        raise InvalidRequest(f"memory store {store.id} is archived", error_code="memory_store_archived")


def refuse_full(store_id: str, count: int) -> None:
    """Raise InvalidRequest when a store of *count* memories takes no other."""
    if count >= MAX_MEMORIES:
        raise InvalidRequest(f"memory store {store_id} has {count} memories, and may have no more")


def newest(version: MemoryVersionRecord) -> InvalidRequest:
    """Word that a memory's newest version is not redacted."""
    return InvalidRequest(
        f"memory version {version.id} is what memory {version.memory_id} says now: update or delete that first"
    )


def taken_path(path: str, memory_id: str, its_path: str) -> MemoryPathConflict:
    """Word that a memory is in the way of another at *path*."""
    return MemoryPathConflict(
        f"path {path} is taken by memory {memory_id} at {its_path}",
        details={"conflicting_memory_id": memory_id, "conflicting_path": its_path},
    )


def no_store(store_id: str) -> NotFound:
    """Word that there is no such store, in the words of ``agents.access.tenancy``."""
    return NotFound(f"memory_store {store_id} not found")


def no_memory(memory_id: str) -> NotFound:
    return NotFound(f"memory {memory_id} not found")


def no_version(version_id: str) -> NotFound:
    return NotFound(f"memory version {version_id} not found")
