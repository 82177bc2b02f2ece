"""What a client's confirmation stands for: one tool with exactly the arguments that it was shown.

The digest goes into the log with the confirmation; the call that is dispatched must have the same one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson


def call_digest(name: str, tool_input: dict[str, Any]) -> str:
    """Name a tool call by its content: the order of keys does not matter, everything else does."""
    return sha256(orjson.dumps([name, tool_input], option=orjson.OPT_SORT_KEYS)).hexdigest()
