"""The configured driver of sandboxes."""

from __future__ import annotations

from agents.config import SandboxSettings
from agents.hands.bubblewrap import BubblewrapDriver
from agents.hands.plain_process import PlainProcessDriver
from agents.hands.sandbox import NoDriver, SandboxDriver


def driver_for(settings: SandboxSettings) -> SandboxDriver:
    """Return the configured driver."""
    match settings.driver:
        case "bubblewrap":
            return BubblewrapDriver(settings)
        case "process":
            return PlainProcessDriver(settings)
        case "none":
            return NoDriver()


def check(settings: SandboxSettings) -> list[str]:
    """Return what keeps tools from working on this machine, in words for a person; empty when all is well."""
    return driver_for(settings).check()
