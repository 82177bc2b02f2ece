"""What a simulated GPU keeps of the prompts that it has read: so many tokens, found by the prompts' beginnings."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptPart:
    """A part of a prompt; its key stands for it and all before it, so equal keys are equal beginnings."""

    key: bytes
    tokens: int


class PrefixCache:
    """Remembers prompts part by part; what was not used for longest goes first, and of one prompt its end."""

    def __init__(self, most_tokens: int) -> None:
        self._most = most_tokens
        self._kept: OrderedDict[bytes, int] = OrderedDict()
        self.tokens = 0
        """Tokens that are kept; never more than *most_tokens*."""

    def held(self, prompt: Sequence[PromptPart]) -> int:
        """Return how many tokens of the prompt's beginning are kept; they have just been used then."""
        known = list(itertools.takewhile(lambda part: part.key in self._kept, prompt))
        self._use(known)
        return sum(part.tokens for part in known)

    def keep(self, prompt: Sequence[PromptPart]) -> None:
        """Take in a prompt that was read; as much of its beginning as there is room for."""
        ends = itertools.accumulate(part.tokens for part in prompt)
        fitting = [part for part, end in zip(prompt, ends, strict=True) if end <= self._most]
        self.tokens += sum(part.tokens for part in fitting if part.key not in self._kept)
        self._use(fitting)
        while self.tokens > self._most:
            self.tokens -= self._kept.popitem(last=False)[1]

    def _use(self, parts: Sequence[PromptPart]) -> None:
        # From the end to the beginning: what others may share, and what the rest is useless without, stays longest.
        for part in reversed(parts):
            self._kept[part.key] = part.tokens
            self._kept.move_to_end(part.key)
