"""Arrivals of an experiment (ours): by their law, the same for every topology, as bursty as their trace."""

from __future__ import annotations

import gzip
import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from agents.errors import InvalidRequest
from agents.experiments.plan import Plan
from agents.experiments.work.arrivals import Arrival, arrivals_of
from agents.experiments.work.production_trace import TraceRequest, read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.0000000,374,44
2023-11-16 18:15:47.5000009,396,109
2023-11-16 18:15:46.2500000,879,55
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 0, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}
{"timestamp": 3000, "input_length": 2000, "output_length": 20, "hash_ids": [0]}
"""


def plan_of(*, seconds: float = 20.0, warm_up: float = 5.0, seed: int = 1, **arrivals: Any) -> Plan:
    goal = {"seconds": 10, "first_seconds": 2}
    return Plan.model_validate(
        {
            "name": "test",
            "seed": seed,
            "topologies": [{"name": "monolith", "topology": "monolith"}],
            "workloads": {"support": goal, "extraction": goal, "recommendation": goal},
            "arrivals": [arrivals],
            "seconds": seconds,
            "warm_up_seconds": warm_up,
        }
    )


def drawn(plan: Plan, round_number: int = 0) -> list[Arrival]:
    (arrivals,) = plan.arrivals
    return list(arrivals_of(plan, arrivals, arrivals.load[0], round_number))


def gaps(arrivals: Sequence[Arrival]) -> list[float]:
    return [later.due - earlier.due for earlier, later in itertools.pairwise(arrivals)]


def test_gaps_of_a_poisson_process_are_exponential() -> None:
    """Kolmogorov-Smirnov test against the distribution that defines the process; its number is the load's."""
    arrivals = drawn(plan_of(kind="poisson", load=[4.0], seconds=1000))
    assert len(arrivals) == pytest.approx(4000, abs=4 * 4000**0.5)
    assert scipy.stats.kstest(gaps(arrivals), "expon", args=(0, 1 / 4.0)).pvalue > 0.01


def test_a_round_is_the_same_whenever_it_is_drawn_and_another_is_another() -> None:
    plan = plan_of(kind="poisson", load=[4.0])
    assert drawn(plan) == drawn(plan)
    others = (
        drawn(plan, 1),
        drawn(plan_of(kind="poisson", load=[4.0], seed=2)),
        drawn(plan_of(kind="poisson", load=[5.0])),
    )
    for other in others:
        assert [each.due for each in other] != [each.due for each in drawn(plan)]


def test_arrivals_are_numbered_in_order_and_the_warm_up_is_told() -> None:
    arrivals = drawn(plan_of(kind="poisson", load=[4.0]))
    assert [each.request for each in arrivals] == list(range(len(arrivals)))
    assert [each.due for each in arrivals] == sorted(each.due for each in arrivals)
    assert arrivals[0].due > 0
    assert arrivals[-1].due < 20.0
    assert {each.warm_up for each in arrivals if each.due < 5.0} == {True}
    assert {each.warm_up for each in arrivals if each.due >= 5.0} == {False}


def test_workloads_come_equally_often_in_changing_order() -> None:
    arrivals = drawn(plan_of(kind="poisson", load=[4.0], seconds=100))
    whole = [each.workload for each in arrivals][: len(arrivals) // 3 * 3]
    assert set(Counter(whole).values()) == {len(whole) // 3}
    assert len({tuple(whole[place : place + 3]) for place in range(0, len(whole), 3)}) == 6


def test_a_closed_loop_has_the_same_sessions_without_end() -> None:
    plan = plan_of(kind="closed", load=[8])
    (arrivals,) = plan.arrivals
    first, second = (list(itertools.islice(arrivals_of(plan, arrivals, 8, 0), 500)) for _ in range(2))
    assert first == second
    assert [each.request for each in first] == list(range(500))
    assert not any(each.warm_up or each.due for each in first)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("azure.csv", AZURE, [(0.0, 374, 44), (0.25, 879, 55), (1.5, 396, 109)]),
        ("mooncake.jsonl", MOONCAKE, [(0.0, 6758, 500), (0.0, 7322, 490), (3.0, 2000, 20)]),
        ("later.csv", AZURE.replace("0,", "0+00:00,"), [(0.0, 374, 44), (0.25, 879, 55), (1.5, 396, 109)]),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_production_trace_is_read_in_order(
    tmp_path: Path, name: str, text: str, expected: list[tuple[float, int, int]], zipped: bool
) -> None:
    path = tmp_path / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert read_trace(path) == tuple(TraceRequest(*each) for each in expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,3\n", "no column GeneratedTokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,3,4\n", "line 2: "),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,3\n", "line 2: "),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,-3,4\n", "line 2: .* 0 or more"),
        ('{"timestamp": 0, "input_length": 1}\n', "line 1: it has no output_length"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 1}\n{"timestamp":\n', "line 2: "),
        ('{"timestamp": 0, "input_length": 1, "output_length": 1}\n', "two times at least"),
        ("", "no column"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=said):
        read_trace(path)


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"absent\.csv can not be read"):
        drawn(plan_of(kind="trace", load=[1.0], trace=tmp_path / "absent.csv"))


def _bursty(path: Path) -> Path:
    """Write a trace of ten bursts: nine requests within 0.9 seconds, then ten seconds of nothing."""
    moments = [10.9 * burst + 0.1 * place for burst in range(10) for place in range(10)]
    rows = [
        f'{{"timestamp": {round(1000 * at)}, "input_length": {number}, "output_length": {1000 + number}}}'
        for number, at in enumerate(moments)
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("load", [0.5, 2.0, 20.0])
def test_a_trace_comes_at_the_load_and_in_its_bursts(tmp_path: Path, load: float) -> None:
    trace = _bursty(tmp_path / "trace.jsonl")
    arrivals = drawn(plan_of(kind="trace", load=[load], trace=trace, seconds=100))
    assert len(arrivals) == 100 * load
    assert (arrivals[0].due, arrivals[-1].due < 100) == (0.0, True)
    variation = statistics.pstdev(gaps(arrivals)) / statistics.fmean(gaps(arrivals))
    original = [request.at for request in read_trace(trace)]
    expected = [later - earlier for earlier, later in itertools.pairwise(original)]
    # At 0.5 a half of the trace is played, at 20 twenty times the whole: the gaps between two plays are new.
    assert variation == pytest.approx(statistics.pstdev(expected) / statistics.fmean(expected), rel=0.15)


def test_lengths_go_with_their_requests_and_each_round_takes_the_next_part(tmp_path: Path) -> None:
    plan = plan_of(kind="trace", load=[0.6], trace=_bursty(tmp_path / "trace.jsonl"), seconds=100)
    first, second = drawn(plan, 0), drawn(plan, 1)
    assert [(each.context_tokens, each.output_tokens) for each in first] == [(n, 1000 + n) for n in range(60)]
    assert [each.context_tokens for each in second] == [*range(60, 100), *range(20)]
    assert second[0].due == 0.0
    assert second[-1].due < 100


def test_requests_of_one_moment_stay_together_and_within_the_round(tmp_path: Path) -> None:
    path = tmp_path / "coarse.jsonl"
    rows = [f'{{"timestamp": {3000 * (n // 10)}, "input_length": 1, "output_length": 1}}' for n in range(40)]
    path.write_text("\n".join(rows))
    for wanted in (0.5, 1.5):
        arrivals = drawn(plan_of(kind="trace", load=[wanted], trace=path, seconds=10))
        assert Counter(each.due for each in arrivals).most_common(1)[0][1] == min(10, len(arrivals))
        assert max(each.due for each in arrivals) < 10
