"""The names under which a model is offered the tools of MCP servers.

The Messages API takes letters, digits, ``_`` and ``-``, at most 128 of them; servers name themselves and their tools
more freely. Invariant: two tools of an agent's servers never get the same name, and a tool's name depends on nothing
but the server's name and its own, so that a model meets it again after every change elsewhere.
"""

from __future__ import annotations

import re
from hashlib import sha256

PREFIX = "mcp__"
_MOST_CHARS = 128
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARS = 12


def tool_name(server: str, tool: str) -> str:
    """Return ``mcp__SERVER__TOOL``, with a digest behind it where that would not do."""
    name = f"{PREFIX}{_UNFIT.sub('_', server)}__{_UNFIT.sub('_', tool)}"
    # Of names that fit, only these could be read in two ways: where does the server's end?
    unclear = "__" in server or server.endswith("_")
    if name == f"{PREFIX}{server}__{tool}" and len(name) <= _MOST_CHARS and not unclear:
        return name
    digest = sha256(f"{server}\0{tool}".encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{name[: _MOST_CHARS - _DIGEST_CHARS - 1]}_{digest}"
