"""Refusing web pages where no key is asked for: a browser on the operator's machine sends what any page tells it to.

A page can post to this server from its own origin, without reading the answer; and when it gives its own name the
address of this machine in between (DNS rebinding), it can read answers, too. Either would be enough to run code here,
as a hand. Where there are keys it gets nowhere, for it has none. Sources: WHATWG's Fetch standard (``Origin``), and
the MCP specification's warning to servers over HTTP.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from agents.errors import PermissionDenied

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|(?P<name>[A-Za-z0-9._-]*))(:[0-9]*)?")


def refuse_pages(scope: Scope) -> None:
    """Raise PermissionDenied for a request that a page of somebody else's may have sent."""
    told = {key: value.decode("latin-1") for key, value in scope["headers"] if key in (b"host", b"origin")}
    host, origin = told.get(b"host", ""), told.get(b"origin")
    if not _is_nobodys_name(host):
        raise PermissionDenied(
            f"a server without API keys is not reached by the name {host[:80]!r}, which a web page could have given its"
            " address; use an address or localhost, or set api_key"
        )
    if origin is not None and _authority(origin) != host.lower():
        raise PermissionDenied("a server without API keys takes no requests from web pages; set api_key")


def _is_nobodys_name(host: str) -> bool:
    """Whether no stranger can have the name: an address, one of this machine's, or one without a domain."""
    parts = _HOST.fullmatch(host)
    if parts is None:
        return False
    name = parts["name"] or ""
    if "." not in name.removesuffix(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _authority(origin: str) -> str | None:
    """Return host and port of an ``Origin``; None for the opaque one (``null``) and for what is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
