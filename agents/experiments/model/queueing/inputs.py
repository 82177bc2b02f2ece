"""What the model is given: requests, the shapes of their turns, and the platform that serves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.brains.service_time import ServiceTime
from agents.errors import InvalidRequest

Topology = Literal["decoupled", "monolith"]

_MOST_VALUES = 2000
"""Values of a distribution that are kept: quantiles are then exact to 0.05 % of the observations, means entirely."""


def _check(name: str, value: float, *, above: bool = False) -> None:
    if not isfinite(value) or value < 0 or (above and value == 0):
        raise InvalidRequest(f"{name}: must be {'above 0' if above else '0 or more'}, not {value}")


@dataclass(frozen=True, slots=True)
class Empirical:
    """A distribution as it was observed: each of its values is as likely as any other (the bootstrap's, Efron 1979)."""

    values: tuple[float, ...]
    """Sorted."""

    @staticmethod
    def of(observed: Iterable[float], what: str = "observations") -> Empirical:
        """Return the distribution of what was *observed*; of many values the means of equal slices of their order.

        Raises InvalidRequest when there are none, or one is negative or no number.
        """
        values = np.sort(np.fromiter(observed, dtype=np.float64))
        if not values.size:
            raise InvalidRequest(f"{what}: at least one value is needed")
        if not np.isfinite(values).all() or values[0] < 0:
            raise InvalidRequest(f"{what}: must be finite numbers of 0 or more")
        if values.size > _MOST_VALUES:
            edges = np.linspace(0, values.size, _MOST_VALUES + 1).round().astype(np.intp)
            values = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
        return Empirical(tuple(values.tolist()))

    @staticmethod
    def fixed(value: float) -> Empirical:
        """Return the distribution that is always *value*."""
        return Empirical((value,))

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)


@dataclass(frozen=True, slots=True)
class Step:
    """A model request, and the tool calls that its answer asks for; a turn's last step has none."""

    tokens_in: float
    """Tokens of the prompt that must be read: those that a prefix cache holds do not count."""
    tokens_out: float
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """The course of a turn, as one was observed."""

    steps: tuple[Step, ...]
    speaks_at: int = -1
    """The step whose answer brings the first text; as a rule the last."""
    weight: float = 1.0
    """How often it was observed."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of turns: each takes one of the shapes by lot."""

    name: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in the order of their arrivals; all arrays have one length."""

    due: NDArray[np.float64]
    """Seconds since the beginning, ascending."""
    workload: NDArray[np.int64]
    """Places among the names."""
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.workload) != len(self.due):
            raise InvalidRequest(f"workload: has {len(self.workload)} values, must have {len(self.due)} as due has")
        if len(self.due) and not (np.isfinite(self.due).all() and self.due[0] >= 0 and (np.diff(self.due) >= 0).all()):
            raise InvalidRequest("due: must be finite seconds from 0 on, ascending")
        if len(self.workload) and not 0 <= self.workload.min() <= self.workload.max() < len(self.names):
            raise InvalidRequest(f"workload: must be places among the {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.due)


@dataclass(frozen=True, slots=True)
class Stretch:
    """When is measured, in simulated seconds."""

    seconds: float
    """Requests that are due later do not come."""
    warm_up: float = 0.0
    """What is due before does not count."""
    patience: float = 60.0
    """How long after ``seconds`` turns under way are waited for."""

    def __post_init__(self) -> None:
        if not (isfinite(self.seconds) and 0 <= self.warm_up < self.seconds):
            raise InvalidRequest("warm_up: must be 0 or more and less than seconds")
        if not (isfinite(self.patience) and self.patience >= 0):
            raise InvalidRequest(f"patience: must be 0 or more, not {self.patience}")

    @property
    def length(self) -> float:
        """Seconds that count."""
        return self.seconds - self.warm_up

    @property
    def horizon(self) -> float:
        """When the run ends."""
        return self.seconds + self.patience


@dataclass(frozen=True, slots=True)
class Faults:
    """How replicas fail: after exponentially distributed times, each by itself."""

    mean_seconds_between: float
    """Of one replica."""
    replace_seconds: float = 10.0
    """Until another is in its place."""

    def __post_init__(self) -> None:
        _check("mean_seconds_between", self.mean_seconds_between, above=True)
        _check("replace_seconds", self.replace_seconds)


@dataclass(frozen=True, slots=True)
class Hands:
    """Replicas that run tools, of a decoupled platform. They follow the load as ``actors.hand`` has Serve do it."""

    name: str = "hands"
    tools: tuple[str, ...] = ()
    """Names of their tools; empty: all that no others run."""
    min_replicas: int = 1
    max_replicas: int = 1
    concurrency: int = 16
    """Calls that a replica runs at a time; also what the number of replicas is steered to."""
    start_seconds: float = 5.0
    """From the decision to have one more replica until it takes calls."""
    idle_seconds: float = 60.0
    """How long there must be too many before some end."""
    decide_seconds: float = 2.0
    """From one look at the load to the next."""
    faults: Faults | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas or self.max_replicas < 1 or self.concurrency < 1:
            raise InvalidRequest(
                f"hands {self.name}: must have 0 <= min_replicas <= max_replicas, max_replicas and concurrency of at"
                " least 1"
            )
        _check("start_seconds", self.start_seconds)
        _check("idle_seconds", self.idle_seconds)
        _check("decide_seconds", self.decide_seconds, above=True)


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the platform itself takes between the parts of a turn, in seconds."""

    before: Empirical = Empirical((0.0,))
    """From the request's arrival to its first model request."""
    between: Empirical = Empirical((0.0,))
    """From an answer to its tools, and from their last result to the next model request, together."""
    after: Empirical = Empirical((0.0,))
    """From the last answer to the turn's end."""


@dataclass(frozen=True, slots=True)
class System:
    """A platform."""

    topology: Topology
    brain: ServiceTime
    gpus: int = 1
    """Replicas of the brain; of a monolith, replicas of the whole."""
    turns: int | None = None
    """Slots of a monolith's replica (``monolith.turns``); None: as many as the GPU has places."""
    parallel_calls: bool = True
    """Whether the calls of one step run beside each other."""
    tools: Mapping[str, Empirical] = field(default_factory=lambda: {})
    """Seconds that each tool runs."""
    hands: tuple[Hands, ...] = (Hands(),)
    overhead: Overhead = Overhead()
    brain_faults: Faults | None = None
    part_retries: int = 3
    """How often a decoupled platform asks again for parts of one turn, model requests or tool calls, that were lost."""
    turn_retries: int = 0
    """How often a client asks again for a turn that was lost with a monolith's replica."""

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise InvalidRequest(f"gpus: must be at least 1, not {self.gpus}")
        if self.turns is not None and self.turns < 1:
            raise InvalidRequest(f"turns: must be at least 1, not {self.turns}")
        if self.part_retries < 0 or self.turn_retries < 0:
            raise InvalidRequest("part_retries and turn_retries: must be 0 or more")

    @property
    def slots(self) -> int:
        """Turns that a monolith's replica lets in at a time."""
        return self.brain.max_batch if self.turns is None else self.turns

    @property
    def whole_faults(self) -> Faults | None:
        """The faults of a monolith's replica, which has all parts in it: what ends one of them ends all."""
        parts = [each for each in (self.brain_faults, *(hands.faults for hands in self.hands)) if each is not None]
        if not parts:
            return None
        rate = sum(1 / each.mean_seconds_between for each in parts)
        return Faults(1 / rate, max(each.replace_seconds for each in parts))

    def hands_of(self, tool: str) -> Hands:
        """Return the hands that run *tool*. Raises InvalidRequest when none do."""
        for hands in self.hands:
            if tool in hands.tools:
                return hands
        for hands in self.hands:
            if not hands.tools:
                return hands
        raise InvalidRequest(f"hands: none of them run the tool {tool!r}")


def check_workloads(workloads: Sequence[Workload], names: Sequence[str], system: System) -> dict[str, Workload]:
    """Return workloads by name. Raises InvalidRequest when one of *names* is missing or a turn cannot be played."""
    found = {each.name: each for each in workloads}
    if missing := sorted(set(names) - set(found)):
        raise InvalidRequest(f"workloads: there is none named {', '.join(missing)}")
    for workload in workloads:
        _check_shapes(workload, system.tools)
    return found


def _check_shapes(workload: Workload, tools: Mapping[str, Any]) -> None:
    where = f"workload {workload.name}"
    if not workload.shapes:
        raise InvalidRequest(f"{where}: needs at least one shape")
    for shape in workload.shapes:
        if not shape.steps or not -len(shape.steps) <= shape.speaks_at < len(shape.steps):
            raise InvalidRequest(f"{where}: a shape needs at least one step, and speaks_at must be one of its steps")
        if not (isfinite(shape.weight) and shape.weight > 0):
            raise InvalidRequest(f"{where}: weight must be above 0")
        if shape.steps[-1].tools:
            raise InvalidRequest(f"{where}: a shape's last step has no tools, for an answer follows them")
        for step in shape.steps:
            _check(f"{where}: tokens_in", step.tokens_in)
            _check(f"{where}: tokens_out", step.tokens_out)
            if unknown := sorted(set(step.tools) - set(tools)):
                raise InvalidRequest(f"{where}: nothing says how long the tool {unknown[0]!r} takes (tools)")
