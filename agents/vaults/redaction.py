"""Taking secrets out of what a stranger's server says: some repeat what they were shown, in an error or a result.

A secret is found plain, as in a URL or a form, in JSON, in HTML and in base64. A server that means to pass it on in
another form has it anyway, and is whom the vault's owner has chosen.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from html import escape
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus

SHOWN = "[redacted]"
_OPEN_IN_JAVASCRIPT = "!'()*"
"""What its ``encodeURIComponent`` leaves as it is, beside what everybody does."""
_PERCENT = re.compile("%[0-9A-F]{2}")

T = TypeVar("T")


def spellings(secret: str) -> set[str]:
    """Return the forms in which servers repeat *secret* as text."""
    in_json = {json.dumps(secret, ensure_ascii=narrow)[1:-1] for narrow in (True, False)}
    in_json |= {form.replace("/", "\\/") for form in in_json}
    in_urls = {quote(secret, safe=""), quote(secret, safe=_OPEN_IN_JAVASCRIPT), quote_plus(secret)}
    in_urls |= {_PERCENT.sub(lambda found: found[0].lower(), form) for form in in_urls}
    # Of quotes HTML knows several spellings: these are Python's and PHP's.
    in_html = {escape(secret), escape(secret, quote=False), escape(secret).replace("&#x27;", "&#039;")}
    return {secret, *in_json, *in_urls, *in_html}


def packed(secret: str) -> list[str]:
    """Return *secret* in base64: as usual and as for URLs, then both without padding."""
    forms = [encode(secret.encode()).decode() for encode in (b64encode, urlsafe_b64encode)]
    return [*forms, *(form.rstrip("=") for form in forms)]


class Redaction:
    """Knows some secrets in every spelling."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found: set[str] = set()
        for secret in secrets:
            found |= {*spellings(secret), *packed(secret)}
        # The longest first: one secret may be a part of another.
        self._spellings = sorted(filter(None, found), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return *text* without the secrets."""
        for spelling in self._spellings:
            text = text.replace(spelling, SHOWN)
        return text

    def value(self, value: T) -> T:
        """Return a JSON value, however deep, without the secrets in its strings and keys."""
        return cast("T", self._value(value)) if self._spellings else value

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._value(inner) for key, inner in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [self._value(inner) for inner in cast("list[Any]", value)]
        return value
