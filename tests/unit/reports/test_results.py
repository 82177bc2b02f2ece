"""What a run is said to have reached is what its figures say (bug class: a miss that is reported as a success)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.economics.roi.inputs import PriceList
from agents.experiments.figures_of_rounds import RoundFigures
from agents.reports.ablation import ablation_data, ablation_figure, ablation_table
from agents.reports.checks import judged
from agents.reports.cost_waterfall import BUSY, HANDS, IDLE, cost_waterfall_data, cost_waterfall_figure
from agents.reports.drawing import Palette
from agents.reports.goals import goals_data
from agents.reports.measures import measured, number, p_value, with_interval
from agents.reports.milestones import milestones_data
from agents.reports.setting import Pair
from agents.reports.statistics_table import all_statistics_data, statistics_data, statistics_table
from agents.statistics.estimates import Estimate
from agents.statistics.verdicts import Verdict
from tests.unit.reports.analyses import PAIR, SETTING, analysis, comparison, metrics


@pytest.mark.parametrize(
    ("estimate", "outcome"),
    [
        (Estimate(0.2, 0.1, 0.29), "pass"),
        (Estimate(0.2, 0.1, 0.31), "open"),
        (Estimate(0.4, 0.35, 0.5), "fail"),
        (Estimate(0.2), "pass"),
        (Estimate(0.2, 0.1, None), "pass"),
    ],
)
def test_a_goal_is_met_by_a_whole_interval_only(estimate: Estimate, outcome: str) -> None:
    assert judged(estimate, lambda value: value <= 0.3) == outcome


def test_goals_are_held_against_the_ratios_of_the_run() -> None:
    found = analysis(
        comparison("latency_seconds", None, ratios={"p95": Estimate(0.25, 0.2, 0.29)}),
        comparison("served_per_second_at_goal", Estimate(2.9, 2.8, 2.95), load=None),
        comparison("failures_per_hour", None, below=3.0, above=0.0),
        comparison("retry_rate", None, below=0.0, above=0.0),
    )
    checks = {check.name: check for check in goals_data(found, PAIR, SETTING, faults=False)}
    assert {name: check.outcome for name, check in checks.items()} == {
        "throughput at the goal": "fail",
        "latency p95": "pass",
    }
    assert {check.name: check.outcome for check in goals_data(found, PAIR, SETTING, faults=True)} == {
        "failures per hour (MTBF +60 %)": "pass",
        "sessions with a retry": "open",
    }
    assert checks["latency p95"].compared == "0.250 (0.200 to 0.290)"
    assert "over all loads" in checks["throughput at the goal"].remark


@pytest.mark.parametrize(
    ("above", "verdict", "outcome"),
    [
        (4.5, Verdict.BETTER, "pass"),
        (4.5, Verdict.NO_DIFFERENCE, "open"),
        (4.5, Verdict.TOO_FEW, "open"),
        (2.9, Verdict.BETTER, "fail"),
    ],
)
def test_means_alone_meet_no_goal(above: float, verdict: Verdict, outcome: str) -> None:
    found = analysis(comparison("served_per_second_at_goal", None, below=1.0, above=above, load=None, verdict=verdict))
    (check,) = goals_data(found, PAIR, SETTING, faults=False)
    assert check.outcome == outcome


@pytest.mark.parametrize(
    ("decoupled", "monolith", "outcome", "said"),
    [
        (0, 0, "open", "none in either"),
        (4, 0, "open", "no failure at all; processes killed: 4 in decoupled, 0 in monolith"),
        (0, 3, "open", "no failure at all; processes killed: 0 in decoupled, 3 in monolith"),
        (
            *(4, 3, "pass"),
            "no failure at all; processes killed: 4 in decoupled, 3 in monolith; that shows an MTBF above 9 s with 95 "
            "% confidence, not more",
        ),
    ],
)
def test_no_failure_at_all_meets_the_goal_where_processes_of_both_were_killed(
    decoupled: int, monolith: int, outcome: str, said: str
) -> None:
    cells = (
        replace(metrics("decoupled", failed=0, mtbf_hours=None, window_seconds=27.0), faults=decoupled),
        replace(metrics("monolith", failed=0, mtbf_hours=None, window_seconds=270.0), faults=monolith),
    )
    found = analysis(comparison("failures_per_hour", None, below=0.0, above=0.0), cells=cells)
    (check,) = goals_data(found, PAIR, SETTING, faults=True)
    assert check.outcome == outcome
    assert check.remark == f"at load 2; 30 requests; {said}"


def test_a_failure_in_a_round_that_is_not_compared_is_one_all_the_same() -> None:
    cells = tuple(
        replace(metrics(name, failed=failed), faults=4) for name, failed in (("decoupled", 1), ("monolith", 0))
    )
    found = analysis(comparison("failures_per_hour", None, below=0.0, above=0.0), cells=cells)
    (check,) = goals_data(found, PAIR, SETTING, faults=True)
    assert check.outcome == "open"
    assert "no failure at all" not in check.remark


def test_other_workloads_and_loads_say_nothing_of_a_goal() -> None:
    elsewhere = [
        comparison("usd_per_session", Estimate(0.1), workload="support"),
        comparison("usd_per_session", Estimate(0.1), load=1.0),
    ]
    assert goals_data(analysis(*elsewhere), PAIR, SETTING, faults=False) == []


def test_milestones_pass_or_fail_by_the_run() -> None:
    good = metrics(
        "decoupled", Estimate(0.1, 0.09, 0.12), completed_per_second=210.0, mtbf_hours=12.0, usd_per_token=0.0001
    )
    checks = milestones_data(analysis(cells=(good, metrics("monolith"))), PAIR, SETTING)
    assert [check.outcome for check in checks] == ["pass"] * 4
    bad = metrics("decoupled", completed_per_second=199.0, usd_per_token=0.0003)
    checks = milestones_data(analysis(cells=(bad, metrics("monolith"))), PAIR, SETTING)
    assert [check.outcome for check in checks] == ["fail"] * 4
    assert checks[0].compared == "4" + "\u202f" + "000 ms"


def test_a_short_run_without_failures_shows_no_long_time_between_them() -> None:
    hour = metrics("decoupled", failed=0, mtbf_hours=None)
    two_days = metrics("decoupled", failed=0, mtbf_hours=None, window_seconds=48 * 3600.0)
    outcomes = [
        milestones_data(analysis(cells=(each, metrics("monolith"))), PAIR, SETTING)[2] for each in (hour, two_days)
    ]
    assert [check.outcome for check in outcomes] == ["open", "pass"]
    assert outcomes[0].compared == "no failure in 1.00 h"
    assert "above 20 min" in outcomes[0].remark


def test_milestones_need_both_topologies() -> None:
    assert milestones_data(analysis(cells=(metrics("monolith"),)), PAIR, SETTING) == []


def test_the_table_tells_each_comparison_as_the_analysis_has_it() -> None:
    ratios = {"p50": Estimate(0.25, 0.2, 0.9), "p95": Estimate(0.25, 0.2, 1.1), "variance": Estimate(0.1)}
    found = analysis(
        comparison("latency_seconds", Estimate(0.5, 0.4, 0.6), ratios=ratios),
        comparison("retry_rate", None, below=0.02, above=0.02, verdict=Verdict.NO_DIFFERENCE, confirmed=False),
    )
    mean, p50, p95, retries = statistics_data(found, PAIR, SETTING)
    assert (mean.measure, mean.baseline, mean.compared) == ("latency, mean, s (30 requests)", "4.00", "2.00")
    assert (mean.ratio, mean.p, mean.effect) == ("0.500 (0.400 to 0.600)", "0.004", "d_z −1.2, r −0.90")
    assert mean.verdict == "better, also by ranks"
    assert p50.verdict == "lower, by its own interval"
    assert (p95.measure, p95.verdict) == ("latency, p95, s", "no significant difference")
    assert (retries.baseline, retries.verdict) == ("2.00", "no significant difference")


@pytest.mark.parametrize(
    ("verdict", "confirmed", "ranked", "said"),
    [
        (Verdict.BETTER, True, 0.01, "better, also by ranks"),
        (Verdict.WORSE, False, 0.2, "worse, not by ranks"),
        (Verdict.NO_DIFFERENCE, True, 0.01, "no significant difference; by ranks there is one"),
        (Verdict.NO_DIFFERENCE, False, 0.01, "no significant difference; by ranks there is one, not the mean's way"),
        (Verdict.NO_DIFFERENCE, False, 0.05, "no significant difference"),
        (Verdict.NO_DIFFERENCE, None, 0.07, "no significant difference"),
        (Verdict.TOO_FEW, None, None, "too few pairs to say"),
    ],
)
def test_what_only_ranks_find_is_said(
    verdict: Verdict, confirmed: bool | None, ranked: float | None, said: str
) -> None:
    each = comparison("latency_seconds", None, verdict=verdict, confirmed=confirmed, wilcoxon_p_holm=ranked)
    (row,) = statistics_data(analysis(each), PAIR, SETTING)
    assert row.verdict == said


def test_every_comparison_is_in_the_whole_table_with_where_it_is_of() -> None:
    found = analysis(comparison("retry_rate", None, load=None), comparison("retry_rate", None, workload="support"))
    rows = all_statistics_data(found)
    assert [row.where for row in rows] == ["decoupled, all, poisson, any load", "decoupled, support, poisson, load 2"]
    table = statistics_table(rows, "t", "", "", None)
    assert table.folded
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_a_token_costs_what_was_held_whether_it_worked_or_not() -> None:
    def figures(topology: str, busy: float, usd: float) -> RoundFigures:
        held = {"seconds": 3600, "gpus": 2, "gpu_busy_seconds": busy, "hands": 4, "hand_busy_seconds": 0, "usd": usd}
        return RoundFigures(topology=topology, arrivals="poisson", load=2.0, round=0, **held)

    found = analysis(
        cells=(metrics("monolith", tokens_per_second=100.0), metrics("decoupled", tokens_per_second=250.0))
    )
    rounds = [figures("monolith", 1800, 5.0), figures("decoupled", 5400, 5.2)]
    monolith, decoupled = cost_waterfall_data(found, rounds, PriceList(), PAIR, SETTING)
    assert monolith.parts == pytest.approx({IDLE: 3.75 / 0.36, BUSY: 1.25 / 0.36, HANDS: 0.0})
    assert decoupled.parts == pytest.approx({IDLE: 1.25 / 0.9, BUSY: 3.75 / 0.9, HANDS: 0.2 / 0.9})
    (bars,) = cost_waterfall_figure([monolith, decoupled], PriceList(), SETTING, Palette.of(*PAIR)).drawing.traces
    assert bars["measure"] == ["absolute", "relative", "relative", "relative", "total"]
    assert sum(bars["y"][:-1]) == pytest.approx(bars["y"][-1], abs=1e-5)
    assert cost_waterfall_data(found, rounds[:1], PriceList(), PAIR, SETTING) == []


def test_the_ablation_has_a_row_per_topology_that_had_the_load() -> None:
    cells = (metrics("monolith"), metrics("decoupled", usd_per_session=None), metrics("no-cache"))
    bars = ablation_data(analysis(cells=cells), ["monolith", "decoupled", "no-cache", "absent"], SETTING)
    assert [bar.topology for bar in bars] == ["monolith", "decoupled", "no-cache"]
    figure = ablation_figure(bars, PAIR, SETTING, Palette.of(*PAIR))
    assert "decoupled has all mechanisms; every other row is without one, or built as its name says" in figure.caption
    served, latency, cost = figure.drawing.traces
    assert served["x"] == [1.5, 1.5, 1.5]
    assert (latency["error_x"]["array"][0], latency["error_x"]["arrayminus"][0]) == (1.0, 0.5)
    assert cost["x"] == [0.4, None, 0.4]


def test_what_a_mechanism_earns_is_held_against_the_whole() -> None:
    pair = Pair("decoupled", "no-cache")
    ratio = Estimate(2.0, 1.5, 2.5)
    found = analysis(
        replace(comparison("latency_seconds", ratio, verdict=Verdict.WORSE), topology="no-cache", baseline="decoupled"),
        replace(comparison("ttft_seconds", ratio, ratios={"p95": Estimate(3.0)}), topology="no-cache"),
        cells=(metrics("decoupled"), metrics("no-cache")),
    )
    bars = ablation_data(found, ["decoupled", "no-cache"], SETTING)
    table = ablation_table(found, bars, pair, SETTING)
    assert "decoupled has all mechanisms; every other row is without one, or built as its name says" in table.caption
    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [
        ["decoupled", "1.50", "4.00", "1", "1", "0.400", ""],
        ["no-cache", "1.50", "4.00", "2.00 (1.50 to 2.50)", "3.00 (no interval)", "0.400", "worse"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.00123456, "0.00123"), (12.345, "12.3"), (999.4, "999"), (4e-8, "4.00e-08"), (-0.5, "-0.500")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_shares_are_per_cent_and_gaps_are_dashes() -> None:
    assert measured("error_rate", 0.125) == "12.5"
    assert measured("usd_per_token", 0.0000025) == "2.50"
    assert measured("usd_per_token", None) == "–"
    assert with_interval(Estimate(2.0, None, 3.0)) == "2.00 (… to 3.00)"
    assert [p_value(p) for p in (None, 0.00001, 0.0012, 0.25)] == ["–", "< 0.0001", "0.0012", "0.25"]
