"""The file of an experiment: what is run, how often, on which topologies, and what is held against what.

Every topology gets the same brains, hands, GPUs, requests and arrivals; rounds are pairs, in alternating order (ABBA),
so that what drifts on the machine falls on all of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from agents.brains.service_time import ServiceTime
from agents.economics.roi.inputs import PriceList
from agents.errors import InvalidRequest
from agents.settings_base import Section

WorkloadName = Literal["support", "extraction", "recommendation"]
FaultPart = Literal["brain", "harness", "hand", "sandbox"]
Seconds = Annotated[float, Field(gt=0)]
FAULT_SEEN_SECONDS = 5.0
"""No fault comes later than this before a round's end: sessions that begin behind it are to see what it does, too."""
_PRICED = frozenset({"gpu_usd_per_hour", "cpu_usd_per_hour"})


class Topology(Section):
    """One way to run the platform."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    """How the report calls it; ``decoupled`` and ``monolith``, or what an ablation leaves out."""
    topology: Literal["decoupled", "monolith"] = "decoupled"
    settings: dict[str, Any] = Field(default_factory=lambda: {})
    """Settings of the platform that differ from the experiment's own, by section, as in a configuration file."""


class HandTime(Section):
    """How long the systems behind the hands take, which here stand in for ones that are reached over a network.

    Each call of a hand takes a log-normal time beside its own work, the same for the same call in every topology. Told
    openly wherever figures are shown, as the brain's times are.
    """

    median_seconds: float = Field(default=0.0, ge=0, le=60)
    """Half of the calls take longer; 0 adds nothing."""
    sigma: float = Field(default=0.0, ge=0, le=3)
    """Standard deviation of the logarithm: 0.5 makes the 95th percentile 2.3 times the median."""


class Goal(Section):
    """What a workload's sessions are held to: a session counts as served when it meets both."""

    seconds: Seconds
    """From its arrival to the end of its turn."""
    first_seconds: Seconds
    """From its arrival to the first piece of text."""


class Arrivals(Section):
    """When sessions come."""

    kind: Literal["poisson", "trace", "closed"]
    load: list[float] = Field(min_length=1)
    """Sessions per second of an open loop (a trace is sped up to them), sessions under way of a closed one; the
    experiment runs once with each."""
    trace: Path | None = None
    """A production trace: CSV with TIMESTAMP, ContextTokens, GeneratedTokens, or JSON lines with timestamp (ms),
    input_length, output_length; also gzipped."""

    @model_validator(mode="after")
    def _complete(self) -> Arrivals:
        if any(load <= 0 for load in self.load):
            raise ValueError("load must be above 0")
        if self.kind == "closed" and any(load != int(load) for load in self.load):
            raise ValueError("load of a closed loop is a number of sessions: 4, not 4.5")
        if (self.kind == "trace") != (self.trace is not None):
            raise ValueError("trace names the file that arrivals of kind trace are replayed from, and only those")
        return self


class Faults(Section):
    """Processes of the platform that are killed while a round runs: at the same moments, of the same parts, in every
    topology. One that does several parts' work dies of a fault of any."""

    every_seconds: Seconds
    """Mean of the gaps between two faults, which are exponential."""
    parts: list[FaultPart] = Field(min_length=1)
    """Each as often as the others; one that is named twice, twice as often."""


class Plan(Section):
    """One experiment."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    seed: int = 1
    """Of all that is drawn by lot: arrivals, requests and faults; the same for every topology."""
    baseline: str = "monolith"
    """The topology that the others are compared with."""
    topologies: list[Topology] = Field(min_length=1)
    workloads: dict[WorkloadName, Goal] = Field(min_length=1)
    arrivals: list[Arrivals] = Field(min_length=1)
    rounds: int = Field(default=3, ge=1, le=1000)
    """Pairs: how often each topology gets each load."""
    seconds: Seconds = 20.0
    """Length of a round, its warm-up included; what arrives later is not part of it."""
    warm_up_seconds: float = Field(default=5.0, ge=0)
    patience_seconds: Seconds = 60.0
    """How long after the round's end sessions under way are waited for; then they count as failed."""
    gpus: int = Field(default=1, ge=1)
    """GPUs of every topology, logical ones where the brain is simulated: so many replicas of the brain."""
    brain: ServiceTime = ServiceTime()
    """The service times of the simulated brain; other brains are named in ``settings.brains``."""
    hands: HandTime = HandTime()
    """The times of the systems behind the hands."""
    prices: PriceList = PriceList()
    """What an hour of a GPU and of a hand costs; a scenario's other prices are no part of an experiment."""
    faults: Faults | None = None
    """What fails while a round runs; nothing without it."""
    settings: dict[str, Any] = Field(default_factory=lambda: {})
    """Settings of the platform, the same for every topology."""

    @field_validator("prices")
    @classmethod
    def _of_what_is_held(cls, prices: PriceList) -> PriceList:
        if others := [name for name, price in prices if price and name not in _PRICED]:
            raise ValueError(f"an experiment pays for GPUs and hands alone, so {others[0]} would count nowhere")
        return prices

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        names = [each.name for each in self.topologies]
        if len(set(names)) < len(names):
            raise ValueError("topologies must have different names")
        if self.baseline not in names:
            raise ValueError(f"baseline {self.baseline!r} is none of the topologies {', '.join(names)}")
        if self.warm_up_seconds >= self.seconds:
            raise ValueError("warm_up_seconds must be less than seconds")
        if self.faults and self.warm_up_seconds + FAULT_SEEN_SECONDS >= self.seconds:
            raise ValueError(f"faults come between the warm-up and {FAULT_SEEN_SECONDS:g} s before the round's end")
        return self


def read_plan(path: Path) -> Plan:
    """Read an experiment's YAML file; relative paths in it count from its folder. Raises InvalidRequest."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRequest(f"{path} can not be read: {error}") from error
    if not isinstance(content, Mapping):
        raise InvalidRequest(f"{path} is no experiment: a mapping with name, topologies, workloads and arrivals")
    try:
        plan = Plan.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = [str(path), *([".".join(map(str, fault["loc"]))] if fault["loc"] else [])]
        raise InvalidRequest(": ".join([*where, fault["msg"].removeprefix("Value error, ")])) from error
    arrivals = [
        each.model_copy(update={"trace": (path.parent / each.trace).absolute()}) if each.trace else each
        for each in plan.arrivals
    ]
    return plan.model_copy(update={"arrivals": arrivals})
