"""Notes beside Ray's own table of actors, and as durable as that: for what must outlive the actor that decides it.

Among them is the code of hands, by its digest, where Ray keeps code that travels, too.
"""

from __future__ import annotations

import json
from typing import Any

from ray.experimental.internal_kv import (  # pyright: ignore[reportPrivateUsage]
    _internal_kv_del,
    _internal_kv_exists,
    _internal_kv_get,
    _internal_kv_put,
)

from actors.names import NAMESPACE


def put_note(name: str, value: Any) -> int:
    """Write what is JSON under *name*; returns its size. Blocks."""
    note = json.dumps(value)
    _internal_kv_put(name, note, overwrite=True, namespace=NAMESPACE)
    return len(note)


def get_note(name: str) -> Any:
    """Return what was written under *name*; None when nothing was. Blocks."""
    found = _internal_kv_get(name, namespace=NAMESPACE)
    return None if found is None else json.loads(found)


def drop_note(name: str) -> None:
    """Remove what was written under *name*, if anything was. Blocks."""
    _internal_kv_del(name, namespace=NAMESPACE)


def put_archive(digest: str, archive: bytes) -> None:
    """Keep an archive of code, unless it is there. Blocks."""
    if not _internal_kv_exists(_archive(digest), namespace=NAMESPACE):
        _internal_kv_put(_archive(digest), archive, namespace=NAMESPACE)


def get_archive(digest: str) -> bytes | None:
    """Return an archive; None when it is not there. Blocks."""
    return _internal_kv_get(_archive(digest), namespace=NAMESPACE)


def _archive(digest: str) -> str:
    return f"hand-source/{digest}"
