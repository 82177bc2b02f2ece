"""What the HTTP edge stands on: the one object that a process composes and hands to ``create_app``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents.clock import Clock
from agents.config import Settings
from agents.sessions.host import SessionHost
from agents.sessions.wire import RuntimePrice
from agents.store.ports import Store


@dataclass(frozen=True, slots=True)
class Platform:
    """The parts behind the API.

    ``metrics`` renders the Prometheus exposition; ``ready`` reports on the parts and answers (or
    raises) within seconds: a report whose ``ready`` is false makes ``/-/readyz`` answer 503.
    """

    settings: Settings
    store: Store
    sessions: SessionHost
    clock: Clock
    prices: RuntimePrice
    metrics: Callable[[], bytes | Awaitable[bytes]]
    ready: Callable[[], Awaitable[dict[str, Any]]]
