"""Which token comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampler:
    """Takes the likeliest token at temperature 0, else draws one of the likeliest that make up *top_p*."""

    temperature: float
    top_p: float

    def choose(self, scores: Tensor) -> list[int]:
        """Return a token for each row of *scores* ``[rows, vocabulary]``."""
        if self.temperature == 0:
            return _listed(scores.argmax(dim=-1))
        odds = torch.softmax(scores.float() / self.temperature, dim=-1)
        if self.top_p < 1:
            odds = _nucleus(odds, self.top_p)
        return _listed(torch.multinomial(odds, 1)[:, 0])


def _listed(tokens: Tensor) -> list[int]:
    return cast(Any, tokens).tolist()


def _nucleus(odds: Tensor, top_p: float) -> Tensor:
    """Zero for every token that is not needed to reach *top_p*; the likeliest always stays."""
    ordered, order = odds.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return torch.zeros_like(odds).scatter(-1, order, ordered.masked_fill(before >= top_p, 0.0))
