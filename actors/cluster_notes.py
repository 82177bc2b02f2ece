"""Notes beside Ray's own table of actors, and as durable as that: for what must outlive the actor that decides it."""

from __future__ import annotations

import json
from typing import Any

from ray.experimental.internal_kv import (  # pyright: ignore[reportPrivateUsage]
    _internal_kv_get,
    _internal_kv_put,
)

from actors.names import NAMESPACE


def put_note(name: str, value: Any) -> None:
    """Write what is JSON under *name*. Blocks."""
    _internal_kv_put(name, json.dumps(value), overwrite=True, namespace=NAMESPACE)


def get_note(name: str) -> Any:
    """Return what was written under *name*; None when nothing was. Blocks."""
    found = _internal_kv_get(name, namespace=NAMESPACE)
    return None if found is None else json.loads(found)
