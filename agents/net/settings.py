"""Settings of outgoing connections."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic.networks import IPvAnyNetwork

from agents.net.guard import Guard
from agents.settings_base import Section


def _parted(value: object) -> object:
    """Part the text of ``--set network.allow_private=127.0.0.0/8,10.0.0.0/8``."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class NetworkSettings(Section):
    """Where this server connects to when a user or a model names the place (docs/web_tools.md)."""

    allow_private: Annotated[list[IPvAnyNetwork], BeforeValidator(_parted)] = Field(default_factory=lambda: [])
    """Networks such as ``127.0.0.0/8`` or ``10.20.0.0/16`` that MCP servers, pages and token endpoints may be in;
    others that are not public are refused. ``hecaton up --allow-private`` sets it."""
    ports: Annotated[list[int], BeforeValidator(_parted)] = Field(default_factory=lambda: [])
    """When given, no other ports are connected to."""
    lookup_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    """Limit of looking a name up."""

    def guard(self) -> Guard:
        """Return the guard that these settings mean."""
        return Guard(tuple(self.allow_private), frozenset(self.ports), self.lookup_timeout_seconds)
