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

_CPU_SECONDS = 20
_MEMORY_BYTES = 1024**3
_DEPTH = 20_000
_UNSEEN = ("script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "button", "select")
_BLANK_LINES = re.compile(r"\n[ \t]*(\n[ \t]*){2,}")
_LINKS = {"a": "href", "img": "src"}
_MAX_TITLE = 500


def convert(data: bytes, *, charset: str | None, url: str, characters: int) -> dict[str, Any]:
    """Return the page's title and its text as Markdown, links made absolute."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    page = BeautifulSoup(data, "html.parser", from_encoding=charset)
    title = page.title.get_text(" ", strip=True) if page.title else ""
    base = page.find("base", href=True)
    where = urljoin(url, str(base["href"])) if base else url
    for element in page.find_all(_UNSEEN):
        element.decompose()
    for element in (page.head, page.title):
        if element:
            element.decompose()
    for tag, attribute in _LINKS.items():
        for element in page.find_all(tag):
            _make_absolute(element, attribute, where)
    text = MarkdownConverter(heading_style="ATX", bullets="-", strip=["img"]).convert_soup(page.body or page)
    text = _BLANK_LINES.sub("\n\n", text).strip()
    return {"title": title[:_MAX_TITLE], "text": text[:characters], "cut": len(text) > characters}


def _make_absolute(element: Any, attribute: str, where: str) -> None:
    target = element.get(attribute)
    if target is None:
        return
    try:
        absolute = urljoin(where, str(target).strip())
    except ValueError:
        absolute = ""
    if absolute.startswith(("http://", "https://")):
        element[attribute] = absolute
    else:  # data:, javascript:, mailto: are of no use to who reads
        del element[attribute]


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
