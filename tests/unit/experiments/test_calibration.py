"""What the model is given is what the trace says (bug class: a part that is counted twice, or in no part at all)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from agents.brains.service_time import ServiceTime
from agents.errors import InvalidRequest
from agents.experiments.model.calibration import Calibration, calibrate, lowest_loads
from agents.experiments.model.queueing.inputs import Step, System
from agents.experiments.model.turn_rows import Source, turns_of
from agents.experiments.trace_rows import TraceRow

BRAIN = ServiceTime(prefill_tokens_per_second=1000, step_seconds=0.1, step_seconds_per_answer=0)
SOURCE = Source("decoupled", "poisson", 1.0)
BASE = TraceRow("session", "decoupled", "support", "poisson", 1.0, 0, 0, "s0", "support", 0.0, 0.0)


def turn(number: int, due: float, *, look: float = 2.0, **more: Any) -> Iterator[TraceRow]:
    """A turn of two model requests of 11 and 6 tokens, with two calls beside each other between them.

    Each request takes 0.05 s more than the GPU does; the parts are 0.3, 0.1 + 0.2 and 0.4 s apart.
    """
    row = replace(BASE, session=f"s{number}", request=number, **more)
    first = due + 0.3
    answered = first + 0.1 + 1.1 + 0.05
    calls = answered + 0.1
    back = calls + look
    second = back + 0.2
    ended = second + 0.05 + 0.6 + 0.05
    yield replace(row, kind="inference", due=first, began=first, ended=answered, tokens_in=1100, tokens_out=11)
    yield replace(row, kind="inference", due=second, began=second, ended=ended, tokens_in=1150, tokens_out=6)
    yield replace(row, kind="tool_call", name="crm.look", due=calls, began=calls, ended=back)
    yield replace(row, kind="tool_call", name="bash", due=calls, began=calls, ended=calls + 0.5)
    yield replace(row, kind="state_update", name="session.status_idle", due=ended, began=ended, ended=ended)
    yield replace(row, due=due, began=due, first=second + 0.2, ended=ended + 0.4)


def rows() -> list[TraceRow]:
    """Turns that never meet; the first request of one has 1000 tokens, the least, of which nothing is new."""
    found = [row for number in range(4) for row in turn(number, 10.0 * number, look=1.0 + number)]
    least = [row for row in turn(4, 50.0) if row.kind != "tool_call"]
    shortest = [replace(row, tokens_in=row.tokens_in - 100) if row.kind == "inference" else row for row in least]
    return [*found, *shortest]


def learnt_from(found: Iterable[TraceRow], brain: ServiceTime = BRAIN) -> Calibration:
    return calibrate(SOURCE, turns_of(found)[SOURCE], brain, gpus=1)


def test_parts_and_what_is_between_them_are_as_observed() -> None:
    learnt = learnt_from(rows())
    assert learnt.sessions == 5
    assert learnt.tools["crm.look"].values == pytest.approx((1, 2, 3, 4))
    assert learnt.tools["bash"].values == pytest.approx([0.5] * 4)
    [support] = learnt.workloads
    # Of the first prompt what the shortest has as well is kept, of the second what the first was.
    looked = (Step(100, 11, ("crm.look", "bash")), Step(50, 6))
    assert {shape.steps: shape.weight for shape in support.shapes} == {looked: 4, (Step(1, 11), Step(50, 6)): 1}
    assert {shape.speaks_at for shape in support.shapes} == {1}
    assert learnt.parallel_calls
    # The last turn's first prompt had nothing to read, by what is kept: 0.099 s of 10 requests are in it.
    beyond = 0.05 + 0.099 / 10
    assert learnt.inference_seconds == pytest.approx(beyond)
    assert learnt.overhead.before.values == pytest.approx([0.3 + beyond] * 5)
    assert learnt.overhead.between.values == pytest.approx([0.3 + beyond] * 4 + [2.3 + beyond])
    assert learnt.overhead.after.values == pytest.approx([0.4] * 5)


def test_without_a_prefix_cache_every_prompt_is_read_from_its_beginning() -> None:
    uncached = BRAIN.model_copy(update={"prefix_cache_tokens": 0})
    [support] = learnt_from(rows(), uncached).workloads
    assert {tuple(step.tokens_in for step in shape.steps) for shape in support.shapes} == {(1100, 1150), (1000, 1050)}


def test_calls_that_wait_for_each_other_are_told_from_those_that_do_not() -> None:
    def after_the_first(row: TraceRow) -> TraceRow:
        assert row.ended is not None
        return replace(row, began=row.began + 4, ended=row.ended + 4) if row.name == "bash" else row

    assert not learnt_from(map(after_the_first, rows())).parallel_calls


def test_only_sessions_that_ended_well_after_the_warm_up_are_learnt_from() -> None:
    other = [
        *turn(10, 100.0, warm_up=True),
        *turn(11, 120.0, topology="monolith"),
        *turn(12, 140.0, load=2.0),
        *(replace(row, outcome="wrong_answer") if row.kind == "session" else row for row in turn(13, 160.0)),
        *(replace(row, ended=None) if row.kind == "tool_call" else row for row in turn(14, 180.0)),
        *(row for row in turn(15, 200.0) if row.kind != "inference"),
    ]
    assert learnt_from([*other, *rows()]) == learnt_from(rows())
    with pytest.raises(InvalidRequest, match="no session of 'decoupled' at load 1 that ended well"):
        learnt_from(turn(10, 100.0, warm_up=True))


def test_what_was_observed_replaces_what_a_platform_was_thought_to_take() -> None:
    learnt = learnt_from(rows())
    base = System("decoupled", BRAIN, gpus=7, turn_retries=2)
    platform = learnt.system(base)
    assert (platform.gpus, platform.turn_retries) == (7, 2)
    assert (platform.tools, platform.overhead) == (learnt.tools, learnt.overhead)


def test_it_is_learnt_where_least_waits() -> None:
    found = [*turn(0, 0.0, load=4.0), *turn(1, 9.0, load=2.0), *turn(2, 20.0, load=1.0, arrivals="closed")]
    closed = turn(3, 30.0, topology="monolith", arrivals="closed")
    assert lowest_loads(turns_of([*found, *closed])) == {"decoupled": Source("decoupled", "poisson", 2.0)}
