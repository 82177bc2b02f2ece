"""How often one API key may ask (spec A.12, E.2): token buckets, one per key for writes and one for reads.

A bucket holds a minute's worth and refills evenly, so a pause earns a burst of at most that much. Each
replica of the gateway keeps buckets of its own with its part of the limit, and its headers tell of them.
Keys and workspaces of the store, and environments of workers, may be many: of those beyond a bound the bucket goes that
was used longest ago, which has filled up again by then.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from agents.clock import Clock, rfc3339
from agents.config import GatewaySettings

_MINUTE = 60.0
MOST_BUCKETS = 20_000
"""About 5 MB."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a key stands after a request: ``retry_after`` (seconds) is set when the request was one too many."""

    limit: int
    remaining: int
    reset: str
    retry_after: float | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        fields = {"limit": str(self.limit), "remaining": str(self.remaining), "reset": self.reset}
        return [(f"anthropic-ratelimit-requests-{name}".encode(), value.encode()) for name, value in fields.items()]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimits:
    """The requests of all keys, counted."""

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self._clock = clock
        self._writes = settings.requests_per_minute / settings.replicas
        self._reads = settings.reads_per_minute / settings.replicas
        self._buckets: OrderedDict[tuple[str, bool], _Bucket] = OrderedDict()

    def spend(self, principal: str, method: str) -> Standing | None:
        """Count one request; None when there is no limit for its kind."""
        reads = method == "GET"
        per_minute = self._reads if reads else self._writes
        if per_minute <= 0:
            return None
        # A limit below the number of replicas still lets each of them serve.
        capacity, rate = max(per_minute, 1.0), per_minute / _MINUTE
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault((principal, reads), _Bucket(capacity, now))
        self._buckets.move_to_end((principal, reads))
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(capacity, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        short = 1.0 - bucket.tokens
        if short <= 0:
            bucket.tokens -= 1.0
        full = self._clock.now() + timedelta(seconds=(capacity - bucket.tokens) / rate)
        retry_after = short / rate if short > 0 else None
        return Standing(math.floor(capacity), math.floor(bucket.tokens), rfc3339(full), retry_after)
