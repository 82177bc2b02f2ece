"""Bringing a directory and a memory store to one state: a plan made of digests alone, as the SDK's worker makes it.

What changed on one side only goes to the other; of what changed on both, the store's wins, and the other is told of.
A deletion never destroys what the other side has changed meanwhile. (SDK: ``lib/tools/_memories.py``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Digests = Mapping[str, str]
"""SHA-256 of contents, by the path of the memory (``/notes/today.md``)."""


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What is to be done, by sorted paths."""

    fetch: tuple[str, ...] = ()
    """Written to the directory as the store has them."""
    remove: tuple[str, ...] = ()
    """Removed from the directory."""
    create: tuple[str, ...] = ()
    """Made in the store."""
    update: tuple[str, ...] = ()
    """Changed in the store, expecting there the digest that both had last."""
    delete: tuple[str, ...] = ()
    """Deleted in the store, expecting there the digest that both had last."""
    lost: tuple[str, ...] = ()
    """Changes of the directory that give way: to be logged. They are in ``fetch`` or ``remove``, too."""


def plan_sync(last: Digests, local: Digests, stored: Digests, *, read_only: bool) -> SyncPlan:
    """Return how *local* (the directory) and *stored* become one, *last* being what both were after the last time.

    Into a store that is *read_only* nothing is written: the directory is brought back to what the store has.
    """
    acts: dict[str, list[str]] = {name: [] for name in SyncPlan.__slots__}
    for path in sorted({*last, *local, *stored}):
        before, here, there = last.get(path), local.get(path), stored.get(path)
        if here == there:
            continue
        for act in _acts(before, here, there, read_only=read_only):
            acts[act].append(path)
    return SyncPlan(**{name: tuple(paths) for name, paths in acts.items()})


def _acts(before: str | None, here: str | None, there: str | None, *, read_only: bool) -> tuple[str, ...]:
    back = "remove" if there is None else "fetch"
    if here == before:
        return (back,)
    if read_only:
        return (back,) if here is None else (back, "lost")
    if there is None:
        # New here, or changed here and deleted there: the only copy.
        return ("create",)
    if there == before:
        return ("delete",) if here is None else ("update",)
    # Changed on both sides. What was only deleted here is no loss.
    return ("fetch",) if here is None else ("fetch", "lost")
