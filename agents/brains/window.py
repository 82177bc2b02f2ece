"""How much a brain can be told: the room that its context leaves for a request.

A session must know it before it asks, so as not to grow out of whoever will answer it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.brains.answering import suited_to, versions_meant
from agents.brains.registry import RegisteredBrain, Registry
from agents.errors import NotFound


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens of a request and its answer together, and of the longest answer alone."""

    context_tokens: int
    answer_tokens: int

    def room(self, max_tokens: int) -> int:
        """Return the tokens that a request may have whose answer has up to *max_tokens* (see ``policy.lacks``)."""
        return self.context_tokens - min(max_tokens, self.answer_tokens, self.context_tokens // 4)


def window_of(registry: Registry, model: str, *, tools: bool) -> Window | None:
    """Return the window of whoever answers an agent with this *model*: for ``auto``, the largest able brain's.

    Of a brain that is named without a version any may answer, so it is the smallest. None when nobody answers. A
    brain that stands in is only asked for what its own context holds.
    """
    try:
        if registry.is_auto(model):
            windows, best = map(_window, _chosen_from(registry, model, tools=tools)), max
        else:
            windows, best = map(_window, versions_meant(registry, registry.find(model), model)), min
    except NotFound:
        return None
    return best(windows, key=lambda each: each.context_tokens, default=None)


def _window(brain: RegisteredBrain) -> Window:
    able = brain.definition.capabilities
    return Window(able.context_tokens, able.max_output_tokens)


def _chosen_from(registry: Registry, model: str, *, tools: bool) -> Sequence[RegisteredBrain]:
    """Return the brains that the policy would choose from, as its rules on role and ability have it."""
    role = registry.role(model) or ("reasoning" if tools else "generation")
    return [brain for brain in suited_to(registry, role) if brain.definition.capabilities.tools or not tools]
