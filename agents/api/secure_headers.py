"""Headers that keep browsers and caches from doing with an answer what nobody meant (OWASP's Secure Headers Project).

An answer that says something of its own under one of these names keeps it: a page has its own policy, a stream its own
word on caches (a proxy must not hold it back, and nobody stores what has no end).
"""

from __future__ import annotations

from collections.abc import Iterable

Header = tuple[bytes, bytes]

_ALWAYS: tuple[Header, ...] = (
    # An answer is what its media type says, whatever a browser makes of its first bytes.
    (b"x-content-type-options", b"nosniff"),
    # Sessions' contents stay out of the disk of a browser and of shared caches.
    (b"cache-control", b"no-store"),
    # JSON that is opened as a page loads nothing, runs nothing, and is framed by nobody.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    # Ids in our paths are no other site's business.
    (b"referrer-policy", b"no-referrer"),
)


class SecureHeaders:
    """Adds what an answer does not say itself; *hsts_seconds* of 0 leaves ``Strict-Transport-Security`` out."""

    def __init__(self, *, hsts_seconds: int) -> None:
        hsts = (b"strict-transport-security", f"max-age={hsts_seconds}; includeSubDomains".encode())
        self._headers = (*_ALWAYS, hsts) if hsts_seconds else _ALWAYS

    def beside(self, headers: Iterable[Header]) -> list[Header]:
        """Return *headers* with those that are missing."""
        given = list(headers)
        names = {name.lower() for name, _ in given}
        return [*given, *(header for header in self._headers if header[0] not in names)]
