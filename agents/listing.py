"""A page of what is listed newest, or oldest, first: what the API asks every repository for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a listing ordered by ``(created_at, id)``.

    ``after`` is the (created_at, id) of the row before the page in the direction of travel, or None.
    Bounds are on ``created_at``; a page has at most ``limit`` rows.
    """

    limit: int = 20
    after: tuple[datetime, str] | None = None
    order: Literal["asc", "desc"] = "desc"
    include_archived: bool = False
    created_gt: datetime | None = None
    created_gte: datetime | None = None
    created_lt: datetime | None = None
    created_lte: datetime | None = None
    workspace_id: str | None = None
    """Only of this workspace; None is for what hangs below one object, and for the platform itself."""
