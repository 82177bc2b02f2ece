"""Page cursors: opaque to the client, checked by the server (spec section 0, "Cursor rules").

A cursor names the listing it belongs to, its order and a position, so that a cursor of another
listing or order is refused instead of answering with a wrong page.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import orjson

from agents.errors import InvalidRequest

Order = Literal["asc", "desc"]

_VERSION = 1
_MAX_CHARS = 4096
"""Room for a position that is the path of a memory: of 1024 bytes, all of them escaped."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A decoded cursor: ``backward`` marks a previous page, ``position`` belongs to the kind of listing."""

    kind: str
    order: Order
    backward: bool
    position: tuple[int | str | None, ...]


def encode(cursor: Cursor) -> str:
    """Return a cursor as url-safe text."""
    packed = orjson.dumps([_VERSION, cursor.kind, cursor.order, cursor.backward, list(cursor.position)])
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(text: str | None, *, kind: str, order: Order, shape: tuple[type, ...]) -> Cursor | None:
    """Return the cursor of *text*, or None without one; *shape* are the types of its position.

    Raises InvalidRequest for garbage, a cursor of another listing, or one made with another order.
    """
    if text is None:
        return None
    fields = _unpack(text)
    if fields is None or fields[1] != kind or not _fits(fields[4], shape):
        raise InvalidRequest("page: is not a cursor of this listing; pass next_page of an earlier answer unchanged")
    if fields[2] != order:
        raise InvalidRequest(f"page: was made with order={fields[2]}; it cannot be used with order={order}")
    return Cursor(kind, order, fields[3], tuple(fields[4]))


def _unpack(text: str) -> list[Any] | None:
    if len(text) > _MAX_CHARS or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        fields = orjson.loads(raw)
    except (binascii.Error, orjson.JSONDecodeError):
        return None
    return cast("list[Any]", fields) if _is_cursor(fields) else None


def _is_cursor(fields: Any) -> bool:
    match fields:
        case [version, str(), "asc" | "desc", bool(), list()]:
            return version == _VERSION
        case _:
            return False


def _fits(position: list[Any], shape: tuple[type, ...]) -> bool:
    if len(position) != len(shape):
        return False
    # Exact types: True is an int to isinstance. Positions are never negative.
    return all(
        value is None or (type(value) is kind and (kind is not int or 0 <= value < 2**63))
        for value, kind in zip(position, shape, strict=True)
    )


def to_micros(moment: datetime) -> int:
    """Return a time as whole microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the time of :func:`to_micros`; raises InvalidRequest when no calendar holds it."""
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise InvalidRequest("page: is not a cursor of this listing") from None
