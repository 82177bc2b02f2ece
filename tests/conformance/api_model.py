"""A small model of the API's resources: what there must be after each request, kept as the raw JSON of the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
KINDS = ("agents", "environments", "vaults", "memory_stores", "sessions", "deployments", "files", "skills")
WITHOUT_ARCHIVE = frozenset({"files", "skills"})


def merged(bag: Mapping[str, str], patch: Mapping[str, str | None]) -> dict[str, str]:
    """A bag of metadata after an update: null deletes a key."""
    return {key: value for key, value in {**bag, **patch}.items() if value is not None}


def without_times(body: Mapping[str, Any]) -> Json:
    """An answer without what the clock decides."""
    return {key: value for key, value in body.items() if key not in ("updated_at", "stats")}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def in_the_way(path: str, others: Mapping[str, str]) -> str | None:
    """The memory whose path is taken, above or below *path*; *others* are paths by id."""
    for id, other in others.items():
        if other == path or other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            return id
    return None


@dataclass
class World:
    """Everything that there is, by kind and id, in the order in which it was made."""

    there: dict[str, dict[str, Json]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    versions: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    """Of agents, oldest first."""
    memories: dict[str, dict[str, Json]] = field(default_factory=dict[str, dict[str, Json]])
    """By store."""
    changes: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Operations on the memories of a store, oldest first."""
    credentials: dict[str, dict[str, Json]] = field(default_factory=dict[str, dict[str, Json]])
    """By vault."""
    skill_versions: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    turns: dict[str, int] = field(default_factory=dict[str, int])
    """Messages that a session was sent."""
    gone: list[str] = field(default_factory=list[str])
    """Paths of what was deleted."""

    def pick(self, kind: str, number: int) -> Json | None:
        """One thing of a kind, or None while there is none."""
        found = [*self.there[kind].values()]
        return found[number % len(found)] if found else None

    def listed(self, kind: str, archived: bool) -> list[str]:
        """The ids that a listing has: newest first."""
        shown = self.there[kind].values()
        return [each["id"] for each in reversed(shown) if archived or each.get("archived_at") is None]
