"""What the HTTP edge stands on: the one object that a process composes and hands to ``create_app``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from agents.api.request_trace import RequestSpans
from agents.brains.port import Brain, TokenCounters
from agents.brains.release_keeper import ReleaseKeeper
from agents.clock import Clock
from agents.config import Settings
from agents.economics.meter import Meter
from agents.economics.price_book import PriceBook
from agents.files.service import Files
from agents.governance.hand_releases import HandReleases
from agents.hands.deployed.deployments import HandDeployer, NotDeploying
from agents.hands.servers.port import NoServers, PlacedServers
from agents.sessions.host import SessionHost
from agents.skills.records import SkillArchives
from agents.standby.port import Standby
from agents.store.ports import Store
from agents.telemetry.recorder import Recorder, SilentRecorder


@dataclass(frozen=True, slots=True)
class Platform:
    """The parts behind the API.

    ``brain`` and ``counters`` answer clients of the Messages API, whose requests go to no session; ``releases`` are
    what ``brain`` deals sessions out by, and ``hand_releases`` what hands are.
    ``metrics`` renders the Prometheus exposition; ``ready`` reports on the parts and answers (or
    raises) within seconds: a report whose ``ready`` is false makes ``/-/readyz`` answer 503.
    ``standby`` decides which new sessions a monolith beside the parts gets; None: there is none. ``spans`` takes the
    spans of requests; None: they are not traced. ``deployer`` runs hands, and ``deployed`` leads to them, for clients
    who call them without a session. ``recorder`` gets the figures of requests and streams.
    """

    settings: Settings
    store: Store
    sessions: SessionHost
    clock: Clock
    prices: PriceBook
    brain: Brain
    counters: TokenCounters
    releases: ReleaseKeeper
    hand_releases: HandReleases
    meter: Meter
    files: Files
    skill_archives: SkillArchives
    metrics: Callable[[], bytes | Awaitable[bytes]]
    ready: Callable[[], Awaitable[dict[str, Any]]]
    standby: Standby | None = None
    spans: RequestSpans | None = None
    deployer: HandDeployer = field(default_factory=NotDeploying)
    deployed: PlacedServers = field(default_factory=NoServers)
    recorder: Recorder = field(default_factory=SilentRecorder)
