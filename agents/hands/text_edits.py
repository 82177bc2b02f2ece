"""The text rules of read and edit, free of any file system, so that every kind of hands shares them."""

from __future__ import annotations

import base64
import posixpath
from typing import Any

from agents.hands.tool_failure import ToolFailure

MAX_TEXT_BYTES = 256 * 1024
MAX_IMAGE_BASE64_BYTES = 5 * 1024 * 1024
MAX_PDF_BYTES = 20 * 1024 * 1024
_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
}


def media_type(path: str) -> str | None:
    """Return the media type of a file that is shown as a block rather than as text, by its extension."""
    return _MEDIA_TYPES.get(posixpath.splitext(path)[1].lower())


def media_limit(kind: str) -> int:
    """Return how many raw bytes of a media file fit (the image cap is on its base64 form)."""
    return MAX_PDF_BYTES if kind == "application/pdf" else MAX_IMAGE_BASE64_BYTES // 4 * 3


def media_block(kind: str, data: bytes) -> dict[str, Any]:
    """Wrap an image or a PDF as a content block."""
    source = {"type": "base64", "media_type": kind, "data": base64.b64encode(data).decode("ascii")}
    return {"type": "document" if kind == "application/pdf" else "image", "source": source}


def decode_text(tool: str, path: str, data: bytes) -> str:
    """Decode UTF-8; raises ToolFailure for anything else."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        hint = "cannot edit binary files" if tool == "edit" else "binary files only as images or PDF, by extension"
        raise ToolFailure(f"{tool}: {path}: not valid UTF-8 text ({hint})") from error


def replace_text(path: str, text: str, old: str, new: str, *, every: bool) -> tuple[str, int]:
    """Return the edited text and the number of replacements; raises ToolFailure when the match is not clear."""
    count = text.count(old)
    if count == 0:
        raise ToolFailure(f"edit: old_string not found in {path}")
    if count > 1 and not every:
        raise ToolFailure(f"edit: old_string appears {count} times in {path} (must be unique)")
    return text.replace(old, new), count


def too_large(tool: str, path: str, size: int, limit: int) -> ToolFailure:
    """Phrase the refusal of a file over the size limit."""
    if tool == "edit":
        advice = "edit loads the whole file and cannot change one this large."
    else:
        advice = "Use view_range to read a part of it, for example view_range: [1, 500]."
    return ToolFailure(f"{tool}: {path} is {size} bytes, over the {limit}-byte limit. {advice}")


class LineWindow:
    """Collects the lines *first* to *last* (counted from 1; last <= 0 is the end) from pieces of a file.

    Only line feeds divide lines. The selected bytes are bounded: ``feed`` raises ToolFailure above the limit.
    """

    def __init__(self, path: str, first: int, last: int, limit: int = MAX_TEXT_BYTES) -> None:
        self._path = path
        self._skip = max(0, first - 1)
        self._left = last - self._skip if last > 0 else None
        self._limit = limit
        self._kept = bytearray()

    @property
    def full(self) -> bool:
        """Whether every wanted line has been seen."""
        return self._left is not None and self._left <= 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the file."""
        position = 0
        while position < len(piece) and not self.full:
            end = piece.find(b"\n", position)
            stop = len(piece) if end < 0 else end + 1
            if self._skip == 0:
                self._keep(piece[position:stop])
            if end >= 0:
                self._next_line()
            position = stop

    def text(self) -> str:
        """Return the selected lines, without the line feed after the last one when more was asked to follow."""
        data = bytes(self._kept)
        if self.full and data.endswith(b"\n"):
            data = data[:-1]
        return decode_text("read", self._path, data)

    def _keep(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > self._limit:
            raise ToolFailure(
                f"read: the lines asked for of {self._path} are over the {self._limit}-byte limit; "
                "ask for fewer (bash can show part of a single long line)"
            )

    def _next_line(self) -> None:
        if self._skip > 0:
            self._skip -= 1
        elif self._left is not None:
            self._left -= 1
