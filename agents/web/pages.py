"""Pages as content blocks: HTML as Markdown by a process of its own, text as it is, images and PDFs as such."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from agents.brains.policy import CHARACTERS_PER_TOKEN
from agents.hands.child_process import ChildProcess
from agents.hands.text_edits import media_block, media_limit
from agents.web.content import Kind, decoded, kind_of
from agents.web.failures import WebFailure
from agents.web.fetch import Page

Block = dict[str, Any]

_MAX_HTML_BYTES = 2 * 1024**2
"""More markup is cut off: its conversion takes some 5 s per megabyte."""
_MAX_ANSWER_BYTES = 16 * 1024**2
_MOST_TOKENS = 200_000
_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG")
_GONE = "its HTML could not be read"


@dataclass(frozen=True, slots=True)
class _Text:
    title: str
    text: str
    cut: bool


async def blocks_of(page: Page, *, max_tokens: int) -> list[Block]:
    """Return what a model is shown of *page*: about *max_tokens* of text. The caller bounds the time.

    Raises WebFailure for what it cannot be shown.
    """
    kind = kind_of(page)
    if kind.form == "media":
        return [_heading(page.url, ""), _media(page, kind)]
    characters = min(max_tokens, _MOST_TOKENS) * CHARACTERS_PER_TOKEN
    found = await _converted(page, kind, characters) if kind.form == "html" else _plain(page, kind, characters)
    body = found.text or "(the page has no text)"
    if found.cut:
        body += f"\n\n[cut off: only the first {len(found.text)} characters are shown]"
    return [_heading(page.url, found.title, body)]


def _heading(url: str, title: str, body: str = "") -> Block:
    head = f"URL: {url}" + (f"\nTitle: {title}" if title else "")
    text = f"{head}\n\n{body}" if body else head
    return {"type": "text", "text": text.encode(errors="replace").decode()}


def _media(page: Page, kind: Kind) -> Block:
    if page.cut or len(page.data) > media_limit(kind.media_type):
        raise WebFailure(
            "content_too_large", f"{kind.media_type} may have {media_limit(kind.media_type)} bytes at most"
        )
    return media_block(kind.media_type, page.data)


def _plain(page: Page, kind: Kind, characters: int) -> _Text:
    text = decoded(page.data, kind.charset).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return _Text("", text[:characters], page.cut or len(text) > characters)


async def _converted(page: Page, kind: Kind, characters: int) -> _Text:
    markup = page.data[:_MAX_HTML_BYTES]
    order = {"charset": kind.charset, "url": page.url, "characters": characters, "bytes": len(markup)}
    answer = bytearray()
    child = ChildProcess(
        [sys.executable, "-P", "-m", "agents.web.convert"],
        # Nothing of this process's environment but what finds the program: no secret is near a stranger's page.
        env={
            **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
            "PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path),
        },
        on_output=lambda piece: answer.extend(piece[: _MAX_ANSWER_BYTES - len(answer)]),
    )
    try:
        child.write(json.dumps(order).encode() + b"\n" + markup)
        code = await child.wait()
    finally:
        child.kill()
    try:
        found = json.loads(bytes(answer)) if code == 0 else None
    except ValueError:
        found = None
    if found is None:
        raise WebFailure("unavailable", _GONE)
    cut = bool(found["cut"]) or page.cut or len(page.data) > _MAX_HTML_BYTES
    return _Text(found["title"], found["text"], cut)
