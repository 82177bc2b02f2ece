"""How the sessions of one brain are dealt out among its versions, and what may become of that.

Every function here is pure: a split and what happens to it give the next split. Which version a session gets is a
function of its id and the weights, and a weight that grows takes no session away from the version that it is of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agents.brain_settings import BrainDefinition
from agents.errors import InvalidRequest

_PERCENT = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Split:
    """Which version is current, and which others get a part of the new sessions."""

    current: str
    weights: Mapping[str, int] = field(default_factory=lambda: {})
    """Percent of the new sessions, by version; the current one gets the rest."""
    previous: str | None = None
    """What was current before it."""
    withdrawn: Mapping[str, str] = field(default_factory=lambda: {})
    """Versions that were rolled back, and why: none of their sessions stays with them."""
    promoted_at: int | None = None
    """When the current version took the place of the previous one, in seconds since 1970."""


def declared_split(definition: BrainDefinition) -> Split:
    """Return the split that a declaration asks for."""
    weights = {version: each.weight for version, each in definition.versions.items() if each.weight}
    return Split(definition.version, weights)


def fitted(split: Split, definition: BrainDefinition) -> Split:
    """Return *split* without the versions that are no longer declared."""
    there = {definition.version, *definition.versions}
    current = split.current if split.current in there else definition.version
    previous = split.previous if split.previous in there - {current} else None
    return Split(
        current,
        {version: weight for version, weight in split.weights.items() if version in there - {current}},
        previous,
        {version: why for version, why in split.withdrawn.items() if version in there - {current}},
        None if previous is None else split.promoted_at,
    )


def version_for(name: str, split: Split, session_id: str) -> str:
    """Return the version of the brain *name* that a new session gets."""
    digest = hashlib.blake2b(f"{name}/{session_id}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest) % _PERCENT
    for version, percent in sorted(split.weights.items()):
        if place < percent:
            return version
        place -= percent
    return split.current


def weight_of(split: Split, version: str) -> int:
    """Return how many percent of the new sessions *version* gets."""
    if version == split.current:
        return _PERCENT - sum(split.weights.values())
    return split.weights.get(version, 0)


def released(split: Split, version: str, weight: int) -> Split:
    """Give *version* a part of the new sessions. Raises InvalidRequest when there is not that much to give."""
    if version == split.current:
        raise InvalidRequest(f"version: {version!r} is the current one; it gets what the others leave")
    weights = {**_without(split.weights, version), **({version: weight} if weight else {})}
    if (percent := sum(weights.values())) > _PERCENT:
        raise InvalidRequest(f"weight: with {weight} the versions would get {percent} percent of the new sessions")
    withdrawn = _without(split.withdrawn, version) if weight else split.withdrawn
    return replace(split, weights=weights, withdrawn=withdrawn)


def promoted(split: Split, version: str, at: int | None = None) -> Split:
    """Make *version* the current one, now (*at*): all new sessions that no other version gets are its."""
    if version == split.current:
        return split
    weights, withdrawn = _without(split.weights, version), _without(split.withdrawn, version)
    return Split(version, weights, previous=split.current, withdrawn=withdrawn, promoted_at=at)


def judged(split: Split, after_promotion: float, now: int) -> Sequence[str]:
    """Return the versions that are judged: those on trial, and the current one for *after_promotion* seconds.

    Only as long as there is one before it to go back to.
    """
    if split.previous is None or split.promoted_at is None or now - split.promoted_at >= after_promotion:
        return list(split.weights)
    return [*split.weights, split.current]


def rolled_back(split: Split, version: str, why: str) -> Split:
    """Withdraw *version*; when it is the current one, the one before it is current again.

    Raises InvalidRequest when there is none before it.
    """
    withdrawn = {**split.withdrawn, version: why}
    if version != split.current:
        weights = _without(split.weights, version)
        gone = split.previous == version
        previous, promoted_at = (None, None) if gone else (split.previous, split.promoted_at)
        return replace(split, weights=weights, previous=previous, withdrawn=withdrawn, promoted_at=promoted_at)
    if split.previous is None:
        raise InvalidRequest(f"version: {version!r} is the current one, and there is none before it to go back to")
    return Split(split.previous, _without(split.weights, split.previous), None, withdrawn)


def on_trial(split: Split) -> str:
    """Return the version that a roll-back means when it names none. Raises InvalidRequest when that is not clear."""
    if len(split.weights) > 1:
        raise InvalidRequest(f"version: name one of {', '.join(sorted(split.weights))}; all of them get sessions")
    return next(iter(split.weights), split.current)


def _without(versions: Mapping[str, T], version: str) -> dict[str, T]:
    return {each: value for each, value in versions.items() if each != version}
