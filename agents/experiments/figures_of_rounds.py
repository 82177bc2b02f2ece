"""What GPUs and hands did in one round of an experiment, and what they cost: a JSON line each, beside the trace.

A round's figures belong to its trace rows when topology, arrivals, load and round agree. Workloads that share a round
share its GPUs, so there is one record for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from agents.errors import InvalidRequest
from agents.settings_base import Section

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RoundFigures(Section):
    """One round of one topology; all figures are of the same stretch of time, at best the round without its warm-up."""

    topology: str
    arrivals: str
    load: float
    """What was offered: sessions per second of an open loop, sessions under way of a closed one."""
    round: int
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Length of the stretch that the other figures are of."""
    gpus: int = Field(ge=0)
    """GPUs that were held, used or not."""
    gpu_busy_seconds: Seconds | None
    """Seconds in which they read or wrote tokens, of all GPUs together: at most gpus x seconds. None where no brain
    says it: only simulated ones do."""
    hands: float = Field(ge=0, allow_inf_nan=False)
    """CPU slots that were held for hands and sandboxes, on average."""
    hand_busy_seconds: Seconds
    """Seconds in which a tool ran in one, of all slots together."""
    usd: float = Field(ge=0, allow_inf_nan=False)
    """Price of what was held for so long, used or not, by the plan's prices."""


def gpu_seconds(rounds: Iterable[RoundFigures]) -> tuple[float, float]:
    """Return the seconds that GPUs worked and were held, of the rounds whose brains say how long they worked."""
    known = [(each.gpu_busy_seconds, each.gpus * each.seconds) for each in rounds if each.gpu_busy_seconds is not None]
    return sum(busy for busy, _ in known), sum(held for _, held in known)


class FiguresFile:
    """The records of an experiment, one line each; a line is on its way to the disk when ``add`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, figures: RoundFigures) -> None:
        """Append one record. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(figures.model_dump_json() + "\n")

    def read(self) -> list[RoundFigures]:
        """Return all records, in their order. Raises OSError; InvalidRequest naming the line and field."""
        with self._path.open(encoding="utf-8") as file:
            return list(_records(self._path, file))


def _records(path: Path, lines: Iterable[str]) -> Iterator[RoundFigures]:
    for number, line in enumerate(lines, 1):
        try:
            yield RoundFigures.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"])) or "the line"
            raise InvalidRequest(f"{path}, line {number}: {field}: {fault['msg']}") from error
