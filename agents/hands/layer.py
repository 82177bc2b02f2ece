"""What a sandbox has besides the system: a read-only tree of packages, the same for all sessions of an environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = "/opt/packages"
"""Where it is mounted."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Layer:
    """A tree on the host's disk that nobody changes any more."""

    digest: str
    path: Path = field(compare=False)
    variables: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """Environment variables by which programs find what is in it; ``PATH`` is put before the system's."""
    writable: bool = field(default=False, compare=False)
    """Whether it is being made."""
