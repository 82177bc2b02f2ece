"""What an experiment found follows from its rows by its definitions, and is compared request by request.

Bug class: coordinated omission, survivors only, warm-up or carried-over work counted for the slower topology's loss.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.errors import InvalidRequest
from agents.experiments.analysis.analysis import Analysis, CellMetrics, analyse
from agents.experiments.analysis.comparisons import Comparison
from agents.experiments.plan import Plan
from agents.experiments.trace_rows import TraceRow
from agents.statistics.verdicts import Verdict
from tests.unit.experiments.experiment_rows import figures, part, plan_of, session


def only(plan: Plan, rows: Iterable[TraceRow]) -> CellMetrics:
    (cell,) = analyse(plan, rows).cells
    return cell


def compared(found: Analysis, measure: str, workload: str = "support", load: float | None = 1.0) -> Comparison:
    (comparison,) = (
        each for each in found.comparisons if (each.measure, each.workload, each.load) == (measure, workload, load)
    )
    return comparison


def test_latency_counts_from_when_a_session_was_due() -> None:
    """A session that the driver began late (at 6 s) has waited since it was due (at 3 s)."""
    cell = only(plan_of(), [session(due=3.0, began=6.0, first=7.0, ended=8.0)])
    assert cell.latency_seconds is not None and cell.ttft_seconds is not None
    assert (cell.latency_seconds.p50.value, cell.ttft_seconds.p50.value) == (5.0, 4.0)


def test_an_unfinished_session_failed_and_has_lasted_until_it_was_given_up() -> None:
    """The round's end (12 s) and patience (30 s) are behind it: at least 39 s since it was due at 3 s."""
    cell = only(plan_of(), [session(0), session(1, seconds=None, first=None), session(2, seconds=None, first=5.0)])
    assert (cell.rates.sessions, cell.rates.failed, cell.rates.unfinished) == (3, 2, 2)
    assert cell.latency_seconds is not None and cell.ttft_seconds is not None
    assert (cell.latency_seconds.count, cell.latency_seconds.p50.value) == (3, 39.0)
    assert cell.ttft_seconds.mean.value == pytest.approx((0.25 + 39.0 + 2.0) / 3)


@pytest.mark.parametrize("ended", [3.01, None], ids=["told", "cut off"])
def test_a_refusal_is_a_failure_and_no_fast_answer(ended: float | None) -> None:
    refused = session(1, outcome="http_529", first=None, ended=ended)
    cell = only(plan_of(), [session(0), refused])
    assert (cell.rates.error_rate, cell.rates.unfinished) == (0.5, 0)
    assert cell.latency_seconds is not None and cell.latency_seconds.count == 1
    assert cell.rates.served_share == 0.5


def test_throughput_is_what_ended_in_the_window() -> None:
    """Begun in the warm-up and ended in the window counts; ended in patience does not, or loads would look alike."""
    rows = [
        session(0, due=1.0, seconds=0.5),  # over before the window
        session(1, due=1.0, seconds=2.0),
        session(2, due=3.0, seconds=2.0),
        session(3, due=9.0, seconds=4.0),  # ended behind it, yet met its goal
        session(4, due=4.0, seconds=2.0, outcome="wrong_answer"),
    ]
    found = only(plan_of(), rows).rates
    assert found.window_seconds == 10.0
    assert found.completed_per_second == 2 / 10
    assert (found.sessions, found.served_per_second) == (3, 2 / 10)


def test_a_session_is_served_when_it_meets_both_goals() -> None:
    rows = [
        session(0, seconds=4.0, first=4.0),
        session(1, seconds=4.5),
        session(2, seconds=3.0, first=4.5),
        session(3, first=None),  # no text: held to its end alone
    ]
    assert only(plan_of(), rows).rates.served_share == 0.5


def test_failures_have_a_mean_time_between_them_or_there_was_none() -> None:
    rows = [session(0), session(1, outcome="error"), session(2, round=1), session(3, round=1, outcome="error")]
    found = only(plan_of(), rows).rates
    assert found.mtbf_hours == pytest.approx(20 / 3600 / 2)
    assert found.failures_per_hour == pytest.approx(360)
    assert only(plan_of(), [session()]).rates.mtbf_hours is None


def test_a_session_was_tried_again_when_anything_of_it_was() -> None:
    rows = [
        part("inference", 0, retries=1),
        part("inference", 0, retries=2),
        session(0),
        session(1, retries=1),
        session(2),
        session(3),
        session(4, due=1.0, retries=1),
    ]
    assert only(plan_of(), rows).rates.retry_rate == 0.5


def test_a_session_costs_what_its_parts_do() -> None:
    """Its own row repeats them; parts may come before it."""
    rows = [
        part("inference", 0, micro_usd=1_000_000),
        session(0, micro_usd=1_500_000),
        part("tool_call", 0, micro_usd=500_000),
        session(1),
        part("inference", 2, micro_usd=9, warm_up=True),
    ]
    assert only(plan_of(), rows).metered_usd_per_session == 0.75


def test_tokens_and_prices_of_rounds() -> None:
    rows = [
        session(0),
        session(1),
        part("inference", 0, tokens_in=300, tokens_out=100),
        part("inference", 1, tokens_in=999, tokens_out=999, outcome="model_request_failed"),
        part("inference", 1, ended=12.5, tokens_in=999, tokens_out=999),
    ]
    found = analyse(plan_of(), rows, [figures()]).cells[0].rates
    assert (found.tokens_per_second, found.output_tokens_per_second) == (40.0, 10.0)
    assert (found.gpu_utilisation, found.hand_utilisation) == (12 / 20, 10 / 40)
    # A hundredth of a dollar per second, for a fifth of a session, 40 tokens, 10 written tokens per second.
    assert found.usd_per_session == pytest.approx(0.05)
    assert found.usd_per_token == pytest.approx(0.01 / 40)
    assert found.usd_per_output_token == pytest.approx(0.01 / 10)


def test_a_price_kept_for_a_longer_stretch_is_the_same_rate() -> None:
    whole = figures(seconds=20.0, usd=0.2, gpu_busy_seconds=24.0, hand_busy_seconds=20.0)
    rows = [session(0), session(1)]
    assert analyse(plan_of(), rows, [whole]) == analyse(plan_of(), rows, [figures()])


def test_workloads_are_counted_apart_and_together() -> None:
    """A round costs all of its workloads together; one that nobody asked for in a round had its time all the same."""
    plan = plan_of(("support", "extraction"))
    rows = [
        session(0),
        session(1, workload="extraction", seconds=6.0),
        part("inference", 1, workload="extraction", micro_usd=4_000_000),
        session(0, round=1),
    ]
    found = analyse(plan, rows, [figures(), figures(round=1)])
    by_name = {cell.cell.workload: cell for cell in found.cells}
    assert list(by_name) == ["all", "extraction", "support"]
    assert found.all_workloads == "all"
    assert [cell.rates.sessions for cell in found.cells] == [3, 1, 2]
    assert [cell.rates.window_seconds for cell in found.cells] == [20.0] * 3
    assert [cell.rates.served_share for cell in found.cells] == [pytest.approx(2 / 3), 0.0, 1.0]
    assert by_name["all"].metered_usd_per_session == pytest.approx(4 / 3)
    assert by_name["all"].rates.gpu_utilisation == 0.6
    assert by_name["support"].rates.gpu_utilisation is None


def loaded(topology: str, load: float, seconds: float, rounds: int = 1) -> Iterator[TraceRow]:
    """At every load twenty sessions per round, which end in the window."""
    for number in range(rounds):
        for request in range(20):
            yield session(request, 2.5, seconds + number / 100, topology=topology, load=load, round=number)


def test_throughput_at_the_goal_is_that_of_the_highest_load_that_keeps_it() -> None:
    """Of the decoupled platform's sessions 19 of 20 meet the goal at load 4; the monolith keeps it at none."""
    late = session(19, 2.5, 9.0, load=4.0)
    rows = [
        *loaded("decoupled", 1.0, 2.0),
        *list(loaded("decoupled", 4.0, 3.0))[:19],
        late,
        *loaded("decoupled", 8.0, 5.0),
        *loaded("monolith", 1.0, 4.5),
    ]
    found = analyse(plan_of(), rows, [figures(load=4.0)])
    decoupled, monolith = found.at_goal
    assert (decoupled.topology, decoupled.load, decoupled.served_per_second) == ("decoupled", 4.0, 1.9)
    assert (decoupled.completed_per_second, decoupled.usd_per_session) == (2.0, pytest.approx(0.01 / 2.0))
    assert (monolith.topology, monolith.load, monolith.served_per_second) == ("monolith", None, 0.0)
    assert (monolith.completed_per_second, monolith.usd_per_session) == (None, None)


def test_throughput_at_the_goal_is_compared_round_by_round() -> None:
    rows = [*loaded("decoupled", 1.0, 2.0, rounds=4), *loaded("monolith", 1.0, 4.5, rounds=4)]
    found = compared(analyse(plan_of(), rows), "served_per_second_at_goal", load=None)
    assert (found.pairs_of, found.paired.pairs, found.unpaired) == ("rounds", 4, 0)
    assert (found.paired.baseline_mean, found.paired.candidate_mean) == (0.0, 2.0)


def experiment(rounds: int, faster: float, seed: int = 1) -> list[TraceRow]:
    """Requests of log-normal length, the same in both topologies but for some noise, in one *faster* times as fast."""
    dice = random.Random(seed)
    rows: list[TraceRow] = []
    for number in range(rounds):
        for request in range(15):
            seconds = dice.lognormvariate(0, 0.5)
            for topology, factor in (("monolith", 1.0), ("decoupled", 1 / faster)):
                rows.append(
                    session(request, 2.5, seconds * factor * dice.uniform(0.9, 1.1), topology=topology, round=number)
                )
    return rows


def test_a_faster_topology_is_better_by_its_factor() -> None:
    found = compared(analyse(plan_of(), experiment(4, faster=3.0)), "latency_seconds")
    assert (found.pairs_of, found.paired.pairs, found.unpaired) == ("requests", 60, 0)
    assert (found.topology, found.baseline) == ("decoupled", "monolith")
    assert (found.verdict, found.confirmed) == (Verdict.BETTER, True)
    for ratio in (found.paired.ratio, *(found.ratios[name] for name in ("p50", "p95", "p99"))):
        assert ratio is not None and ratio.low is not None and ratio.high is not None
        assert ratio.low <= ratio.value <= ratio.high
        assert ratio.value == pytest.approx(1 / 3, rel=0.1)
    assert found.ratios["variance"].value == pytest.approx(1 / 9, rel=0.2)


def test_the_same_topology_twice_is_no_significant_difference() -> None:
    found = analyse(plan_of(), experiment(6, faster=1.0))
    said = {each.measure: each.verdict for each in found.comparisons}
    assert set(said.values()) == {Verdict.NO_DIFFERENCE}
    assert {"latency_seconds", "ttft_seconds", "latency_p95_seconds", "error_rate"} <= said.keys()


def test_rounds_are_compared_for_all_workloads_together_only() -> None:
    """They are few, and every further comparison of them costs power; of requests there are enough for each."""
    plan = plan_of(("support", "extraction"))
    rows = experiment(3, faster=2.0)
    rows += [replace(row, workload="extraction", request=100 + row.request) for row in experiment(3, 2.0, seed=2)]
    found = analyse(plan, rows).comparisons
    assert {each.workload for each in found if each.pairs_of == "rounds"} == {"all"}
    assert {each.workload for each in found if each.pairs_of == "requests"} == {"all", "extraction", "support"}
    (pairs,) = {each.paired.pairs for each in found if each.workload == "all" and each.pairs_of == "requests"}
    assert pairs == 90


@pytest.mark.filterwarnings("error")
def test_two_pairs_are_compared_without_complaint() -> None:
    """Left one out, as BCa does, there is one, of which nothing varies."""
    rows = [session(n, 2.5, 1.0 + n / 3, topology=name) for n in range(2) for name in ("monolith", "decoupled")]
    found = compared(analyse(plan_of(), rows), "latency_seconds")
    assert (found.paired.pairs, found.verdict) == (2, Verdict.TOO_FEW)
    assert found.ratios["variance"].value == 1.0


def test_requests_that_one_side_has_no_latency_of_are_not_compared() -> None:
    """One was refused by the monolith, one is not in its trace at all."""
    rows = experiment(2, faster=2.0)
    rows[0] = session(0, 2.5, topology="monolith", outcome="http_529")
    rows.append(session(99, 2.5, round=1))
    found = compared(analyse(plan_of(), rows), "latency_seconds")
    assert (found.paired.pairs, found.unpaired) == (29, 2)


def test_two_rounds_say_nothing_of_rounds() -> None:
    found = analyse(plan_of(), experiment(2, faster=3.0))
    assert compared(found, "latency_p95_seconds").verdict is Verdict.TOO_FEW


def test_p_values_are_corrected_within_a_measure() -> None:
    """Two loads are two questions of the same kind: the smaller p value counts twice."""
    rows = [*experiment(3, 1.02), *(replace(row, load=2.0) for row in experiment(3, 1.02, seed=2))]
    found = analyse(plan_of(), rows)
    pair = [compared(found, "latency_seconds", load=load) for load in (1.0, 2.0)]
    plain = [each.paired.t_p for each in pair]
    assert all(p is not None for p in plain)
    smaller, larger = sorted(p for p in plain if p is not None)
    assert sorted(each.p_holm for each in pair if each.p_holm is not None) == pytest.approx(
        [min(1, 2 * smaller), max(2 * smaller, larger)]
    )


def test_the_result_is_json_and_the_same_for_rows_in_any_order() -> None:
    """No NaN, which JSON has no word for."""
    rows = [*experiment(3, 2.0), part("inference", 1, tokens_in=5, micro_usd=3), session(50, seconds=None)]
    found = analyse(plan_of(), rows, [figures(), figures(topology="monolith")])
    text = json.dumps(found.as_dict(), allow_nan=False)
    random.Random(5).shuffle(rows)
    assert json.dumps(analyse(plan_of(), rows, [figures(topology="monolith"), figures()]).as_dict()) == text


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(InvalidRequest, match="no session that was due after the warm-up"):
        analyse(plan_of(), [session(due=1.0)])
    with pytest.raises(InvalidRequest, match="the workload 'extraction' is none of the plan's: support"):
        analyse(plan_of(), [session(workload="extraction")])
    with pytest.raises(
        InvalidRequest, match="request 7 in round 0 is there twice: decoupled, support, poisson, load 1"
    ):
        analyse(plan_of(), [session(7), session(7)])
    with pytest.raises(InvalidRequest, match="figures of round 0 are there twice: decoupled, poisson, load 1"):
        analyse(plan_of(), [session()], [figures(), figures()])


def test_a_single_session_has_no_variance() -> None:
    cell = only(plan_of(), [session()])
    assert cell.latency_seconds is not None
    assert cell.latency_seconds.variance_seconds2 is None
    assert cell.latency_seconds.coefficient_of_variation is None
    spread = only(plan_of(), [session(0, seconds=1.0), session(1, seconds=3.0)]).latency_seconds
    assert spread is not None
    assert spread.variance_seconds2 == pytest.approx(np.var([1.0, 3.0], ddof=1))
    assert spread.coefficient_of_variation == pytest.approx(math.sqrt(2) / 2)


def test_processes_that_were_killed_are_counted_once_and_are_no_sessions() -> None:
    def fault(**fields: Any) -> TraceRow:
        return session(0, workload="", session="", kind="fault", name="brain", **fields)

    rows = [fault(), session(0), fault(outcome="no_process"), fault(round=1), session(1, workload="extraction")]
    found = analyse(plan_of(("support", "extraction")), rows)
    assert {each.cell.workload: (each.faults, each.rounds, each.rates.sessions) for each in found.cells} == {
        "all": (2, 2, 2),
        "extraction": (2, 2, 1),
        "support": (2, 2, 1),
    }
