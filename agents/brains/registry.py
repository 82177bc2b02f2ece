"""Which brains there are, and which of them a name that an agent uses stands for.

A brain's *id* is ``name@version``. What an agent names as its model is looked up in this order: an id, a name,
an alias, the longest alias that ends in ``-`` or ``.`` and that it begins with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from agents.brain_settings import RESERVED, BrainCapabilities, BrainDefinition, BrainScaling, Role
from agents.brains.ceilings import answers_ceiling
from agents.config import InvalidSettings, Settings
from agents.errors import NotFound

DEFAULT_NAME = "default"
"""The brain that ``brain:`` describes when none is declared: it takes every model's name."""
_PREFIX_ENDS = ("-", ".")
_CLAUDE_PREFIX = "claude-"
_ROLES: Sequence[Role] = get_args(Role)


@dataclass(frozen=True, slots=True)
class RegisteredBrain:
    """One version of one brain."""

    name: str
    definition: BrainDefinition

    @property
    def id(self) -> str:
        return f"{self.name}@{self.definition.version}"

    def told(self, model: str) -> str:
        """Return what the engine is told when an agent names *model*."""
        return self.definition.model or model

    @property
    def needs_a_name(self) -> bool:
        """Whether only what the agent names says which model it is: then nobody else can send requests to it."""
        return self.definition.engine == "claude" and self.definition.model is None


class Registry:
    """The brains of one configuration. Raises InvalidSettings when names clash or a fallback is unknown."""

    def __init__(self, brains: Mapping[str, BrainDefinition], *, takes_all: str | None = None) -> None:
        """*takes_all* names the brain that stands for every name that no other has."""
        self._versions = {name: _versions_of(name, definition) for name, definition in brains.items()}
        self._takes_all = takes_all
        self._check()

    @property
    def brains(self) -> Sequence[RegisteredBrain]:
        """Every version of every brain, in the order in which they are declared."""
        return tuple(brain for versions in self._versions.values() for brain in versions.values())

    @property
    def heads(self) -> Sequence[RegisteredBrain]:
        """Every brain once, in the version that its declaration begins with."""
        return tuple(map(self._head, self._versions))

    def head(self, name: str) -> RegisteredBrain:
        """Return the brain *name* in the version of ``heads``. Raises NotFound, naming those there are."""
        if name not in self._versions:
            raise NotFound(f"there is no brain {name[:80]!r}; there are {', '.join(self._versions)}")
        return self._head(name)

    def versions(self, name: str) -> Mapping[str, RegisteredBrain]:
        """Return all versions of the brain *name*, in the order in which they are declared; none of an unknown one."""
        return self._versions.get(name, {})

    @property
    def declared(self) -> bool:
        """Whether brains are declared; else the implied one takes every name, ``auto`` like any other."""
        return self._takes_all is None

    @property
    def choosable(self) -> Sequence[RegisteredBrain]:
        """The brains that a policy may choose from, each in the version of ``heads``."""
        return [brain for brain in self.heads if not brain.needs_a_name]

    def is_auto(self, model: str) -> bool:
        """Return whether *model* leaves the choice to the policy."""
        return self.declared and model.partition(":")[0] == RESERVED

    def role(self, model: str) -> Role | None:
        """Return the role that *model*, an ``auto``, asks for, if any. Raises NotFound when there is no such role."""
        _, colon, wanted = model.partition(":")
        for role in _ROLES:
            if role == wanted:
                return role
        if not colon:
            return None
        raise NotFound(f"model {model!r} not found; there are auto, auto:{', auto:'.join(_ROLES)}")

    def check(self, model: str) -> None:
        """Raise NotFound when no brain can answer an agent with this *model*."""
        if self.is_auto(model):
            self.role(model)
            if not self.choosable:
                raise NotFound(f"model {model!r} not found: none of {self._known} is told its model, so name one")
        elif self.declared and (brain := self.find(model)).needs_a_name and model in (brain.name, brain.id):
            known = ", ".join(f"{alias}*" for alias in aliases_of(brain.definition))
            raise NotFound(f"model {model!r} not found: {brain.id} is told no model of its own; name one of {known}")

    def find(self, model: str) -> RegisteredBrain:
        """Return the brain that *model* names: that very version, or one of ``heads``.

        Raises NotFound, naming those there are.
        """
        name, at, version = model.partition("@")
        if at and (brain := self.versions(name).get(version)) is not None:
            return brain
        if not at and name in self._versions:
            return self._head(name)
        if not at and (brain := self._aliased(model)) is not None:
            return brain
        if self._takes_all is not None:
            return self._head(self._takes_all)
        raise NotFound(f"model {model!r} not found; there are {self._known}, and auto")

    def line(self, brain: RegisteredBrain) -> Sequence[RegisteredBrain]:
        """Return *brain* and those that are asked after it, in order, each once."""
        line, waiting = list[RegisteredBrain](), [brain]
        while waiting:
            first = waiting.pop(0)
            if all(each.name != first.name for each in line):
                line.append(first)
                waiting += map(self._head, first.definition.fallbacks)
        return line

    def _head(self, name: str) -> RegisteredBrain:
        return next(iter(self._versions[name].values()))

    @property
    def _known(self) -> str:
        return ", ".join(brain.id for brain in self.brains)

    def _aliased(self, model: str) -> RegisteredBrain | None:
        if (exact := self._aliases.get(model)) is not None:
            return exact
        prefixes = [alias for alias in self._aliases if alias.endswith(_PREFIX_ENDS) and model.startswith(alias)]
        return self._aliases[max(prefixes, key=len)] if prefixes else None

    @cached_property
    def _aliases(self) -> dict[str, RegisteredBrain]:
        return {alias: brain for brain in self.heads for alias in aliases_of(brain.definition)}

    def _check(self) -> None:
        faults: list[str] = []
        taken = {RESERVED: "the policy"}
        for brain in self.heads:
            for name in (brain.name, *aliases_of(brain.definition)):
                if name in taken:
                    faults.append(f"brains.{brain.name}: the name {name!r} is taken by {taken[name]}")
                taken[name] = brain.name
        faults += _unknown_fallbacks(self.heads)
        faults += _nameless(self.brains) if self.declared else ()
        if faults:
            raise InvalidSettings("\n".join(faults))


def registry_of(settings: Settings) -> Registry:
    """Return the brains that are declared, or the one that ``brain:`` describes. Raises InvalidSettings."""
    answers_ceiling(settings)  # only to refuse at the start what could not be held
    if settings.brains:
        registry = Registry(settings.brains)
        _check_judge(registry, settings.permissions.judge)
        return registry
    return Registry({DEFAULT_NAME: _implied(settings)}, takes_all=DEFAULT_NAME)


def _check_judge(registry: Registry, judge: str | None) -> None:
    try:
        if judge is not None:
            registry.check(judge)
    except NotFound as error:
        # Unknown, it would have users asked about every call, and nobody told why.
        raise InvalidSettings(f"permissions.judge: {error.message}") from None


def _versions_of(name: str, definition: BrainDefinition) -> dict[str, RegisteredBrain]:
    return {version: RegisteredBrain(name, definition.of(version)) for version in definition.names}


def _implied(settings: Settings) -> BrainDefinition:
    brain = settings.brain
    return BrainDefinition(
        engine=settings.engine,
        base_url=brain.base_url,
        replay_plan=brain.replay_plan,
        max_ongoing_requests=brain.max_ongoing_requests,
        scaling=BrainScaling(min_replicas=brain.replicas, max_replicas=brain.replicas),
        roles=["reasoning", "generation", "summarization"],
        capabilities=BrainCapabilities(max_output_tokens=brain.max_tokens, vision=True, thinking=True),
    )


def aliases_of(definition: BrainDefinition) -> Sequence[str]:
    """Return the aliases that count: a ``claude`` engine that is told no model takes all of Claude's names."""
    if definition.aliases or definition.engine != "claude" or definition.model is not None:
        return definition.aliases
    return [_CLAUDE_PREFIX]


def _unknown_fallbacks(brains: Sequence[RegisteredBrain]) -> Iterable[str]:
    names = [brain.name for brain in brains]
    for brain in brains:
        for fallback in brain.definition.fallbacks:
            if fallback not in names:
                yield f"brains.{brain.name}.fallbacks: there is no brain {fallback!r}; there are {', '.join(names)}"
            elif fallback == brain.name:
                yield f"brains.{brain.name}.fallbacks: it cannot stand in for itself"


def _nameless(brains: Sequence[RegisteredBrain]) -> Iterable[str]:
    """Requests that were meant for another brain, or for any, name no model that such a brain could be told."""
    nameless = {brain.name for brain in brains if brain.needs_a_name}
    for brain in {each.name: each for each in brains}.values():
        if brain.name in nameless and brain.definition.roles:
            yield f"brains.{brain.name}.roles: set brains.{brain.name}.model too, for auto names no model"
        for fallback in brain.definition.fallbacks:
            if fallback in nameless:
                yield f"brains.{brain.name}.fallbacks: set brains.{fallback}.model too, as it is asked for no model"
