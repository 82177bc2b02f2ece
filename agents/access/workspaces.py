"""Workspaces: tenants of one platform, who know nothing of each other's objects."""

from __future__ import annotations

import re

DEFAULT_WORKSPACE = "default"
"""Of what was made before there were workspaces, with a key of the settings, or without any key."""

WORKSPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What a workspace may be called; it is there as soon as a key names it."""


def principal_of(workspace_id: str) -> str:
    """Return the name that limits, shares, vaults, caches and meters count the keys of a workspace by.

    One name for all of them: a key is replaced by a new one without losing what the old one made. The prefix keeps it
    apart from the names of keys in the settings, which have no colon.
    """
    return DEFAULT_WORKSPACE if workspace_id == DEFAULT_WORKSPACE else f"workspace:{workspace_id}"
