"""Turns under way, and what each request is dealt: its shape and its lots, the same on every platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.experiments.model.queueing.inputs import Requests, Shape, Step, Workload

_BLOCK = 4096
"""Requests that are dealt at a time: enough for NumPy to be quick, few enough to need no memory to speak of."""


class Dealt(NamedTuple):
    """What one request has drawn; a tuple, for there are many."""

    shape: Shape
    lots: list[float]
    """Numbers from 0 up to 1, as many as any shape needs."""


class Turn:
    """One turn on its way. Compared by identity: replicas keep those that are on them."""

    __slots__ = (
        "asked",
        "due",
        "epoch",
        "lots",
        "number",
        "open_calls",
        "part_retries",
        "place",
        "said",
        "shape",
        "step",
        "turn_retries",
    )

    def __init__(self, number: int, due: float, dealt: Dealt) -> None:
        self.number = number
        self.due = due
        self.shape, self.lots = dealt
        self.epoch = 0
        """Goes up when what is under way for it is lost: events from before concern it no longer."""
        self.turn_retries = 0
        self.said = False
        """Whether its first text has come."""
        self.asked = 0.0
        """When it last began to wait for a place."""
        self.part_retries = 0
        self.begin()

    def begin(self) -> None:
        """Be at the beginning, with the same lots."""
        self.step = 0
        self.place = 0
        self.open_calls = 0

    def lot(self) -> float:
        """Return the next of its lots."""
        lot = self.lots[self.place]
        self.place += 1
        return lot

    @property
    def part(self) -> Step:
        """What its step asks for."""
        return self.shape.steps[self.step]


class Dealer:
    """Deals requests their shapes and lots by the seed: the same whatever platform serves them, in whatever order."""

    def __init__(self, requests: Requests, workloads: Sequence[Workload], seed: int) -> None:
        """*workloads*: those that ``requests.names`` names, in that order."""
        self._kinds = requests.workload
        self._seed = seed
        self._shapes = [workload.shapes for workload in workloads]
        self._chances = [np.cumsum([shape.weight for shape in workload.shapes]) for workload in workloads]
        self._width = max(_lots(shape) for shapes in self._shapes for shape in shapes)
        self._block = -1
        self._dealt: list[Dealt] = []

    def deal(self, number: int) -> Dealt:
        """Return what request *number* has drawn. Quick when they are asked for in order."""
        block, place = divmod(number, _BLOCK)
        if block != self._block:
            self._block, self._dealt = block, self._deal_block(block)
        return self._dealt[place]

    def _deal_block(self, block: int) -> list[Dealt]:
        kinds = self._kinds[block * _BLOCK : (block + 1) * _BLOCK]
        lots = np.random.default_rng((self._seed, block)).random((len(kinds), 1 + self._width))
        shapes = np.zeros(len(kinds), dtype=np.intp)
        for kind, chances in enumerate(self._chances):
            here = kinds == kind
            shapes[here] = np.searchsorted(chances, lots[here, 0] * chances[-1], side="right")
        drawn = zip(kinds.tolist(), shapes.tolist(), lots[:, 1:].tolist(), strict=True)
        return [Dealt(self._shapes[kind][shape], row) for kind, shape, row in drawn]


def _lots(shape: Shape) -> int:
    """Return the lots that a turn needs: for its owner, before and after it, each step's calls and what is between."""
    return 3 + sum(1 + len(step.tools) for step in shape.steps)
