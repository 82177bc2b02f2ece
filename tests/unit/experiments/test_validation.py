"""The model's error is what it says (bug class: an error that is 0 whatever the model does)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agents.brains.service_time import ServiceTime
from agents.experiments.model.calibration import Calibration
from agents.experiments.model.models import Modelled
from agents.experiments.model.queueing.inputs import (
    Empirical,
    Hands,
    Overhead,
    Requests,
    Shape,
    Step,
    Stretch,
    System,
    Workload,
)
from agents.experiments.model.queueing.simulation import simulate
from agents.experiments.model.turn_rows import Source, turns_of
from agents.experiments.model.validation import Agreement, validate
from agents.experiments.plan import Plan
from agents.experiments.trace_rows import TraceRow
from tests.unit.experiments.experiment_rows import figures, session
from tests.unit.experiments.queueing.platforms import exponential

PLAN = Plan.model_validate(
    {
        "name": "check",
        "topologies": [{"name": "decoupled"}, {"name": "monolith", "topology": "monolith"}],
        "workloads": {"support": {"seconds": 20, "first_seconds": 5}},
        "arrivals": [{"kind": "poisson", "load": [1]}],
        "seconds": 300,
        "warm_up_seconds": 30,
    }
)
WORK = Workload("support", tuple(Shape((Step(40, tokens, ("look",)), Step(10, 30))) for tokens in (20, 40, 80)))
SYSTEM = System(
    "decoupled",
    ServiceTime(),
    tools={"look": exponential(0.5)},
    overhead=Overhead(between=Empirical.fixed(0.05)),
    hands=(Hands(concurrency=64),),
)
LEARNT = Calibration(
    Source("decoupled", "poisson", 1.0), 1, (WORK,), SYSTEM.tools, SYSTEM.overhead, 0.0, parallel_calls=True
)


def live(system: System, number: int, *, load: float = 1.0, closed: bool = False) -> Iterator[TraceRow]:
    """A round of a live run that is the model's own, by the lots that the validation draws for it."""
    count = 2000
    gaps = np.random.default_rng(number).exponential(1 / load, count)
    due = np.zeros(count) if closed else np.cumsum(gaps)
    requests = Requests(due, np.zeros(count, dtype=np.int64), ("support",))
    stretch = Stretch(PLAN.seconds, PLAN.warm_up_seconds, PLAN.patience_seconds)
    found = simulate(
        requests, [WORK], system, stretch, seed=PLAN.seed + number, under_way=10 if closed else None
    ).requests
    for request in np.flatnonzero(~np.isnan(found.due)).tolist():
        due_at, seconds = float(found.due[request]), float(found.latency[request])
        yield session(
            request,
            due_at,
            seconds if found.served[request] else None,
            arrivals="closed" if closed else "poisson",
            load=10.0 if closed else load,
            round=number,
            session=f"s{number}-{request}",
            first=due_at + float(found.first_text[request]),
            warm_up=due_at < PLAN.warm_up_seconds,
        )


def test_a_run_of_the_model_itself_is_met() -> None:
    rows = [row for number in range(2) for row in live(SYSTEM, number)]
    of_rounds = [figures(round=number, seconds=270.0, gpus=1, gpu_busy_seconds=250.0) for number in range(2)]
    [found] = validate(PLAN, turns_of(rows), of_rounds, {"decoupled": Modelled(LEARNT, SYSTEM)})
    assert (found.topology, found.arrivals, found.load, found.rounds) == ("decoupled", "poisson", 1.0, 2)
    assert found.learnt_from
    assert found.sessions == sum(not row.warm_up for row in rows)
    errors = {each.metric: each.relative_error for each in found.figures}
    busy = errors.pop("gpu_busy_share")
    assert set(errors) == {
        "throughput_per_second",
        "latency_p50_seconds",
        "latency_p95_seconds",
        "first_text_p50_seconds",
        "first_text_p95_seconds",
    }
    assert list(errors.values()) == pytest.approx([0] * 5, abs=1e-5)
    measured = next(each for each in found.figures if each.metric == "gpu_busy_share")
    assert measured.measured == pytest.approx(250 / 270)
    assert busy == pytest.approx(measured.modelled / (250 / 270) - 1)
    assert found.latency_distance == pytest.approx(0, abs=0.005)


def test_gpus_of_brains_that_do_not_tell_are_not_compared() -> None:
    of_round = figures(seconds=270.0, gpus=1, gpu_busy_seconds=None)
    [found] = validate(PLAN, turns_of(live(SYSTEM, 0)), [of_round], {"decoupled": Modelled(LEARNT, SYSTEM)})
    assert "gpu_busy_share" not in {each.metric for each in found.figures}


def test_each_session_takes_the_course_that_it_took_in_the_run() -> None:
    shapes, stretch = WORK.shapes, Stretch(PLAN.seconds, PLAN.warm_up_seconds, PLAN.patience_seconds)
    alone = [Workload(str(number), (shape,)) for number, shape in enumerate(shapes)]
    # Long turns first, short ones last, as no lot would have it.
    kinds = np.repeat([2, 1, 0], 30)
    requests = Requests(np.arange(90) * 3.0, kinds, tuple(each.name for each in alone))
    found = simulate(requests, alone, SYSTEM, stretch, seed=PLAN.seed).requests
    rows: list[TraceRow] = []
    for number, kind in enumerate(kinds.tolist()):
        due = float(found.due[number])
        row = TraceRow("session", "decoupled", "support", "poisson", 1.0, 0, number, f"s{number}", "support", due, due)
        ended, prompt = due + float(found.latency[number]), 1000.0
        rows.append(replace(row, first=due + float(found.first_text[number]), ended=ended, warm_up=due < 30))
        for at, step in enumerate(shapes[kind].steps):
            prompt += step.tokens_in
            begun = replace(row, due=due + at, began=due + at, ended=due + at + 0.5)
            rows.append(replace(begun, kind="inference", tokens_in=int(prompt), tokens_out=int(step.tokens_out)))
            rows += [replace(begun, kind="tool_call", name=tool, due=due + at + 0.5) for tool in step.tools]
    learnt = replace(LEARNT, kept_tokens={"support": 1000})
    [same] = validate(PLAN, turns_of(rows), [], {"decoupled": Modelled(learnt, SYSTEM)})
    assert [each.relative_error for each in same.figures[:3]] == pytest.approx([0] * 3, abs=1e-5)
    assert same.latency_distance == pytest.approx(0, abs=0.02)
    [by_lot] = validate(
        PLAN, turns_of(row for row in rows if row.kind == "session"), [], {"decoupled": Modelled(learnt, SYSTEM)}
    )
    assert by_lot.latency_distance is not None
    assert by_lot.latency_distance > same.latency_distance + 0.05


def test_a_run_on_a_slower_platform_is_missed_by_as_much() -> None:
    slower = replace(SYSTEM, tools={"look": Empirical.fixed(10.0)})
    [found] = validate(PLAN, turns_of(live(slower, 0)), [], {"decoupled": Modelled(LEARNT, SYSTEM)})
    errors = {each.metric: each.relative_error for each in found.figures}
    assert errors["latency_p50_seconds"] is not None
    assert errors["latency_p50_seconds"] < -0.7
    assert found.latency_distance is not None
    assert found.latency_distance > 0.9
    assert "gpu_busy_share" not in errors


def test_a_closed_loop_is_played_as_one() -> None:
    [found] = validate(PLAN, turns_of(live(SYSTEM, 0, closed=True)), [], {"decoupled": Modelled(LEARNT, SYSTEM)})
    assert (found.arrivals, found.learnt_from) == ("closed", False)
    throughput = next(each for each in found.figures if each.metric == "throughput_per_second")
    assert throughput.relative_error == pytest.approx(0, abs=1e-5)
    assert throughput.measured > 2


def test_refused_sessions_are_no_slow_answers_and_come_on_the_model_all_the_same() -> None:
    models = {"decoupled": Modelled(LEARNT, SYSTEM)}
    rows = list(live(SYSTEM, 0))
    refused = [
        session(10_000 + number, float(number), None, session="", first=None, outcome="http_529", warm_up=number < 30)
        for number in range(300)
    ]
    [without], [found] = (
        validate(PLAN, turns_of(rows), [], models),
        validate(PLAN, turns_of([*rows, *refused]), [], models),
    )
    assert [each.measured for each in found.figures] == [each.measured for each in without.figures]
    assert found.figures[0].modelled > 1.5 * without.figures[0].modelled


def test_topologies_without_a_model_are_left_out_and_all_of_it_is_json() -> None:
    rows = list(live(SYSTEM, 0))
    assert validate(PLAN, turns_of(rows), [], {}) == []
    [found] = validate(PLAN, turns_of(rows), [], {"decoupled": Modelled(LEARNT, SYSTEM)})
    text = json.dumps(found.as_dict(), allow_nan=False)
    assert json.loads(text)["figures"][0]["relative_error"] == pytest.approx(found.figures[0].relative_error)


def test_an_error_of_nothing_is_no_number() -> None:
    assert Agreement("throughput_per_second", 0.0, 1.0).relative_error is None
    assert Agreement("throughput_per_second", 4.0, 3.0).relative_error == -0.25
