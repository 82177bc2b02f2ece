"""Settings of the way out of sandboxes."""

from __future__ import annotations

from pydantic import Field, field_validator

from agents.hands.egress.host_rules import host_rules
from agents.settings_base import AbsolutePath, Section


class EgressSettings(Section):
    """What sandboxes may use of the network where their environment lets them (docs/environments.md)."""

    registries: list[str] = Field(default_factory=lambda: [])
    """Hosts that ``allow_package_managers`` opens, as in an environment's ``allowed_hosts``: those of your registries.
    With none, only what is installed for an environment reaches them, and its sessions do not."""
    ca_file: AbsolutePath | None = None
    """PEM file of more certificate authorities that the proxy trusts where it makes a TLS connection itself."""
    max_connections: int = Field(default=64, ge=1)
    """Open connections of one sandbox; above it 503."""
    max_bytes: int = Field(default=16 * 1024**3, ge=1024)
    """What one sandbox may send and receive in all until it is started anew."""
    connect_seconds: float = Field(default=10.0, gt=0)
    """Limit of reaching a host."""
    idle_seconds: float = Field(default=300.0, gt=0)
    """A connection on which nothing moves for this long is ended."""
    connection_seconds: float = Field(default=4 * 3600.0, gt=0)
    """Limit of one connection."""

    @field_validator("registries")
    @classmethod
    def _hosts(cls, registries: list[str]) -> list[str]:
        for entry in registries:
            if not host_rules([entry]):
                raise ValueError(f"{entry[:80]!r} is not a host; use pypi.example.com or *.example.com")
        return registries
