"""Taking secrets out of what a stranger's server says: some repeat what they were shown, in an error or a result.

A secret is found plain, as in a URL or a form, in JSON and in base64. A server that means to pass it on in another form
has it anyway, and is whom the vault's owner has chosen.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus

import orjson

SHOWN = "[redacted]"

T = TypeVar("T")


class Redaction:
    """Knows some secrets in every spelling."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found: set[str] = set()
        for secret in secrets:
            encoded = orjson.dumps(secret).decode()[1:-1]
            base64 = b64encode(secret.encode()).decode()
            found |= {secret, encoded, encoded.replace("/", "\\/"), quote(secret, safe=""), quote_plus(secret), base64}
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
