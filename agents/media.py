"""What bytes are, by how they begin, of the kinds that a model can be shown.

A block that is not what it is called fails every later request of its session: whatever comes from elsewhere is looked
at before it becomes one.
"""

from __future__ import annotations

from collections.abc import Mapping

IMAGES: Mapping[str, bytes] = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
PDF = "application/pdf"
_SNIFFED = 1024
"""A PDF may have so many other bytes before its first ones."""


def media_type_of(data: bytes) -> str | None:
    """Return the media type of an image or a PDF; None for anything else."""
    if b"%PDF-" in data[:_SNIFFED]:
        return PDF
    for kind, mark in IMAGES.items():
        if data.startswith(mark) and (kind != "image/webp" or data[8:12] == b"WEBP"):
            return kind
    return None
