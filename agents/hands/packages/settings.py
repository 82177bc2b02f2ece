"""Settings of the packages of environments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from agents.settings_base import PASSWORD_IN_URL, Section

Manager = Literal["apt", "cargo", "gem", "go", "npm", "pip"]


class PackageSettings(Section):
    """How packages of environments are installed and kept (docs/environments.md)."""

    indexes: dict[Manager, str] = Field(default_factory=lambda: {})
    """Where a manager gets its packages from instead of its public registry: the URL that it takes as its index,
    registry, source or proxy; for ``apt`` a line of its sources. Name its host in ``egress.registries`` too. A password
    cannot be in it: what is installed runs code, which would read it."""
    build_seconds: float = Field(default=1800.0, gt=0)
    """Limit of installing the packages of one environment."""
    wait_seconds: float = Field(default=100.0, gt=0)
    """How long a tool call waits for that; then it is answered that they are still being installed."""
    retry_seconds: float = Field(default=60.0, ge=0)
    """A failure is told to every call for so long before the packages are tried again."""
    max_bytes: int = Field(default=8 * 1024**3, ge=1024**2)
    """What the packages of one environment may take on the disk, all that installing them needs included."""
    keep_bytes: int = Field(default=32 * 1024**3, ge=0)
    """What all of them together may take on one host; beyond it those unused longest are removed."""

    @field_validator("indexes")
    @classmethod
    def _without_passwords(cls, indexes: dict[Manager, str]) -> dict[Manager, str]:
        for manager, index in indexes.items():
            if PASSWORD_IN_URL.search(index):
                raise ValueError(f"{manager} has a user name or password in its URL, which packages could read")
        return indexes
