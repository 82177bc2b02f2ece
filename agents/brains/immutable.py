"""What a version of a brain is never changes: the declaration that first answered under its id is kept for good.

Kept is what decides how a version thinks. Where it runs, how it scales, what it costs and what it is called may
change at any time; so may addresses, for the same model may move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.brain_settings import BrainDefinition
from agents.brains.registry import RegisteredBrain
from agents.brains.release_records import ReleaseRecords
from agents.config import InvalidSettings

_FIELDS = ("engine", "model", "replay_plan")
_SECTIONS = {"server": ("preset", "command", "arguments"), "transformers": ("dtype", "temperature", "top_p")}
"""Of the section of the version's own engine."""


def substance(definition: BrainDefinition) -> dict[str, Any]:
    """Return what must not change, by the name of its setting."""
    fields = definition.model_dump(mode="json")
    section = definition.engine
    return {
        **{name: fields[name] for name in _FIELDS},
        **{f"{section}.{name}": fields[section][name] for name in _SECTIONS.get(section, ())},
    }


async def check_unchanged(brains: Sequence[RegisteredBrain], records: ReleaseRecords) -> None:
    """Raise InvalidSettings, with a line for each setting, when a version is not what it was; or Unavailable."""
    known = await records.definitions()
    faults = [fault for brain in brains for fault in _changes(brain, known.get(brain.id, {}))]
    if faults:
        raise InvalidSettings("\n".join(faults))


def _changes(brain: RegisteredBrain, was: Mapping[str, Any]) -> list[str]:
    now = substance(brain.definition)
    # A release that knows more settings than the one that kept them has nothing to compare those with.
    changed = [name for name in now if name in was and was[name] != now[name]]
    return [
        f"brains.{brain.name}: version {brain.definition.version!r} has answered with {name} {was[name]!r} and cannot"
        f" have {now[name]!r} now; make it another version"
        for name in changed
    ]
