"""A small experiment whose trace is made up: turns of two steps on places that a monolith holds while its tools run."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from pathlib import Path

import yaml

from agents.experiments.figures_of_rounds import FiguresFile, RoundFigures
from agents.experiments.plan import Plan
from agents.experiments.trace_rows import TraceRow, TraceWriter

_WORKLOAD = "support"
_TOOLS = ("crm.find_customer", "billing.list_invoices", "analytics.query")
_THINK = 0.5
_ACT = 1.5
_GPU_USD_PER_HOUR = 2.5
_HAND_USD_PER_HOUR = 0.05
_HANDS = 4

PLAN = Plan.model_validate(
    {
        "name": "synthetic",
        "seed": 7,
        "topologies": [{"name": "monolith", "topology": "monolith"}, {"name": "decoupled"}, {"name": "serial-hands"}],
        "workloads": {_WORKLOAD: {"seconds": 7, "first_seconds": 6}},
        "arrivals": [{"kind": "poisson", "load": [0.5, 1.5]}],
        "rounds": 3,
        "seconds": 20,
        "warm_up_seconds": 4,
        "patience_seconds": 20,
        "gpus": 1,
        "brain": {"max_batch": 4},
    }
)


def synthetic_rows(plan: Plan = PLAN) -> list[TraceRow]:
    """The plan's trace: the same arrivals and service times for every topology, drawn by the plan's seed."""
    return [
        row
        for topology in plan.topologies
        for load in plan.arrivals[0].load
        for number in range(plan.rounds)
        for row in _round(plan, topology.name, load, number)
    ]


def synthetic_figures(rows: list[TraceRow], plan: Plan = PLAN) -> list[RoundFigures]:
    """What GPUs and hands did, as the trace has it."""
    seconds = plan.seconds - plan.warm_up_seconds
    usd = seconds / 3600 * (plan.gpus * _GPU_USD_PER_HOUR + _HANDS * _HAND_USD_PER_HOUR)
    busy: dict[tuple[str, float, int, str], float] = {}
    for row in rows:
        began, ended = (
            min(max(each, plan.warm_up_seconds), plan.seconds) for each in (row.began, row.ended or row.began)
        )
        key = (row.topology, row.load, row.round, row.kind)
        busy[key] = busy.get(key, 0.0) + ended - began
    return [
        RoundFigures(
            topology=topology.name,
            arrivals="poisson",
            load=load,
            round=number,
            seconds=seconds,
            gpus=plan.gpus,
            gpu_busy_seconds=min(
                busy.get((topology.name, load, number, "inference"), 0.0) / plan.brain.max_batch, seconds
            ),
            hands=_HANDS,
            hand_busy_seconds=busy.get((topology.name, load, number, "tool_call"), 0.0),
            usd=usd,
        )
        for topology in plan.topologies
        for load in plan.arrivals[0].load
        for number in range(plan.rounds)
    ]


def write_run(folder: Path) -> None:
    """Write the plan's run into *folder*, but for what is known of its machine."""
    rows = synthetic_rows()
    with TraceWriter(folder / "trace.parquet") as trace:
        trace.add(rows)
    file = FiguresFile(folder / "figures.jsonl")
    for figures in synthetic_figures(rows):
        file.add(figures)
    (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN.model_dump(mode="json")))


def _round(plan: Plan, topology: str, load: float, number: int) -> Iterator[TraceRow]:
    lots = random.Random(f"{plan.seed}/{load}/{number}")
    due, request = lots.expovariate(load), 0
    free = [0.0] * plan.brain.max_batch
    while due < plan.seconds:
        thinks = [_THINK * lots.uniform(0.5, 1.5) for _ in range(2)]
        acts = [_ACT * lots.lognormvariate(0, 0.4) for _ in _TOOLS]
        yield from _Session(plan, topology, load, number, request, due).rows(free, thinks, acts)
        due += lots.expovariate(load)
        request += 1


class _Session:
    def __init__(self, plan: Plan, topology: str, load: float, number: int, request: int, due: float):
        self._end = plan.seconds + plan.patience_seconds
        self._due = due
        self._topology = topology
        self._load = load
        self._number = number
        self._request = request
        self._warm_up = due < plan.warm_up_seconds

    def rows(self, free: list[float], thinks: list[float], acts: list[float]) -> Iterator[TraceRow]:
        """The session's rows; *free* has the moments at which places are free, and is changed."""
        place = heapq.heappop(free)
        start = max(place, self._due)
        asked = start + thinks[0]
        serial = self._topology == "serial-hands"
        begins = [asked + (sum(acts[:each]) if serial else 0.0) for each in range(len(acts))]
        told = max(begin + act for begin, act in zip(begins, acts, strict=True))
        if self._topology == "monolith":
            again = told
            heapq.heappush(free, again + thinks[1])
        else:
            heapq.heappush(free, asked)
            place = heapq.heappop(free)
            again = max(place, told)
            # As if it thought at once: what the place does until the tools are done is other sessions'.
            heapq.heappush(free, max(place, asked) + thinks[1])
        ended = again + thinks[1]
        yield self._row("inference", "sim", start, start + thinks[0], first=start + 0.1, tokens_in=900, tokens_out=30)
        for name, begin, act in zip(_TOOLS, begins, acts, strict=True):
            yield self._row("tool_call", name, begin, begin + act)
        yield self._row("inference", "sim", again, ended, first=again + 0.1, tokens_in=1200, tokens_out=60)
        yield self._row("session", _WORKLOAD, self._due, ended, first=again + 0.1)

    def _row(self, kind: str, name: str, began: float, ended: float, **more: float) -> TraceRow:
        late = ended > self._end
        return TraceRow(
            kind=kind,
            topology=self._topology,
            workload=_WORKLOAD,
            arrivals="poisson",
            load=self._load,
            round=self._number,
            request=self._request,
            session=f"sesn_{self._topology}_{self._load:g}_{self._number}_{self._request}",
            name=name,
            due=self._due if kind == "session" else began,
            began=began,
            first=None if late else more.get("first"),
            ended=None if late else ended,
            outcome="unfinished" if late else "ok",
            tokens_in=int(more.get("tokens_in", 0)),
            tokens_out=int(more.get("tokens_out", 0)),
            warm_up=self._warm_up,
        )
