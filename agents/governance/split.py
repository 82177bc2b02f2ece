"""How the sessions of one brain, or hand, are dealt out among its versions, and what may become of that.

Every function here is pure: a split and what happens to it give the next split. Which version a session gets is a
function of its id and the weights, and a weight that grows takes no session away from the version that it is of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

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


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """A split that was made while the platform ran. It holds as long as the settings ask for what they asked then."""

    split: Split
    declared: Split
    revision: int = 0
    """Grows by one with each change; 0 before the first."""


def split_in_force(stored: StoredSplit | None, declared: Split, there: Sequence[str]) -> Split:
    """Return the stored split unless the settings now ask for another; both as far as their versions are *there*."""
    made = declared if stored is None or stored.declared != declared else stored.split
    return fitted(made, declared.current if declared.current in there else there[0], there)


def fitted(split: Split, first: str, there: Collection[str]) -> Split:
    """Return *split* without the versions that are not *there* any more; *first* is current if none else is."""
    current = split.current if split.current in there else first
    others = set(there) - {current}
    previous = split.previous if split.previous in others else None
    return Split(
        current,
        {version: weight for version, weight in split.weights.items() if version in others},
        previous,
        {version: why for version, why in split.withdrawn.items() if version in others},
        None if previous is None else split.promoted_at,
    )


def version_for(name: str, split: Split, session_id: str) -> str:
    """Return the version of the brain, or hand, *name* that a new session gets."""
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
