"""Texts replaced in a stream of bytes, wherever its pieces are cut."""

from __future__ import annotations

import re
from collections.abc import Mapping


class Replacer:
    """Replaces each key of *table* by its value. What may be the start of a key is held back until more is known."""

    def __init__(self, table: Mapping[bytes, bytes]) -> None:
        self._table = dict(table)
        # The longest first, where one key is the start of another.
        self._keys = sorted((key for key in self._table if key), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._keys))) if self._keys else None
        self._held = b""

    def __bool__(self) -> bool:
        return self._pattern is not None

    def whole(self, data: bytes) -> bytes:
        """Replace in a text that is there as a whole."""
        return data if self._pattern is None else self._pattern.sub(lambda found: self._table[found[0]], data)

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and return what can be passed on."""
        if self._pattern is None:
            return data
        data = self._held + data
        end = max((found.end() for found in self._pattern.finditer(data)), default=0)
        keep = max(_overlap(data[end:], key) for key in self._keys)
        whole = len(data) - keep
        self._held = data[whole:]
        return self.whole(data[:whole])

    def finish(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return self.whole(held)


def _overlap(data: bytes, key: bytes) -> int:
    """Return how many bytes at the end of *data* are the start, but not the whole, of *key*."""
    at = max(0, len(data) - len(key) + 1)
    while (at := data.find(key[:1], at)) >= 0:
        if key.startswith(data[at:]):
            return len(data) - at
        at += 1
    return 0
