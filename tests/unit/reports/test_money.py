"""Money and the model's error are printed as they were worked out (bug class: a loss that is drawn as a gain)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from agents.economics.roi.break_even import BreakEven
from agents.economics.roi.evaluation import Evaluation, evaluate
from agents.economics.roi.inputs import read_scenario
from agents.experiments.model.validation import Agreement, Comparison
from agents.reports.model_agreement import model_agreement_data, model_agreement_table
from agents.reports.money import costs_data, costs_table, return_facts, scale_figure, tornado_data, tornado_figure


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    scenario = read_scenario("support")
    return evaluate(scenario.model_copy(update={"risk": scenario.risk.model_copy(update={"draws": 100})}))


def test_the_lines_of_both_bills_add_up(evaluation: Evaluation) -> None:
    *lines, total = costs_data(evaluation)
    assert total.monolith == sum((line.monolith for line in lines), Decimal(0)) == evaluation.monolith.costs.total
    assert total.decoupled == sum((line.decoupled for line in lines), Decimal(0)) == evaluation.decoupled.costs.total
    assert all(line.monolith or line.decoupled for line in lines)


def test_a_bill_shows_half_a_cent_as_a_whole_one(evaluation: Evaluation) -> None:
    """As ``hecaton roi`` shows the same bill."""
    bill = replace(evaluation.monolith.costs, other=Decimal("0.125"))
    [other] = [
        row
        for row in costs_table(replace(evaluation, monolith=replace(evaluation.monolith, costs=bill))).rows
        if row[0].text == "other"
    ]
    assert other[1].text == "0.13"


def test_the_return_is_told_with_what_it_lacks(evaluation: Evaluation) -> None:
    facts = dict(return_facts(evaluation).facts)
    assert evaluation.returns.payback_months is not None
    assert facts["payback"] == f"{evaluation.returns.payback_months:.1f} months"
    never = replace(evaluation.returns, payback_months=None, irr_per_year=None)
    lacking = dict(return_facts(replace(evaluation, returns=never, risk=None)).facts)
    assert (lacking["payback"], lacking["rate of return"]) == ("not within the horizon", "none")
    assert "probability of a loss" not in lacking


def test_a_break_even_that_cannot_be_served_says_so(evaluation: Evaluation) -> None:
    at = replace(evaluation, break_even=BreakEven("from", 1200, within_capacity=False))
    assert dict(return_facts(at).facts)["decoupled is cheaper"] == (
        "from 1\u202f200 interactions a month, which one of them cannot serve"
    )
    always = replace(evaluation, break_even=BreakEven("always", None, within_capacity=True))
    assert dict(return_facts(always).facts)["decoupled is cheaper"] == "always"


def test_the_tornado_is_drawn_against_the_scenario_as_it_is(evaluation: Evaluation) -> None:
    bars = tornado_data(evaluation)
    widest = evaluation.tornado[0]
    assert bars[0].at_low == widest.npv_at_low - evaluation.returns.npv_usd
    assert [bar.name for bar in bars] == [bar.path.replace("_", " ") for bar in evaluation.tornado[:10]]
    low, high = tornado_figure(bars).drawing.traces
    assert (low["x"][0], high["x"][0]) == (round(bars[0].at_low, 2), round(bars[0].at_high, 2))


def test_the_grid_has_hands_across_and_the_brain_down(evaluation: Evaluation) -> None:
    (matrix,) = scale_figure(evaluation).drawing.traces
    cell = evaluation.grid[1][2]
    column, row = matrix["x"].index(f"{cell.hand_parallelism:g}×"), matrix["y"].index(f"{cell.brain_scale:g}×")
    assert matrix["z"][row][column] == round(cell.npv_usd, 2)


def test_the_models_error_is_told_for_each_figure() -> None:
    figures = (Agreement("latency_p95_seconds", 2.0, 1.5), Agreement("gpu_busy_share", 0.0, 0.1))
    rows = model_agreement_data([Comparison("decoupled", "poisson", 2.0, 3, 90, True, figures, 0.125)])
    assert [(row.figure, row.measured, row.modelled, row.error) for row in rows] == [
        ("latency p95, s", "2.00", "1.50", "−25.0 %"),
        ("GPUs busy, share", "0", "0.100", "–"),
        ("latency, Kolmogorov-Smirnov distance", "–", "–", "0.12"),
    ]
    assert {row.remark for row in rows} == {"calibrated by these sessions"}
    table = model_agreement_table(rows)
    assert {len(row) for row in table.rows} == {len(table.columns)}
