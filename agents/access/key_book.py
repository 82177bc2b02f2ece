"""Which keys of the store are good just now, as one replica of the edge knows it.

What was read is trusted for a few seconds: so long a revoked key may still open things here, and so often a busy key
costs a question to the database. Memory is bounded; who tries many keys pushes out only what can be asked again.
"""

from __future__ import annotations

import hmac
import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import timedelta

from agents.access.keys import digest_of, id_of
from agents.access.records import ApiKeyRecord, ApiKeys
from agents.clock import Clock
from agents.errors import AuthenticationFailed, Unavailable

_log = logging.getLogger(__name__)

_MOST = 10_000
_TOUCH = timedelta(minutes=1)
"""``last_used_at`` is kept so exactly: a write a minute at most, however busy the key."""


@dataclass(frozen=True, slots=True)
class _Known:
    key: ApiKeyRecord | None
    until: float


class KeyBook:
    """Looks keys up, and remembers for *seconds*."""

    def __init__(self, keys: ApiKeys, clock: Clock, *, seconds: float) -> None:
        self._keys = keys
        self._clock = clock
        self._seconds = seconds
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._exist = False
        self._asked_at: float | None = None

    async def find(self, shown: str) -> ApiKeyRecord | None:
        """Return the good key that *shown* is; None when it is no key of the store.

        Raises AuthenticationFailed for one that is revoked or expired, Unavailable.
        """
        key_id = id_of(shown)
        key = None if key_id is None else await self._read(key_id)
        if key is None or not hmac.compare_digest(key.digest, digest_of(shown)):
            return None
        if key.revoked_at is not None:
            raise AuthenticationFailed("the API key is not valid: it was revoked")
        if not key.is_good(self._clock.now()):
            raise AuthenticationFailed("the API key is not valid: it has expired")
        await self._note_use(key)
        return key

    async def exist(self) -> bool:
        """Whether the store has ever had a key; no longer asked once it has. Raises Unavailable."""
        now = self._clock.monotonic()
        if not self._exist and (self._asked_at is None or now - self._asked_at >= self._seconds):
            self._exist = await self._keys.exist()
            self._asked_at = now
        return self._exist

    async def lapsed(self, key_id: str, *, every_seconds: float) -> None:
        """Return when the key opens nothing any more: what it has open must end then, too."""
        while True:
            await self._clock.sleep(every_seconds)
            try:
                key = await self._read(key_id)
            except Unavailable:
                continue  # whoever cannot be asked has revoked nothing
            if key is None or not key.is_good(self._clock.now()):
                return

    async def _read(self, key_id: str) -> ApiKeyRecord | None:
        known = self._known.get(key_id)
        if known is None or known.until <= self._clock.monotonic():
            key = await self._keys.find(key_id)
            known = self._known[key_id] = _Known(key, self._clock.monotonic() + self._seconds)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        self._known.move_to_end(key_id)
        return known.key

    async def _note_use(self, key: ApiKeyRecord) -> None:
        now = self._clock.now()
        if key.last_used_at is not None and now - key.last_used_at < _TOUCH:
            return
        known = self._known[key.id]
        self._known[key.id] = replace(known, key=replace(key, last_used_at=now))
        try:
            await self._keys.touch(key.id, now)
        except Unavailable as error:
            # The key is good all the same: when it was used last is for people.
            _log.warning("could not note the use of %s: %s", key.id, error.message)
