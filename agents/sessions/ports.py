"""Everything a harness works with, handed to it by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.brain_settings import BrainPrice
from agents.brains.assembly import TokenUsage
from agents.brains.port import Brain
from agents.clock import Clock
from agents.config import Settings
from agents.economics.meter import Meter
from agents.hands.port import Hands
from agents.sessions.bus import Bus
from agents.sessions.ledger import EffectCounts
from agents.sessions.log import EventLog, Leases
from agents.sessions.wire import RuntimePrice


class Prices(RuntimePrice, Protocol):
    """The part of the price book that turns tokens into list cost."""

    def cost(self, model: str, usage: TokenUsage, *, speed: str | None, own: BrainPrice | None = None) -> int:
        """Return micro-USD, at the brain's *own* price if it has one, else at list price; 0 for a model without one."""
        ...


@dataclass(frozen=True, slots=True)
class HarnessPorts:
    """The ports of one harness."""

    settings: Settings
    log: EventLog
    leases: Leases
    brain: Brain
    hands: Hands
    clock: Clock
    meter: Meter
    bus: Bus
    prices: Prices
    tool_definitions: Callable[[], Sequence[dict[str, Any]]]
    """Definitions of the built-in tools that the hands can run."""
    effects: EffectCounts = field(default_factory=EffectCounts)
