"""Pages of listings ordered by ``(created_at, id)``, forward and, where asked for, backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from agents.api.cursor import Cursor, Order, decode, encode, from_micros, to_micros
from agents.api.query import Query, TimeRange
from agents.errors import InvalidRequest


class Dated(Protocol):
    """A record with a place in such a listing."""

    @property
    def id(self) -> str: ...

    @property
    def created_at(self) -> datetime: ...


R = TypeVar("R", bound=Dated)


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Rows in the order that the client asked for, and the cursors around them."""

    rows: Sequence[R]
    next_page: str | None
    prev_page: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Where a page begins and in which direction it is read from the store."""

    kind: str
    order: Order
    limit: int
    bounds: TimeRange
    cursor: Cursor | None

    @property
    def after(self) -> tuple[datetime, str] | None:
        """The row before the page in the direction of travel."""
        if self.cursor is None:
            return None
        micros, row_id = cast("tuple[int, str]", self.cursor.position)
        return from_micros(micros), row_id

    @property
    def backward(self) -> bool:
        return self.cursor is not None and self.cursor.backward

    def listing(self) -> dict[str, Any]:
        """Return the store's query fields; travelling backward means reading in the other order."""
        flipped: Order = "asc" if self.order == "desc" else "desc"
        order = flipped if self.backward else self.order
        return {"limit": self.limit, "after": self.after, "order": order, **self.bounds.fields()}

    def page(self, found: Sequence[R]) -> Page[R]:
        """Return the page that *found* (up to ``limit + 1`` rows in the direction of travel) makes."""
        more = len(found) > self.limit
        rows = list(found[: self.limit])
        if self.backward:
            rows.reverse()
        before = more if self.backward else self.cursor is not None
        beyond = True if self.backward else more
        return Page(
            rows,
            self._cursor(rows[-1], backward=False) if rows and beyond else None,
            self._cursor(rows[0], backward=True) if rows and before else None,
        )

    def _cursor(self, row: Dated, *, backward: bool) -> str:
        return encode(Cursor(self.kind, self.order, backward, (to_micros(row.created_at), row.id)))


def page_request(
    query: Query,
    kind: str,
    *,
    default: int,
    most: int,
    order: Order = "desc",
    with_bounds: bool = True,
    never_more: int | None = None,
) -> PageRequest:
    """Read ``limit``, ``page`` and the time bounds of a listing. Raises InvalidRequest.

    A limit above *most* is refused, one above *never_more* lowered.
    """
    bounds = query.created_at() if with_bounds else TimeRange()
    cursor = decode(query.text("page"), kind=kind, order=order, shape=(int, str))
    if cursor is not None and None in cursor.position:
        raise InvalidRequest("page: is not a cursor of this listing")
    limit = query.limit(default, most)
    limit = limit if never_more is None else min(limit, never_more)
    request = PageRequest(kind, order, limit, bounds, cursor)
    after = request.after
    if after is not None and not bounds.holds(after[0]):
        raise InvalidRequest("page: the changed created_at bounds leave out this cursor's position")
    return request
