"""The brain that is many: it finds who is meant, and who stands in when that one cannot answer.

A request goes down a line of brains: the one that the agent names and its fallbacks, or those that the policy
puts in order. The next one is asked only while nothing of the answer was shown, and not when a model server refuses
the request itself: for a brain that is overloaded or down, whose key or bill is not in order, whose server fails.
That a replica is lost while its brain has others is told to who asks, who asks again at once (law 7).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from agents.brain_settings import Role
from agents.brains.budgets import Budgets, OverBudget
from agents.brains.circuit import Circuits
from agents.brains.policy import Candidate, Policy, Task, lacks, task_of
from agents.brains.port import BrainFailure, BrainLost, BrainPools, BrainRequest, closing
from agents.brains.registry import RegisteredBrain, Registry
from agents.brains.releases import Releases
from agents.brains.route import PassedOver, Route
from agents.brains.system_messages import moved_to_the_prompt
from agents.errors import NotFound

_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_SHOWN_CHARACTERS = 200
_CONTENT = "content_block_start"


@dataclass(slots=True)
class _Line:
    """Who may answer, in order, and whom the asker named; or what the policy has to say of its choice."""

    brains: Sequence[RegisteredBrain]
    named: RegisteredBrain | None = None
    reason: str | None = None
    passed_over: tuple[PassedOver, ...] = ()


class RoutedBrain:
    """Thinks with whichever brain of *registry* a request is for. Implements Brain."""

    def __init__(
        self,
        registry: Registry,
        pools: BrainPools,
        policy: Policy,
        *,
        releases: Releases | None = None,
        budgets: Budgets | None = None,
        patience: float = _PATIENCE_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """*releases* deals sessions out among the versions of a brain, as the settings ask when there is none.

        *budgets* hold the brains to their ceilings; without them there are none.
        *patience* is how long to look for a replica when no brain in a line is known to have one; in seconds, as
        what *now* tells.
        """
        self._patience = patience
        self._registry = registry
        self._pools = pools
        self._policy = policy
        self._releases = releases or Releases(registry, now)
        self._budgets = budgets
        self._circuits = Circuits(now)

    def figures(self, brain: str) -> dict[str, int]:
        """Return what was met with the brain with id *brain* here, for metrics."""
        return self._circuits.figures(brain)

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """See Brain.think; the first event is the route (``agents.brains.route``), and so is the first of a fallback.

        Raises BrainFailure, not transient when there is no brain for the request.
        """
        line = self._line(request)
        await self._somebody(line.brains)
        passed_over = list(line.passed_over)
        earlier: BrainFailure | None = None
        for place, brain in enumerate(line.brains):
            later = line.brains[place + 1 :]
            if later and (why := self._why_not(brain, later)) is not None:
                passed_over.append(PassedOver(brain.id, why))
                if not self._is_down(brain):
                    self._releases.failed(brain)
                continue
            yield self._route(request, brain, line, passed_over).event()
            shown = False
            try:
                asked = _as_asked(request, brain, meant=brain is line.named)
                async with closing(self._ask(brain, asked)) as events:
                    async for event in events:
                        shown = shown or event.get("type") == _CONTENT
                        yield event
                return
            except BrainFailure as failure:
                if shown or not later or not self._another_may_help(brain, failure):
                    if shown or (told := _to_tell(earlier, failure)) is failure:
                        raise
                    raise told from failure
                earlier = _to_tell(earlier, failure) if failure.transient else earlier
                passed_over.append(PassedOver(brain.id, _shown(failure)))

    async def _ask(self, brain: RegisteredBrain, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what one brain answers, if its budget allows, and take note of how it does."""
        async with self._budget(brain, request):
            with self._circuits.attempt(brain.id) as attempt:
                try:
                    thinking = self._releases.watched(brain, self._pools.think(brain.id, request))
                    async with closing(thinking) as events:
                        async for event in events:
                            if event.get("type") == _CONTENT:
                                attempt.answers()
                            yield event
                    attempt.succeeded()
                except BrainFailure as failure:
                    attempt.failed(failure)
                    raise

    def _budget(self, brain: RegisteredBrain, request: BrainRequest) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._budgets is None else self._budgets.reserved(brain, request)

    def _route(
        self, request: BrainRequest, brain: RegisteredBrain, line: _Line, passed_over: Sequence[PassedOver]
    ) -> Route:
        moved_from, implied = self._releases.moved_from(brain, request), not self._registry.declared
        return Route(brain, request.model, line.reason, tuple(passed_over), moved_from, implied)

    def _why_not(self, brain: RegisteredBrain, later: Sequence[RegisteredBrain]) -> str | None:
        """Return why *brain* is passed over without being asked, when *later* brains are in the line."""
        if self._is_down(brain):
            return "it has no replica"
        if (why := self._circuits.why_not(brain.id)) is None:
            return None
        others = (each for each in later if not self._is_down(each))
        return why if any(self._circuits.why_not(each.id) is None for each in others) else None

    def _line(self, request: BrainRequest) -> _Line:
        try:
            if self._registry.is_auto(request.model):
                return self._chosen(request, self._registry.role(request.model))
            return self._named(request, self._registry.find(request.model))
        except NotFound as error:
            raise BrainFailure("request_failed", error.message, transient=False) from error

    def _chosen(self, request: BrainRequest, role: Role | None) -> _Line:
        task = task_of(request, role)
        choosable = (self._releases.candidates(brain, request)[0] for brain in self._registry.choosable)
        candidates = [Candidate(brain, self._pools.standing(brain.id)) for brain in choosable]
        decision = self._policy.choose(task, candidates)
        if not decision.order:
            lacking = "; ".join(f"{each.brain}: {each.reason}" for each in decision.passed_over)
            raise BrainFailure("request_failed", f"{decision.reason} ({lacking})", transient=False)
        brains = list(decision.order)
        for brain in decision.order:
            brains += [each for each in self._stand_ins(brain, request, task) if each not in brains]
        return _Line(brains, None, decision.reason, tuple(decision.passed_over))

    def _named(self, request: BrainRequest, brain: RegisteredBrain) -> _Line:
        named = self._releases.candidates(brain, request)[0]
        # Whether the brain that was named is able, the agent's author decides.
        return _Line([named, *self._stand_ins(named, request)], named)

    def _stand_ins(
        self, brain: RegisteredBrain, request: BrainRequest, task: Task | None = None
    ) -> list[RegisteredBrain]:
        line = [each for head in self._registry.line(brain) for each in self._releases.candidates(head, request)]
        others = [each for each in line if each.id != brain.id]
        task = task or (task_of(request) if others else Task())
        return [each for each in others if lacks(task, each.definition.capabilities) is None]

    async def _somebody(self, brains: Sequence[RegisteredBrain]) -> None:
        """Wait a moment for a replica of one of them: a process that has just started has found none yet."""
        if len(brains) == 1:
            return  # it is waited for in any case
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience
        while all(self._is_down(brain) for brain in brains) and loop.time() < end:  # noqa: ASYNC110 - pools tell how they stand, not when
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_down(self, brain: RegisteredBrain) -> bool:
        # One that scales to zero is asleep: it is the request that wakes it.
        return not self._pools.standing(brain.id).replicas and brain.definition.scaling.min_replicas > 0

    def _another_may_help(self, brain: RegisteredBrain, failure: BrainFailure) -> bool:
        if isinstance(failure, BrainLost):
            return not self._pools.standing(brain.id).replicas
        return failure.refusal is None


def _as_asked(request: BrainRequest, brain: RegisteredBrain, *, meant: bool) -> BrainRequest:
    """Return the request for *brain*: its answer is no longer than the brain can make it."""
    able, body = brain.definition.capabilities, request.body
    most = able.max_output_tokens
    if not able.system_messages:
        request = moved_to_the_prompt(request)
    # A client's own body goes as it is to the brain that it names, which judges it; another one never was meant.
    if body is not None and not meant:
        body = {**body, "max_tokens": min(request.max_tokens, most)}
    return replace(request, brain=brain.id, max_tokens=min(request.max_tokens, most), body=body, versions={})


def _to_tell(earlier: BrainFailure | None, failure: BrainFailure) -> BrainFailure:
    """Return which of two failures in one line its asker is told: who asks again wants to know of the hopeful one."""
    if earlier is None:
        return failure
    # That a stand-in refuses the request, or has no money left, says nothing of the brain it stands in for.
    if not failure.transient:
        return earlier
    if isinstance(failure, OverBudget) and isinstance(earlier, OverBudget):
        return min(earlier, failure, key=lambda each: each.retry_after or 0)
    return earlier if isinstance(failure, OverBudget) else failure


def _shown(failure: BrainFailure) -> str:
    if isinstance(failure, OverBudget):
        return failure.message
    return f"{failure.kind}: {failure.message}"[:_SHOWN_CHARACTERS]
