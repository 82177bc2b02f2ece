"""Reading a whole listing that the SDK has no method for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from anthropic import Anthropic

_PAGE = 100


def every_row(client: Anthropic, path: str, query: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of all pages of the listing at *path*, with the filters of *query*."""
    found: list[dict[str, Any]] = []
    asked = {"limit": str(_PAGE), **(query or {})}
    while True:
        answer = cast("dict[str, Any]", client.get(f"{path}?{urlencode(asked)}", cast_to=object))
        found.extend(answer["data"])
        if answer["next_page"] is None:
            return found
        asked["page"] = answer["next_page"]
