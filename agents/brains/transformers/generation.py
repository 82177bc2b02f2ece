"""One answer in the making, between the thread that decodes and the event loop that reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.brains.port import BrainFailure


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer: the model's own (its token still counts), or after the most tokens it may have."""

    by_model: bool


Item = int | Finished | BrainFailure
"""A token, or the one thing after the last of them."""


@dataclass(eq=False, slots=True)
class Generation:
    """A request for tokens after *prompt*, at most *most* of them; the inbox is bounded by that."""

    prompt: Sequence[int]
    most: int
    inbox: asyncio.Queue[Item] = field(default_factory=lambda: asyncio.Queue[Item]())
    cancelled: bool = False
    """Set by the reader, seen by the decoder before its next step."""
