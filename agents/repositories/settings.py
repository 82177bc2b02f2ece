"""Settings of repositories in sessions."""

from __future__ import annotations

from pydantic import Field

from agents.settings_base import Section


class RepositorySettings(Section):
    """Git repositories that are copied into sessions' sandboxes."""

    clone_seconds: float = Field(default=120.0, gt=0)
    """Limit of one copy; the first tool call waits for it, so that it should be less than
    ``sandbox.tool_timeout_seconds``."""
    max_bytes: int = Field(default=2 * 1024**3, ge=1024**2)
    """What Git fetches for one copy may have as much, and what is checked out of that as much again; a
    ``sandbox.disk_bytes`` below it counts instead."""
