"""What the change is worth: costs line by line, the return, what moves it, and how far it carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.economics.roi.break_even import BreakEven
from agents.economics.roi.evaluation import Evaluation
from agents.economics.roi.ownership import cents
from agents.reports.drawing import BLUE, VERMILION, Drawing, Figure, axis
from agents.reports.measures import number
from agents.reports.tables import Cell, Column, Facts, Table

MOST_BARS = 10
"""Inputs of a tornado that are shown, of those that move most."""
_BAND = 30
"""Pixels of a tornado's bar with its share of the gap."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """One line of both bills of the first month, US dollars."""

    name: str
    monolith: Decimal
    decoupled: Decimal


@dataclass(frozen=True, slots=True)
class TornadoBar:
    """What one input does to the net present value, US dollars against that of the scenario as it is."""

    name: str
    low: str
    high: str
    at_low: float
    at_high: float


def costs_data(evaluation: Evaluation) -> list[CostRow]:
    """Return the lines that are not 0 on both bills, and their totals."""
    above = evaluation.decoupled.costs.lines()
    lines = [
        CostRow(name.replace("_", " "), amount, above[name])
        for name, amount in evaluation.monolith.costs.lines().items()
    ]
    return [line for line in lines if line.monolith or line.decoupled or line.name == "total"]


def costs_table(evaluation: Evaluation) -> Table:
    """Lay both bills out."""
    columns = [Column("USD in the first month"), Column("monolith", number=True), Column("decoupled", number=True)]
    rows = [
        [Cell(each.name), Cell(_cents(each.monolith)), Cell(_cents(each.decoupled))] for each in costs_data(evaluation)
    ]
    caption = "What each way of running the agents costs, hidden costs with it."
    return Table("costs", "Total cost of ownership", caption, columns, rows)


def _cents(amount: Decimal) -> str:
    return f"{cents(amount):,.2f}".replace(",", "\u202f")


def return_facts(evaluation: Evaluation) -> Facts:
    """Return net present value, rate of return, payback and break-even in words."""
    returns, risk = evaluation.returns, evaluation.risk
    facts = [
        ("net present value", f"{number(returns.npv_usd)} USD"),
        (
            "rate of return",
            "none" if returns.irr_per_year is None else f"{number(returns.irr_per_year * 100)} % a year",
        ),
        ("payback", months(returns.payback_months)),
        ("payback, discounted", months(returns.discounted_payback_months)),
        ("decoupled is cheaper", volume(evaluation.break_even)),
        ("the same, with the migration", volume(evaluation.break_even_with_migration)),
    ]
    if risk is not None:
        npv = risk.npv_usd
        spread = f"P5 {number(npv.p5)}, P50 {number(npv.p50)}, P95 {number(npv.p95)} USD over {risk.draws} draws"
        facts.append(("risk-adjusted net present value", f"mean {number(npv.mean)}, {spread}"))
        facts.append(("probability of a loss", f"{risk.loss_probability * 100:.1f} %"))
    if risk is not None and risk.roi is not None:
        text = f"mean {risk.roi.mean:.2f} times the migration's cost, P5 {risk.roi.p5:.2f}, P95 {risk.roi.p95:.2f}"
        facts.append(("risk-adjusted return", text))
    return Facts(facts)


def months(value: float | None) -> str:
    """Return a time until something is paid back in words."""
    return "not within the horizon" if value is None else f"{value:.1f} months"


def volume(each: BreakEven, written: Callable[[float], str] = number) -> str:
    """Return in words at which volumes the decoupled platform is the cheaper one; numbers as *written*."""
    if each.interactions_per_month is None:
        return each.when
    text = f"{each.when} {written(each.interactions_per_month)} interactions a month"
    return text if each.within_capacity else f"{text}, which one of them cannot serve"


def tornado_data(evaluation: Evaluation) -> list[TornadoBar]:
    """Return the inputs that move the net present value most, the widest first."""
    base = evaluation.returns.npv_usd
    return [
        TornadoBar(
            bar.path.replace("_", " "),
            number(float(bar.low)),
            number(float(bar.high)),
            bar.npv_at_low - base,
            bar.npv_at_high - base,
        )
        for bar in evaluation.tornado[:MOST_BARS]
    ]


def tornado_figure(bars: Sequence[TornadoBar]) -> Figure:
    """Draw *bars* from the widest down."""
    ends = (
        ("at its low value", VERMILION, [(bar.at_low, bar.low) for bar in bars]),
        ("at its high value", BLUE, [(bar.at_high, bar.high) for bar in bars]),
    )
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": [bar.name for bar in bars],
            "x": [round(change, 2) for change, _ in values],
            "customdata": [value for _, value in values],
            "marker": {"color": colour},
            "hovertemplate": "%{y} %{customdata}: %{x:,.0f} USD<extra></extra>",
        }
        for name, colour, values in ends
    ]
    layout = {
        "showlegend": True,
        "barmode": "overlay",
        "bargap": 0.35,
        "xaxis": axis("change of the net present value, USD", zeroline=True, nticks=6),
        "yaxis": axis("", autorange="reversed", showgrid=False),
    }
    widest = bars[0]
    return Figure(
        "tornado",
        "What the return depends on",
        "Each input by itself at its low and its high value, the others as they are; the one that does most on top.",
        f"Tornado chart of {len(bars)} inputs. {widest.name} does most: from {widest.low} to {widest.high} it changes "
        f"the net present value by {number(widest.at_low)} to {number(widest.at_high)} USD.",
        Drawing(traces, layout, _BAND * len(bars) + 120),
    )


def scale_figure(evaluation: Evaluation) -> Figure:
    """Draw the net present value over hand parallelism and brain scale as a matrix."""
    cells = evaluation.grid
    values = [[cell.npv_usd for cell in row] for row in cells]
    best = max((cell for row in cells for cell in row), key=lambda cell: cell.npv_usd)
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": [f"{cell.hand_parallelism:g}×" for cell in cells[0]],
        "y": [f"{row[0].brain_scale:g}×" for row in cells],
        "z": [[round(value, 2) for value in row] for row in values],
        "text": [[f"{number(cell.npv_usd)}<br>{cell.served * 100:.0f} % served" for cell in row] for row in cells],
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "xgap": 2,
        "ygap": 2,
        "coloraxis": "coloraxis",
        "hovertemplate": "hands %{x}, brain %{y}: %{z:,.0f} USD<extra></extra>",
    }
    layout = {
        "xaxis": axis("hand parallelism", type="category", showgrid=False),
        "yaxis": axis("brain scale", type="category", showgrid=False),
        "coloraxis": {"colorbar": {"title": {"text": "net present value, USD"}}},
    }
    return Figure(
        "scale-grid",
        "More hands against a larger brain",
        "Net present value in US dollars, and how much of what is asked for is served, with multiples of the hands "
        "that run all the time and of the brain.",
        f"Matrix of net present values. The best is {number(best.npv_usd)} USD with {best.hand_parallelism:g} times "
        f"the hands and {best.brain_scale:g} times the brain.",
        Drawing([trace], layout, 56 * len(cells) + 110, narrowest=120 * len(cells[0])),
    )
