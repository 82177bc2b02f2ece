"""The tiny model in tests: built once, and made to say what a test wants.

What it says is forced by its scores: the model itself computes, with its cache, as always.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from agents.brain_settings import BrainDefinition
from agents.brains.transformers import batch, loading
from agents.brains.transformers.engine import WARM_UP
from agents.brains.transformers.kv_cache import BatchCache
from agents.brains.transformers.loading import Loaded, load
from agents.brains.transformers.tiny import build

torch.set_num_threads(1)

FORCE = 1e6


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="tiny-model-")
    build(Path(folder.name))
    return folder


def tiny_folder() -> str:
    """The folder of the untaught model; removed when the tests end."""
    return _kept().name


def tiny_definition(**changes: Any) -> BrainDefinition:
    return BrainDefinition(engine="transformers", model=tiny_folder(), **changes)


@dataclass
class Forced:
    """What one row says: its tokens, and where in the row they begin."""

    tokens: list[int]
    begin: int = 0


class TrackedCache(BatchCache):
    """Knows what each row is to say."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Forced] = []

    def join(self, other: BatchCache) -> None:
        super().join(other)
        assert isinstance(other, TrackedCache)
        self.rows += other.rows

    def keep(self, rows: list[int], first: int) -> None:
        super().keep(rows, first)
        self.rows = [self.rows[row] for row in rows]


@dataclass
class ForcedModel:
    """Says the answers, one per prompt in the order in which they are read; *goes_on* means that it never stops."""

    loaded: Loaded
    answers: list[tuple[str, bool]]
    read: int = 0
    """Tokens of prompts (of two or more at a time)."""

    def __call__(self, **given: Any) -> Any:
        logits = self.loaded.model(**given).logits
        cache: TrackedCache = given["past_key_values"]
        if not cache.rows:
            cache.rows = [self._next_answer()]
        positions: list[list[int]] = given["position_ids"].tolist()
        for row, (forced, places) in enumerate(zip(cache.rows, positions, strict=True)):
            following = places[-1] + 1
            if len(places) > 1:
                self.read += len(places)
                forced.begin = following
            logits[row, -1, forced.tokens[min(following - forced.begin, len(forced.tokens) - 1)]] += FORCE
        return SimpleNamespace(logits=logits)

    def _next_answer(self) -> Forced:
        text, goes_on = self.answers.pop(0)
        encode = self.loaded.tokenizer._pretrained.encode  # pyright: ignore[reportPrivateUsage]
        return Forced([*encode(text), *(encode(".") if goes_on else self.loaded.tokenizer.stops)])


@contextmanager
def forced(*answers: str | tuple[str, bool]) -> Iterator[list[ForcedModel]]:
    """Models that are loaded and used within say *answers* (after what they say to warm up); they are in the list."""
    made: list[ForcedModel] = []

    def load_forced(definition: BrainDefinition) -> Loaded:
        loaded = load(definition)
        told = [(one, False) if isinstance(one, str) else one for one in answers]
        model = ForcedModel(loaded, [*([("warm", False)] * WARM_UP), *told])
        made.append(model)
        return replace(loaded, model=model)

    with patch.object(loading, "load", load_forced), patch.object(batch, "BatchCache", TrackedCache):
        yield made
