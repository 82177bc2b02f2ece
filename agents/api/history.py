"""A page of a session's history: the log, and the client events that still wait (spec A.5, H-3).

Logged events are paged by their position. Waiting ones have none, so a cursor that ends among them
also names the last one shown; the next page goes on after it. An event taken up between two pages
shows again with its place in the log, under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from agents.api.cursor import Cursor, Order, decode, encode
from agents.errors import InvalidRequest
from agents.ids import SessionId
from agents.sessions.events import Event
from agents.store.ports import EventListing, SessionRepository


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Reads pages of one listing kind; ``max_waiting`` bounds the client events that can wait in a session."""

    sessions: SessionRepository
    max_waiting: int

    async def page(self, session_id: SessionId, kind: str, listing: EventListing, text: str | None) -> dict[str, Any]:
        """Return the page's wire form. Raises InvalidRequest (bad cursor) or NotFound."""
        kind = f"{kind}:{session_id}"
        cursor = decode(text, kind=kind, order=listing.order, shape=(int, str))
        after, shown = cast("tuple[int | None, str | None]", cursor.position) if cursor else (None, None)
        if cursor is not None and after is None and shown is None:
            raise InvalidRequest("page: is not a cursor of this listing")
        # One row more than the page tells of a next one, also where only waiting events are left.
        reach = listing.limit + 1 + (self.max_waiting if shown is not None else 0)
        found = await self.sessions.events(session_id, replace(listing, after=after, limit=reach))
        rows = _unshown(found, shown, listing.order)
        page = rows[: listing.limit]
        more = len(rows) > listing.limit
        following = _cursor(kind, listing.order, page, after) if more else None
        return {"data": [event.wire() for event in page], "next_page": following}


def _unshown(found: Sequence[Event], shown: str | None, order: Order) -> list[Event]:
    """Leave out the waiting events up to *shown*, which were on earlier pages."""
    if shown is None:
        return list(found)
    logged = [event for event in found if event.seq is not None]
    waiting = [event for event in found if event.seq is None]
    ids = [str(event.id) for event in waiting]
    if shown in ids:
        waiting = waiting[ids.index(shown) + 1 :]
    elif order == "desc":
        # It was taken up since, and so were all older ones.
        waiting = []
    return [*logged, *waiting] if order == "asc" else [*waiting, *logged]


def _cursor(kind: str, order: Order, page: Sequence[Event], after: int | None) -> str:
    positions = [event.seq for event in page if event.seq is not None]
    last = page[-1]
    shown = None if last.seq is not None else str(last.id)
    return encode(Cursor(kind, order, False, (positions[-1] if positions else after, shown)))
