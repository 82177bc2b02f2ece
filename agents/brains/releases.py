"""Which version of a brain a request goes to, as one process knows it: a *split* for each brain.

A session stays with the version that answered it first, whatever becomes of the weights: the versions that
answered are in its log, and come with the request. It moves only when its version was rolled back or is no longer
declared, and the log says so. The splits come from the settings, and from what was changed since
(``agents.brains.release_keeper``).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from agents.brain_settings import BrainDefinition
from agents.brains.port import BrainFailure, BrainRequest, closing
from agents.brains.registry import RegisteredBrain, Registry
from agents.brains.release_records import Outcome
from agents.brains.route import PassedOver
from agents.governance.split import Split, StoredSplit, judged, split_in_force, version_for


class Releases:
    """The splits of all brains, and what was seen of the versions since it was last asked for."""

    def __init__(self, registry: Registry, now: Callable[[], float]) -> None:
        """*now* tells monotonic seconds."""
        self._registry = registry
        self._now = now
        self._splits = {brain.name: declared_split(brain.definition) for brain in registry.heads}
        self._judged: Mapping[str, Sequence[str]] = {name: list(split.weights) for name, split in self._splits.items()}
        self._answered: set[str] = set()
        self._told: set[str] = set()
        self._outcomes = defaultdict[str, Outcome](Outcome)

    def split(self, name: str) -> Split:
        """Return how the sessions of the brain *name* are dealt out; raises KeyError when there is none."""
        return self._splits[name]

    def judged(self, name: str) -> Sequence[str]:
        """Return the versions of the brain *name* whose outcomes are counted; raises KeyError when there is none."""
        return self._judged[name]

    def learn(self, stored: Mapping[str, StoredSplit], now: int) -> None:
        """Take note of the splits that were made while the platform ran; *now* is in seconds since 1970."""
        self._splits = {brain.name: split_of(brain, stored.get(brain.name)) for brain in self._registry.heads}
        self._judged = {
            brain.name: judged(self._splits[brain.name], brain.definition.rollback.after_promotion_seconds, now)
            for brain in self._registry.heads
        }

    # -- which version ---------------------------------------------------------------------------

    def find(self, model: str) -> RegisteredBrain:
        """Return the version that *model* names, the current one unless it is an id. Raises NotFound."""
        return self.current(self._registry.find(model), model)

    def current(self, brain: RegisteredBrain, model: str = "") -> RegisteredBrain:
        """Return the current version of *brain*, unless *model* names just this one."""
        return brain if model == brain.id else self._version(brain, self._splits[brain.name].current)

    def candidates(self, brain: RegisteredBrain, request: BrainRequest) -> Sequence[RegisteredBrain]:
        """Return the version of *brain* for the request's session, and the current one if that is another."""
        if request.model == brain.id or len(self._registry.versions(brain.name)) == 1:
            return [brain]
        split = self._splits[brain.name]
        version = request.versions.get(brain.name)
        if version is None:
            version = version_for(brain.name, split, request.session_id)
        elif self._why_gone(brain.name, version) is not None:
            version = split.current
        return [self._version(brain, each) for each in dict.fromkeys((version, split.current))]

    def moved_from(self, brain: RegisteredBrain, request: BrainRequest) -> PassedOver | None:
        """Return the version of *brain* that the session had and cannot have any more, if that is so."""
        kept = request.versions.get(brain.name)
        if kept is None or request.model == brain.id:
            return None
        why = self._why_gone(brain.name, kept)
        return None if why is None else PassedOver(f"{brain.name}@{kept}", why)

    def _why_gone(self, name: str, version: str) -> str | None:
        if version not in self._registry.versions(name):
            return "it is no longer declared"
        return self._splits[name].withdrawn.get(version)

    def _version(self, brain: RegisteredBrain, version: str) -> RegisteredBrain:
        return self._registry.versions(brain.name)[version]

    # -- how they do -----------------------------------------------------------------------------

    def watched(self, brain: RegisteredBrain, events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """Return the events of an answer of *brain*, watched while there is something to learn from them."""
        if not self._registry.declared or (brain.id in self._answered and not self._is_judged(brain)):
            return events
        return self._watch(brain, events)

    def failed(self, brain: RegisteredBrain) -> None:
        """Take note that a request was not answered by *brain*."""
        self._count(brain, Outcome(1, failed=1))

    async def _watch(
        self, brain: RegisteredBrain, events: AsyncIterator[dict[str, Any]]
    ) -> AsyncGenerator[dict[str, Any], None]:
        bound = brain.definition.rollback.max_p95_seconds
        # Only the time that the brain takes: its reader may be slow for reasons of its own.
        seconds, asked = 0.0, self._now()
        try:
            async with closing(events) as answer:
                async for event in answer:
                    seconds += self._now() - asked
                    yield event
                    asked = self._now()
        except BrainFailure as failure:
            if failure.refusal is None:
                self.failed(brain)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            # Nobody waits for it any more. That says nothing of it, unless it took too long already.
            if bound is not None and seconds + self._now() - asked > bound:
                self._count(brain, Outcome(1, slow=1))
            raise
        seconds += self._now() - asked
        self._answered.add(brain.id)
        self._count(brain, Outcome(1, slow=int(bound is not None and seconds > bound)))

    def _is_judged(self, brain: RegisteredBrain) -> bool:
        return brain.definition.version in self._judged[brain.name]

    def _count(self, brain: RegisteredBrain, outcome: Outcome) -> None:
        if self._is_judged(brain):
            self._outcomes[brain.id] += outcome

    def take_outcomes(self) -> Mapping[str, Outcome]:
        """Return what was counted since the last time, by id, of the versions that are judged."""
        taken, self._outcomes = self._outcomes, defaultdict[str, Outcome](Outcome)
        return taken

    def give_back(self, outcomes: Mapping[str, Outcome]) -> None:
        """Count again what was taken and could not be kept."""
        for brain, outcome in outcomes.items():
            self._outcomes[brain] += outcome

    def take_answered(self) -> Sequence[RegisteredBrain]:
        """Return the versions that answered for the first time in this process since the last time."""
        new = [brain for brain in self._registry.brains if brain.id in self._answered - self._told]
        self._told |= {brain.id for brain in new}
        return new


def split_of(brain: RegisteredBrain, stored: StoredSplit | None) -> Split:
    """Return the split of *brain* (of ``Registry.heads``): the stored one unless the settings now ask for another."""
    return split_in_force(stored, declared_split(brain.definition), brain.definition.names)


def declared_split(definition: BrainDefinition) -> Split:
    """Return the split that a declaration asks for."""
    weights = {version: each.weight for version, each in definition.versions.items() if each.weight}
    return Split(definition.version, weights)
