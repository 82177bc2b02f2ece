"""One model, and the requests that it decodes together, one token each per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from agents.brains.transformers.kv_cache import BatchCache


class Scores(Protocol):
    """What a causal language model answers."""

    logits: Tensor
    """``[rows, columns, vocabulary]``"""


class CausalModel(Protocol):
    """The call that models of transformers have in common."""

    def __call__(
        self,
        *,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        past_key_values: Any,
        use_cache: bool,
        logits_to_keep: int,
    ) -> Scores: ...


class Prompt:
    """The tokens of one request while they are read, in pieces, each once."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tokens
        self.read = 0
        self.cache = BatchCache()


class Batch:
    """The rows under way. Not safe for threads: one owns it."""

    def __init__(self, model: CausalModel, device: str) -> None:
        self._model = model
        self._device = device
        self._cache: BatchCache | None = None
        self._lengths: list[int] = []
        """Tokens of each row that are in the cache."""

    def __len__(self) -> int:
        return len(self._lengths)

    def read(self, prompt: Prompt, most: int) -> Tensor | None:
        """Read up to *most* more tokens of a prompt; returns the scores of the token after it, once it is read."""
        piece = prompt.tokens[prompt.read : prompt.read + most]
        begin, prompt.read = prompt.read, prompt.read + len(piece)
        scores = self._ask(
            tokens=[list(piece)],
            positions=[list(range(begin, prompt.read))],
            mask=torch.ones((1, prompt.read), dtype=torch.long, device=self._device),
            cache=prompt.cache,
        )
        if not prompt.cache.layers:
            # It remembers in another way, and would forget with the next token.
            raise NotImplementedError("its layers keep no keys and values, which this engine needs")
        return scores if prompt.read == len(prompt.tokens) else None

    def join(self, prompt: Prompt) -> None:
        """Add a prompt that is read as the last row."""
        if self._cache is None:
            self._cache = prompt.cache
        else:
            self._cache.join(prompt.cache)
        self._lengths.append(prompt.read)

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows; those that stay close ranks."""
        width = max(self._lengths, default=0)
        self._lengths = [self._lengths[row] for row in rows]
        if not rows or self._cache is None:
            self._cache = None
        else:
            self._cache.keep(rows, width - max(self._lengths))

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Take the newest token of each row; returns the scores ``[rows, vocabulary]`` of those after them."""
        lengths = torch.tensor(self._lengths, device=self._device)
        width = max(self._lengths) + 1
        columns = torch.arange(width, device=self._device)
        scores = self._ask(
            tokens=[[token] for token in tokens],
            positions=[[length] for length in self._lengths],
            mask=(columns >= (width - 1 - lengths)[:, None]).long(),
            cache=self._cache,
        )
        self._lengths = [length + 1 for length in self._lengths]
        return scores

    def _ask(
        self, *, tokens: list[list[int]], positions: list[list[int]], mask: Tensor, cache: BatchCache | None
    ) -> Tensor:
        scores = self._model(
            input_ids=torch.tensor(tokens, device=self._device),
            position_ids=torch.tensor(positions, device=self._device),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return scores.logits[:, -1]
