"""An answer that is known beforehand, told piece by piece as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agents.brains import stream
from agents.brains.replay import Block


def spoken(blocks: Sequence[Block], share: Callable[[], float]) -> Iterator[dict[str, Any] | None]:
    """Yield the events of an answer's blocks, and None where all that is written has been told: ask again later.

    *share* says how much of all characters is written by now, from 0 to 1, and never less than before.
    """
    characters = sum(len(delta[_words(delta)]) for _, delta in blocks)
    told = 0
    for index, (start, delta) in enumerate(blocks):
        yield stream.block_start(index, start)
        left: str = delta[_words(delta)]
        while left:
            if piece := left[: int(characters * share()) - told]:
                told, left = told + len(piece), left[len(piece) :]
                yield stream.block_delta(index, {**delta, _words(delta): piece})
            else:
                yield None
        yield stream.block_stop(index)


def _words(delta: dict[str, Any]) -> str:
    return "text" if "text" in delta else "partial_json"
