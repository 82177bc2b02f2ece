"""Which brain thinks when an agent leaves the choice: ``model: auto`` and ``auto:ROLE``.

A policy is one pure function; :class:`RulePolicy` is the one that is there. Its rules, in this order:

1. *Role.* Brains with the role that was asked for. Plain ``auto`` asks for ``reasoning`` when there are tools, for
   ``generation`` otherwise. When no brain has the role, all are candidates.
2. *Ability.* Not those that cannot call tools or see images when there are some, nor those whose context is
   too short. The length is an estimate: when it is too much for all, the longest contexts come first.
3. *Readiness.* A free place before a line, a line before no replica at all.
4. *Cost* of the request at the brain's own price, else at list price; a brain without either costs nothing
   more when it is asked.
5. *Load*: places taken or waited for, per place there is; then the order of declaration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from agents.brain_settings import RESERVED, BrainCapabilities, BrainPrice, Role
from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainRequest, Standing
from agents.brains.registry import RegisteredBrain
from agents.brains.route import PassedOver

CHARACTERS_PER_TOKEN = 3
"""Below the four that are usual for English: source code and most other languages need more tokens."""
IMAGE_TOKENS = 1600
"""The most that one image costs at the size to which the vendor scales it down."""
_ENCODED_PER_TOKEN = 30
"""Characters of a document in base64: a page of a PDF has some sixty thousand of them, and two thousand tokens."""
_EXPECTED_OUTPUT_TOKENS = 1000
"""Answers are not known beforehand; so much is assumed of them."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a request needs of a brain."""

    role: Role | None = None
    """None when the agent left that open, too."""
    prompt_tokens: int = 0
    max_tokens: int = 32_000
    tools: bool = False
    images: bool = False
    model: str = RESERVED
    speed: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A brain that may be chosen, and how it stands now."""

    brain: RegisteredBrain
    standing: Standing

    @property
    def capabilities(self) -> BrainCapabilities:
        return self.brain.definition.capabilities

    @property
    def wanted(self) -> int:
        """Places that are taken or waited for."""
        return self.standing.under_way + self.standing.waiting


@dataclass(frozen=True, slots=True)
class Decision:
    """Brains in the order in which they are asked (none when none is able to answer), and why."""

    order: Sequence[RegisteredBrain]
    reason: str
    passed_over: Sequence[PassedOver] = ()


class Policy(Protocol):
    """Chooses; returns at once and keeps nothing between requests."""

    def choose(self, task: Task, candidates: Sequence[Candidate]) -> Decision:
        """Put those of *candidates* that shall be asked in order."""
        ...


class TokenPrices(Protocol):
    """The part of the price book that turns tokens into cost."""

    def cost(self, model: str, usage: TokenUsage, *, speed: str | None, own: BrainPrice | None = None) -> int:
        """Return micro-USD, at the brain's *own* price if it has one, else at list price; 0 for a model without one."""
        ...


class RulePolicy:
    """The rules above."""

    def __init__(self, prices: TokenPrices) -> None:
        self._prices = prices

    def choose(self, task: Task, candidates: Sequence[Candidate]) -> Decision:
        """See Policy.choose."""
        role, because = _role(task)
        suited = [each for each in candidates if role in each.brain.definition.roles]
        why = f"{role}, {because}" if suited else f"no brain is declared for {role}"
        pool = suited or candidates
        able = [each for each in pool if lacks(task, each.capabilities) is None]
        if able:
            order = sorted(able, key=lambda each: self._rank(task, each))
            how = _how(order)
        else:
            order = [each for each in pool if lacks_ability(task, each.capabilities) is None]
            order.sort(key=lambda each: -each.capabilities.context_tokens)
            how = "the longest context, though it may be too short" if order else "none is able"
        lacking = [(each.brain.id, lacks(task, each.capabilities)) for each in pool if each not in order]
        passed_over = [PassedOver(brain, lack) for brain, lack in lacking if lack is not None]
        return Decision([each.brain for each in order], f"{why}: {how}", passed_over)

    def _rank(self, task: Task, candidate: Candidate) -> tuple[int, int, float]:
        standing = candidate.standing
        readiness = 2 if not standing.replicas else int(candidate.wanted >= standing.places)
        cost = expected_cost(self._prices, candidate.brain, task)
        return readiness, cost, candidate.wanted / max(1, standing.places)


def task_of(request: BrainRequest, role: Role | None = None) -> Task:
    """Return what a request needs."""
    tokens, images = _measure([request.system, request.tools, request.messages])
    return Task(
        role=role,
        prompt_tokens=tokens,
        max_tokens=request.max_tokens,
        tools=bool(request.tools),
        images=images > 0,
        model=request.model,
        speed=request.speed,
    )


def expected_cost(prices: TokenPrices, brain: RegisteredBrain, task: Task) -> int:
    """Return about how many micro-USD *task* costs when *brain* is asked."""
    output = min(task.max_tokens, _EXPECTED_OUTPUT_TOKENS)
    usage = TokenUsage(input_tokens=task.prompt_tokens, output_tokens=output)
    return prices.cost(brain.told(task.model), usage, speed=task.speed, own=brain.definition.price)


def lacks(task: Task, able: BrainCapabilities) -> str | None:
    """Return what a brain lacks for *task*, or None."""
    if (lack := lacks_ability(task, able)) is not None:
        return lack
    # Servers refuse a request whose answer could outgrow the context; how long it may get is cut to what is there.
    answer = min(task.max_tokens, able.max_output_tokens, able.context_tokens // 4)
    if task.prompt_tokens + answer > able.context_tokens:
        return f"its context of {able.context_tokens} tokens is too short for about {task.prompt_tokens}"
    return None


def lacks_ability(task: Task, able: BrainCapabilities) -> str | None:
    """As ``lacks``, whatever the length."""
    if task.tools and not able.tools:
        return "it cannot call tools"
    if task.images and not able.vision:
        return "it cannot see images"
    return None


def _role(task: Task) -> tuple[Role, str]:
    if task.role is not None:
        return task.role, "as asked"
    return ("reasoning", "as there are tools") if task.tools else ("generation", "as there are no tools")


def _how(order: Sequence[Candidate]) -> str:
    first = order[0]
    if not first.standing.replicas:
        state = "no replica is there"
    else:
        state = "no place is free" if first.wanted >= first.standing.places else "a place is free"
    return f"the only one able, {state}" if len(order) == 1 else f"first of {len(order)}, {state}"


def estimated_tokens(value: object) -> int:
    """Return about how many tokens the texts, images and documents in *value* are, at whatever depth."""
    return _measure(value)[0]


def _measure(value: object) -> tuple[int, int]:
    """Return about how many tokens *value* has, and its images, whose own characters do not count."""
    characters = encoded = images = 0
    # A stack, for a tool's input may be nested as deeply as JSON allows.
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            characters += len(each)
        elif isinstance(each, list):
            left.extend(cast("list[Any]", each))
        elif isinstance(each, dict):
            fields = cast("dict[str, Any]", each)
            if fields.get("type") == "image":
                images += 1
            elif fields.get("type") == "base64" and isinstance(data := fields.get("data"), str):
                encoded += len(data)
            else:
                left.extend(fields.values())
    tokens = characters // CHARACTERS_PER_TOKEN + encoded // _ENCODED_PER_TOKEN + images * IMAGE_TOKENS
    return tokens, images
