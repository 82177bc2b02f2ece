"""What kind of content a page is: by what its server says, and by its first bytes where that is nothing or too little.

Invariant: what is called an image or a PDF begins as one, for a block that a model cannot read would fail every later
request of the session.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from email.message import Message
from typing import Literal

from agents.media import IMAGES, PDF, media_type_of
from agents.web.failures import WebFailure
from agents.web.fetch import Page

_TEXTUAL = re.compile(
    r"text/.+|application/([a-z0-9.+-]+\+)?(json|xml|yaml)|application/(x-)?(javascript|ecmascript|ndjson|yaml|sh|toml)"
)
# What a comment has taken it never gives back: else a page of many comments could be read in 2**n ways.
_HTML = re.compile(rb"\s*+(?><!--.*?-->\s*+)*+<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SNIFFED = 1024
_FOR_NAMES = "punycode"
"""A codec of host names: a page in it takes time by the square of its length, and may fail in spite of ``replace``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """``media_type`` is that of a block for ``media``; ``charset`` is None when nobody says it."""

    form: Literal["html", "text", "media"]
    media_type: str
    charset: str | None = None


def kind_of(page: Page) -> Kind:
    """Return what *page* is. Raises WebFailure for what can be shown to no model."""
    named, charset = _said(page.content_type)
    head = page.data[:_SNIFFED]
    media = media_type_of(page.data)
    if named in IMAGES or named == PDF:
        if media != named and not (named in IMAGES and media in IMAGES):
            raise WebFailure("unsupported_content_type", f"it is called {named} and is none")
        return Kind("media", media or named)
    if named in ("text/html", "application/xhtml+xml"):
        return Kind("html", named, charset)
    if _TEXTUAL.fullmatch(named):
        return Kind("text", named, charset)
    if named in ("", "application/octet-stream", "binary/octet-stream"):
        if media is not None:
            return Kind("media", media)
        if _HTML.match(head):
            return Kind("html", "text/html", charset)
        if _is_text(page.data):
            return Kind("text", "text/plain", charset)
    raise WebFailure("unsupported_content_type", f"{named or 'content of an unknown type'} cannot be shown")


def decoded(data: bytes, charset: str | None) -> str:
    """Return text by its byte order mark, by *charset*, or as UTF-8; what does not fit becomes a question mark."""
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return data.decode(codec, errors="replace")
    return data.decode(charset or "utf-8", errors="replace")


def _said(header: str) -> tuple[str, str | None]:
    message = Message()
    message["content-type"] = header
    charset = message.get_param("charset")
    known = charset if isinstance(charset, str) and _is_codec(charset) else None
    # ``get_content_type`` would call what nobody has named text/plain.
    return header.partition(";")[0].strip().lower(), known


def _is_codec(name: str) -> bool:
    try:
        b"x".decode(name, "replace")
    except (LookupError, ValueError):
        return False
    return codecs.lookup(name).name != _FOR_NAMES


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
