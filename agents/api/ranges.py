"""Ranges of bytes (RFC 9110, section 14): one at a time, as every server may choose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from agents.errors import HecatonError

_SPEC = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class RangeNotSatisfiable(HecatonError):
    """The range begins behind the end."""

    code: ClassVar[str] = "invalid_request_error"
    http_status: ClassVar[int] = 416


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes *start* to *start* + *length* of *size*."""

    start: int
    length: int
    size: int

    def content_range(self) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def wanted_range(header: str | None, if_range: str | None, etag: str, size: int) -> ByteRange | None:
    """Return the range that a request asks for; None for the whole, also for what is no range of one piece.

    A range with an ``If-Range`` for other bytes is not looked at. Raises RangeNotSatisfiable.
    """
    if header is None or (if_range is not None and if_range.strip() != etag):
        return None
    found = _SPEC.fullmatch(header.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        end = min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
        length = end - start + 1
    if start >= size or length <= 0:
        raise RangeNotSatisfiable(f"range: the file has {size} bytes", details={"size_bytes": size})
    return ByteRange(start, length, size)
