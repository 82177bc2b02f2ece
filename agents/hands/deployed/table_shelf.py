"""Tables between hands: one tool's table is another tool's argument, and travels beside the model, not through it.

A table that a tool returned is kept under a handle, which the model reads beneath the preview and may give to any tool
of a hand as a string. Only calls of the same principal find it there.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

_HANDLE = re.compile(r"table_[0-9a-f]{32}")
_MOST_IN_ONE_CALL = 8
_MOST_KEPT = 64


class TableShelf(Protocol):
    """Keeps tables for a while. Every call raises Unavailable."""

    async def keep(self, handle: str, table: Any, principal: str) -> None:
        """Keep a table (``pyarrow.Table``) for calls of *principal*; the oldest ones go."""
        ...

    async def fetch(self, handle: str, principal: str) -> Any:
        """Return a table; None when it is gone, or another principal's."""
        ...


class MemoryShelf:
    """The TableShelf of one process."""

    def __init__(self, most: int = _MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    async def keep(self, handle: str, table: Any, principal: str) -> None:
        """See TableShelf.keep."""
        self._kept[(handle, principal)] = table
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    async def fetch(self, handle: str, principal: str) -> Any:
        """See TableShelf.fetch."""
        return self._kept.get((handle, principal))


async def put_on(shelf: TableShelf, tables: Sequence[Any], principal: str) -> str:
    """Keep the tables of a result; returns what the model is told of them, empty without any."""
    handles = [f"table_{secrets.token_hex(16)}" for _ in tables]
    for handle, table in zip(handles, tables, strict=True):
        await shelf.keep(handle, table, principal)
    return f"(to give the whole table to a tool that takes tables: {', '.join(handles)})" if handles else ""


async def take_from(shelf: TableShelf, given: Mapping[str, Any], principal: str) -> dict[str, Any]:
    """Return the tables whose handles are in a call's input, by handle; None for each that is gone."""
    handles = [text for text in _strings(given) if _HANDLE.fullmatch(text)][:_MOST_IN_ONE_CALL]
    return {handle: await shelf.fetch(handle, principal) for handle in handles}


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[str, object]", value).values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _strings(inner)
