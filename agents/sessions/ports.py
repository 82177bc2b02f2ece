"""Everything a harness works with, handed to it by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.brains.policy import TokenPrices
from agents.brains.port import Brain
from agents.clock import Clock
from agents.config import Settings
from agents.economics.meter import Meter
from agents.hands.port import Hands
from agents.hands.servers.cache import CacheCounts
from agents.hands.servers.port import NoServers, PlacedServers
from agents.sessions.budget import BudgetPrices
from agents.sessions.bus import Bus
from agents.sessions.compaction import CompactionCounts
from agents.sessions.events import Event, SessionRecord
from agents.sessions.ledger import EffectCounts
from agents.sessions.log import EventLog, Leases
from agents.sessions.state import SessionState
from agents.sessions.turn_slots import TurnSlots
from agents.telemetry.harness_metrics import HarnessMetrics
from agents.telemetry.tracing.port import NoTracing, Tracing


class Prices(BudgetPrices, TokenPrices, Protocol):
    """The part of the price book that turns running time and tokens into cost."""


class CommitObserver(Protocol):
    """Looks at the commits of one session."""

    def committed(self, record: SessionRecord, events: Sequence[Event]) -> None:
        """Take note of a commit: the row as it is now, and the events that got their place. Quick; never raises."""
        ...


class SessionObserver(Protocol):
    """Looks at the sessions of one harness."""

    def session(self, state: SessionState) -> CommitObserver | None:
        """Return what looks at the commits of a session from *state* on; None when nobody is to."""
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
    """Definitions of the built-in tools: those that the hands can run, and the web tools where ``servers`` has them."""
    servers: PlacedServers = field(default_factory=NoServers)
    """What runs the tools of MCP servers and the web tools."""
    effects: EffectCounts = field(default_factory=EffectCounts)
    compactions: CompactionCounts = field(default_factory=CompactionCounts)
    hand_cache: CacheCounts = field(default_factory=CacheCounts)
    """What ``servers`` has answered from memory."""
    metrics: HarnessMetrics = field(default_factory=HarnessMetrics)
    observers: Sequence[SessionObserver] = ()
    """Who else looks at what sessions commit."""
    tracing: Tracing = field(default_factory=NoTracing)
    slots: TurnSlots | None = None
    """What a turn must hold while it goes on; None: nothing."""
