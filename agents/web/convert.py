"""HTML to Markdown in a process of its own: ``python -m agents.web.convert``, one page per process.

A page is a stranger's. Parsing it takes seconds at worst, and holds the interpreter's lock: in a harness that would
stop every session. Here it has its own limits of time and memory, no secrets, and nothing to break.

Standard input: one line of JSON (``charset``, ``url``, ``characters``, ``bytes``), then the page. Standard output: JSON
with ``title`` and ``text``, at most so many characters of it, and ``cut``.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import warnings
from typing import Any
from urllib.parse import urljoin

from bs4 import BeautifulSoup, Tag
from markdownify import MarkdownConverter

_CPU_SECONDS = 20
_MEMORY_BYTES = 1024**3
_DEPTH = 20_000
_UNSEEN = ("script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "button", "select")
_BLANK_LINES = re.compile(r"\n[ \t]*(\n[ \t]*){2,}")
_MAX_TITLE = 500
_ENDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "li": (("li",), ("ul", "ol", "menu")),
    "dt": (("dt", "dd"), ("dl",)),
    "dd": (("dt", "dd"), ("dl",)),
    "td": (("td", "th"), ("tr", "table")),
    "th": (("td", "th"), ("tr", "table")),
    "tr": (("tr",), ("table",)),
}
"""What each of these elements ends when it begins, as far as to the element that holds both: HTML lets their end tags
be left out, and Python's parser does not know it."""


class _Page(BeautifulSoup):
    """A page in which list items and cells stand beside each other, also where nobody has closed them."""

    def handle_starttag(self, name: str, *more: Any, **named: Any) -> Tag | None:
        self.endData()  # the text so far belongs to what ends now
        ended, holders = _ENDS.get(name, ((), ()))
        tag = self.currentTag if ended else None
        while tag is not None and tag.name not in holders:
            if tag.name in ended:
                self._popToTag(tag.name)
                break
            tag = tag.parent
        return super().handle_starttag(name, *more, **named)


def convert(data: bytes, *, charset: str | None, url: str, characters: int) -> dict[str, Any]:
    """Return the page's title and its text as Markdown, links made absolute."""
    page = _Page(data, "html.parser", from_encoding=charset)
    title = page.title.get_text(" ", strip=True) if page.title else ""
    base = page.find("base", href=True)
    where = urljoin(url, str(base["href"])) if base else url
    for element in page.find_all(_UNSEEN):
        element.decompose()
    for element in (page.head, page.title):
        if element:
            element.decompose()
    for link in page.find_all("a"):
        _make_absolute(link, where)
    text = MarkdownConverter(heading_style="ATX", bullets="-", strip=["img"]).convert_soup(page.body or page)
    text = _BLANK_LINES.sub("\n\n", text).strip()
    return {"title": title[:_MAX_TITLE], "text": text[:characters], "cut": len(text) > characters}


def _make_absolute(link: Tag, where: str) -> None:
    target = link.get("href")
    if target is None:
        return
    try:
        absolute = urljoin(where, str(target).strip())
    except ValueError:
        absolute = ""
    if absolute.startswith(("http://", "https://")):
        link["href"] = absolute
    else:  # data:, javascript:, mailto: are of no use to who reads
        del link["href"]


def main() -> None:
    """Convert the page on standard input."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(_DEPTH)
    warnings.simplefilter("ignore")
    order = json.loads(sys.stdin.buffer.readline())
    # As many bytes as announced, for nobody closes the pipe.
    data = sys.stdin.buffer.read(order["bytes"])
    answer = convert(data, charset=order["charset"], url=order["url"], characters=order["characters"])
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
