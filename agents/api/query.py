"""Query parameters: bracketed, repeated, checked one by one; every fault names the parameter."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.datastructures import QueryParams

from agents.api.cursor import Order
from agents.clock import parse_rfc3339
from agents.errors import InvalidRequest

_MAX_DIGITS = 9
"""Digits of an integer parameter: no limit or version comes near a billion."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Bounds on a time; None is unbounded."""

    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        """Whether *moment* is within the bounds."""
        return not (
            (self.gt is not None and moment <= self.gt)
            or (self.gte is not None and moment < self.gte)
            or (self.lt is not None and moment >= self.lt)
            or (self.lte is not None and moment > self.lte)
        )

    def fields(self) -> dict[str, Any]:
        """Return the bounds under the names that listings use."""
        return {"created_gt": self.gt, "created_gte": self.gte, "created_lt": self.lt, "created_lte": self.lte}


class Query:
    """The parameters of one request. Names that no route asks for are ignored (``beta=true`` and its like)."""

    def __init__(self, params: QueryParams) -> None:
        self._params = params

    def text(self, name: str) -> str | None:
        """Return a parameter; raises InvalidRequest when it is repeated, empty or unstorable."""
        values = self._params.getlist(name)
        if len(values) > 1:
            raise InvalidRequest(f"{name}: may be given once, not {len(values)} times")
        if not values:
            return None
        if not values[0] or "\x00" in values[0]:
            raise InvalidRequest(f"{name}: must not be empty")
        return values[0]

    def integer(self, name: str) -> int | None:
        """Return a whole number of at least 1. Raises InvalidRequest."""
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) >= 1):
            raise InvalidRequest(f"{name}: must be a whole number of at least 1, not {text[:40]!r}")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """Return the page size. Raises InvalidRequest."""
        value = self.integer("limit")
        if value is not None and value > most:
            raise InvalidRequest(f"limit: must be between 1 and {most}, not {value}")
        return default if value is None else value

    def flag(self, name: str) -> bool:
        """Return a boolean, false when absent. Raises InvalidRequest."""
        return self.choice(name, ("true", "false")) == "true"

    def choice(self, name: str, allowed: Collection[str]) -> str | None:
        """Return one of *allowed*. Raises InvalidRequest."""
        text = self.text(name)
        if text is not None and text not in allowed:
            raise InvalidRequest(f"{name}: must be one of {', '.join(allowed)}, not {text[:60]!r}")
        return text

    def order(self, default: Order) -> Order:
        """Return the sort direction. Raises InvalidRequest."""
        text = self.choice("order", ("asc", "desc"))
        if text is None:
            return default
        return "asc" if text == "asc" else "desc"

    def choices(self, name: str, allowed: Collection[str], *, most: int) -> tuple[str, ...]:
        """Return the values of ``name[]`` (or a bare repeated ``name``). Raises InvalidRequest."""
        values = [*self._params.getlist(f"{name}[]"), *self._params.getlist(name)]
        if len(values) > most:
            raise InvalidRequest(f"{name}[]: may have at most {most} values, not {len(values)}")
        for value in values:
            if value not in allowed:
                raise InvalidRequest(f"{name}[]: {value[:60]!r} is not one of {', '.join(allowed)}")
        return tuple(dict.fromkeys(values))

    def texts(self, name: str, *, most: int) -> tuple[str, ...] | None:
        """Return the values of ``name[]`` (or a repeated ``name``), each once; None without. Raises InvalidRequest."""
        values = dict.fromkeys([*self._params.getlist(f"{name}[]"), *self._params.getlist(name)])
        if len(values) > most:
            raise InvalidRequest(f"{name}[]: may have at most {most} values, not {len(values)}")
        if any(not value or "\x00" in value for value in values):
            raise InvalidRequest(f"{name}[]: must not be empty")
        return tuple(values) or None

    def created_at(self) -> TimeRange:
        """Return the bounds of ``created_at[gt]``, ``[gte]``, ``[lt]`` and ``[lte]``. Raises InvalidRequest."""
        return TimeRange(*(self._time(f"created_at[{bound}]") for bound in ("gt", "gte", "lt", "lte")))

    def _time(self, name: str) -> datetime | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_rfc3339(text)
        except (ValueError, OverflowError):
            raise InvalidRequest(f"{name}: must be an RFC 3339 time such as 2026-11-21T00:00:00Z") from None
