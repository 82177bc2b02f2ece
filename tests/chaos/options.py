"""What one chaos run is asked for: everything that decides its course, so that it can be named and repeated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tests.chaos.plan import KINDS

Store = Literal["sqlite", "postgresql"]

SOAK_RATE = 40
"""Sessions per minute of a soak: about a third of what two cores can do."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run. Times in seconds."""

    store: Store = "postgresql"
    seed: int = 1
    sessions: int = 500
    rounds: int = 5
    """Tool rounds of each session before its closing turn."""
    kills: int = 118
    """Actions of the nemesis, upgrades included; 0 leaves everything alone."""
    rolls: bool = True
    """Whether the platform's parts are also upgraded meanwhile (``hecaton roll``)."""
    interval: float = 4.0
    """Mean time between two actions."""
    harnesses: int = 3
    hosts: int = 3
    brains: int = 2
    gateways: int = 2
    cpu_nodes: int = 2
    """Raylets without a GPU, beside the head (which runs no work) and the one with a logical GPU."""
    patience: float = 300.0
    """How long the sessions may take to end once the nemesis has stopped."""
    only: tuple[str, ...] = ()
    """Names of the actions that may happen; all when empty."""
    soak: float = 0.0
    """Minutes of steady load, in which every session is deleted after its end; 0 is a run of the usual kind."""

    @property
    def spread(self) -> float:
        """Over how long the sessions arrive: most of the nemesis's time, so that every action meets some."""
        return 60 * self.soak or max(2.0, 0.85 * self.kills * self.interval)

    @classmethod
    def soaking(cls, minutes: float, *, disturbed: bool, interval: float = 15.0, **more: Any) -> Options:
        """A soak: so many sessions that the machine is busy and keeps up, and rarer actions or none."""
        kills = int(60 * minutes / interval) if disturbed else 0
        sessions = max(len(KINDS) + 1, int(SOAK_RATE * minutes))
        return cls(soak=minutes, sessions=sessions, kills=kills, interval=interval, **more)

    def facts(self) -> dict[str, Any]:
        return asdict(self)


SMALL = Options(sessions=54, kills=22, interval=3.0, patience=120.0, rolls=False)
"""What the test suite runs, less than three minutes with start and end: every kind of death once."""
