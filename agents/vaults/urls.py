"""When a credential's URL is a server's URL (spec A.8): compared as text, after what means nothing was taken away."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def normalized(url: str) -> str | None:
    """Return *url* with scheme and host in lower case, without default port, trailing slash and fragment.

    None for what is no http or https URL, or has a user name: no credential is for such a server.
    """
    if any(character <= " " or character == "\\" or character == "\x7f" for character in url):
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        return None
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{shown_host}{shown_port}{parts.path.removesuffix('/')}{query}"
