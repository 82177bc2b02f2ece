"""A little web beside the model: pages for web_fetch under ``/web/``, and a SearXNG for web_search at ``/search``."""

from __future__ import annotations

import gzip
from urllib.parse import parse_qs

import orjson

HTML = (
    "<!doctype html><title>A page</title><h1>Hello</h1><p>Read the <a href='next'>next page</a>.</p>"
    "<script>not('seen')</script>"
)
PDF = b"%PDF-1.4\n%stub\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
_PAGES: dict[str, tuple[str, bytes]] = {
    "page": ("text/html; charset=utf-8", HTML.encode()),
    "next": ("text/plain", b"the end"),
    "long": ("text/plain", b"x" * 500_000),
    "pdf": ("application/pdf", PDF),
    "image": ("image/png", PNG),
    "binary": ("application/zip", bytes(10)),
}
_REDIRECTS = {"private": "http://10.0.0.1/", "metadata": "http://169.254.169.254/latest/meta-data/", "moved": "next"}

Reply = tuple[int, list[tuple[bytes, bytes]], bytes]


def web_reply(path: str, query: str, host: str) -> Reply | None:
    """Return what the web has at *path*, None when that is no part of it."""
    if path == "/search":
        text = parse_qs(query).get("q", [""])[0]
        results = [{"url": f"http://{host}/web/page", "title": f"About {text}", "content": "An excerpt."}]
        return 200, [(b"content-type", b"application/json")], orjson.dumps({"query": text, "results": results})
    name = path.removeprefix("/web/")
    if name == path:
        return None
    if name in _REDIRECTS:
        return 302, [(b"location", _REDIRECTS[name].encode())], b""
    if name not in _PAGES:
        return 404, [(b"content-type", b"text/plain")], b"nothing here"
    kind, body = _PAGES[name]
    return 200, [(b"content-type", kind.encode()), (b"content-encoding", b"gzip")], gzip.compress(body)
