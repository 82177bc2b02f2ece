"""Settings of API keys that are kept in the store."""

from __future__ import annotations

from pydantic import Field

from agents.settings_base import Section


class AccessSettings(Section):
    """API keys and workspaces; see docs/security.md."""

    key_cache_seconds: float = Field(default=2.0, ge=0, le=60)
    """How long a replica of the edge trusts what it knows of a key: a revoked one opens nothing after this time."""
    max_keys: int = Field(default=1000, ge=1, le=100_000)
    """Keys of all workspaces that are not revoked."""
    share_between_workspaces: bool = False
    """Deal ``gateway.key_share`` out also where the settings have fewer than two keys: set it when keys of the store
    are of several workspaces."""
