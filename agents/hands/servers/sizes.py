"""How large what is said between a model and a server is: what limits and bills go by."""

from __future__ import annotations

import json
from typing import Any

import orjson


def json_bytes(value: Any) -> int:
    """Return how many bytes *value* has as JSON, also of what orjson refuses: long integers, half characters."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return len(json.dumps(value, separators=(",", ":"), default=str))
