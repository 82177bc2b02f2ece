"""When new sessions go to the standby monolith, and when back: a circuit breaker over the whole decoupled path.

Its states are those of ``agents.brains.circuit`` one level up: *decoupled* (closed), *monolith* (open), and *trial*
(half-open), in which a part of the new sessions tries the parts again. It cannot flap: each way through takes at least
a pause and a trial, and a trial that fails doubles the pause.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from agents.settings_sections import StandbySettings

Forced = Literal["decoupled", "monolith"]


class Mode(StrEnum):
    """Where new sessions go."""

    DECOUPLED = "decoupled"
    MONOLITH = "monolith"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class Switch:
    """How the breaker stands. Moments and spans are seconds, by wall time: it outlives processes."""

    mode: Mode = Mode.DECOUPLED
    since: float = 0.0
    reason: str = ""
    pause: float = 0.0
    """How long the parts are left alone before the next trial."""
    switches: int = 0
    """How often new sessions were sent to the monolith."""
    forced: bool = False
    """Whether somebody has said so, and it stays until somebody says otherwise."""

    def share(self, trial_share: float) -> float:
        """Return the part of the new sessions that the monolith gets."""
        match self.mode:
            case Mode.DECOUPLED:
                return 0.0
            case Mode.MONOLITH:
                return 1.0
            case Mode.TRIAL:
                return 1.0 - trial_share


@dataclass(frozen=True, slots=True)
class Health:
    """How the decoupled path does, and whether there is a way around it."""

    requests: int = 0
    failed: int = 0
    outage: str | None = None
    """Which part has been away for longer than it may."""
    standby: bool = True
    """Whether a replica of the monolith is there."""


def broken_bound(bounds: StandbySettings, health: Health) -> str | None:
    """Return which of *bounds* the decoupled path breaks, with the figures; None when it keeps to them."""
    if health.outage is not None:
        return health.outage
    if health.requests < bounds.min_requests or health.failed / health.requests <= bounds.max_error_rate:
        return None
    return f"{health.failed} of {health.requests} requests were lost, and {bounds.max_error_rate:.0%} may"


def judged(switch: Switch, bounds: StandbySettings, health: Health, now: float) -> Switch:
    """Return how the breaker stands from *now* on; the same object while nothing changes.

    *health* counts what has ended since the switch, and within ``bounds.window_seconds``.
    """
    if switch.forced:
        return switch
    if switch.mode is Mode.DECOUPLED:
        why = broken_bound(bounds, health)
        return _to_monolith(switch, why, bounds.pause_seconds, now) if why and health.standby else switch
    if not health.standby:
        return replace(switch, mode=Mode.DECOUPLED, since=now, reason="the monolith is away")
    if switch.mode is Mode.MONOLITH:
        rested = now - switch.since >= switch.pause
        why = "the parts are tried again"
        # A part that is still away needs no trial: it would be one of sessions.
        return replace(switch, mode=Mode.TRIAL, since=now, reason=why) if rested and not health.outage else switch
    if (why := broken_bound(bounds, health)) is not None:
        return _to_monolith(switch, why, min(bounds.longest_pause_seconds, 2 * switch.pause), now)
    if now - switch.since >= bounds.trial_seconds and health.requests >= bounds.min_requests:
        why = f"{health.failed} of {health.requests} requests of the trial were lost"
        return replace(switch, mode=Mode.DECOUPLED, since=now, reason=why)
    return switch


def forced(switch: Switch, mode: Forced | None, bounds: StandbySettings, now: float) -> Switch:
    """Return how the breaker stands when somebody has said where new sessions go; with None it decides again."""
    if mode is None:
        return replace(switch, forced=False, since=now, reason="left to itself by command")
    if mode == "decoupled":
        return replace(switch, mode=Mode.DECOUPLED, since=now, reason="by command", forced=True)
    return replace(_to_monolith(switch, "by command", bounds.pause_seconds, now), forced=True)


def _to_monolith(switch: Switch, why: str, pause: float, now: float) -> Switch:
    more = switch.mode is not Mode.MONOLITH
    return replace(
        switch, mode=Mode.MONOLITH, since=now, reason=why, pause=pause, switches=switch.switches + more, forced=False
    )
