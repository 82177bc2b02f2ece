"""``hecaton roi``: what comes of a scenario, as tables or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.roi_app import Per
from agents.commands.timeline import printable
from agents.economics.roi.cash_flow import Return
from agents.economics.roi.evaluation import Evaluation
from agents.economics.roi.ownership import Ownership, cents, ownership, reduction
from agents.economics.roi.risk import RiskAdjusted, Spread
from agents.economics.roi.seeds import readings
from agents.economics.roi.sensitivity import Bar, Cell
from agents.reports.money import MOST_BARS, months, volume


def show_roi(console: Console, found: Evaluation, per: Per, *, as_json: bool) -> None:
    """Print what a scenario comes to; its table of costs is about an hour or a month (the first), or all of them."""
    scenario = found.scenario
    owned = {"monolith": found.monolith, "decoupled": found.decoupled}
    if per is Per.HORIZON:
        owned = {name: ownership(scenario, getattr(scenario, name), scenario.horizon_months) for name in owned}
    hours = scenario.hours_per_month if per is Per.HOUR else Decimal(1)
    if as_json:
        print_json(console, to_jsonable_python(_report(found, owned, per, hours)))
        return
    console.print(Text(f"{scenario.name}: {printable(scenario.source)}".rstrip(": ")))
    console.print()
    _show_costs(console, owned, f"USD per {per}", hours)
    _show_served(console, owned)
    _show_worth(console, found)
    if found.risk is not None:
        _show_risk(console, found.risk)
    _show_tornado(console, found.tornado)
    _show_grid(console, found.grid)


def show_readings(console: Console, *, as_json: bool) -> None:
    """Print where the seeds contradict themselves, what follows from their figures, and what is taken."""
    found = readings()
    if as_json:
        print_json(console, to_jsonable_python({"readings": found}))
        return
    for each in found:
        console.print(Text(each.name, style="bold"))
        for label, text in (("says", each.says), ("against", each.against), ("taken", each.reading)):
            console.print(Text(f"  {label}: {text}"))
        for figure in each.figures:
            console.print(Text(f"  {figure.what}: {_rounded(figure.value)} {figure.unit}"), style="dim")


def _show_costs(console: Console, owned: dict[str, Ownership], title: str, hours: Decimal) -> None:
    monolith, decoupled = (
        {name: amount / hours for name, amount in each.costs.lines().items()} for each in owned.values()
    )
    rows = [
        (name.replace("_", " "), *map(_usd, (before, decoupled[name], decoupled[name] - before)))
        for name, before in monolith.items()
        if before or decoupled[name]
    ]
    _print(console, (title, "monolith", "decoupled", "difference"), rows)
    if monolith["total"]:
        saved = reduction(monolith["total"], decoupled["total"])
        console.print(f"decoupled costs {abs(saved):.1%} {'less' if saved >= 0 else 'more'}")


def _show_served(console: Console, owned: dict[str, Ownership]) -> None:
    rows = [
        ("interactions served", *(f"{each.served:,.0f}" for each in owned.values())),
        ("USD per interaction", *(f"{each.per_interaction:.6f}" for each in owned.values())),
    ]
    tokens = [each.per_token for each in owned.values()]
    if all(each is not None for each in tokens):
        rows.append(("USD per token", *(f"{each:.8f}" for each in tokens)))
    _print(console, ("", *owned), rows)


def _show_worth(console: Console, found: Evaluation) -> None:
    worth: Return = found.returns
    rate = found.scenario.discount_rate_per_year
    rows = [
        ("migration", f"{_usd(found.scenario.migration_usd)} USD"),
        (f"NPV over {found.scenario.horizon_months} months at {rate:.1%} a year", f"{worth.npv_usd:,.2f} USD"),
        ("IRR a year", "none" if worth.irr_per_year is None else f"{worth.irr_per_year:.1%}"),
        ("ROI", "none: nothing is invested" if worth.roi is None else f"{worth.roi:.2f} times"),
        ("payback", months(worth.payback_months)),
        ("payback, discounted", months(worth.discounted_payback_months)),
        ("decoupled is the cheaper one", volume(found.break_even, "{:,.0f}".format)),
        ("the same, migration spread over it", volume(found.break_even_with_migration, "{:,.0f}".format)),
    ]
    _print(console, ("return", ""), rows)


def _show_risk(console: Console, risk: RiskAdjusted) -> None:
    rows = [("NPV, USD", *(f"{value:,.0f}" for value in _spread(risk.npv_usd)))]
    if risk.roi is not None:
        rows.append(("ROI, times", *(f"{value:.2f}" for value in _spread(risk.roi))))
    _print(console, (f"risk-adjusted, {risk.draws} draws", "mean", "P5", "P50", "P95"), rows)
    console.print(f"a loss in {risk.loss_probability:.1%} of them")


def _show_tornado(console: Console, bars: Sequence[Bar]) -> None:
    rows = [
        (bar.path, _rounded(bar.low), _rounded(bar.high), f"{bar.npv_at_low:,.0f}", f"{bar.npv_at_high:,.0f}")
        for bar in bars[:MOST_BARS]
    ]
    _print(console, ("what moves the NPV most", "low", "high", "USD at low", "USD at high"), rows)


def _show_grid(console: Console, grid: Sequence[Sequence[Cell]]) -> None:
    columns = ["NPV, USD", *(f"hands x{cell.hand_parallelism.normalize():f}" for cell in grid[0])]
    rows = [
        (f"brain x{row[0].brain_scale.normalize():f}", *(f"{cell.npv_usd:,.0f} ({cell.served:.0%})" for cell in row))
        for row in grid
    ]
    _print(console, columns, rows)
    console.print("in brackets: the part of all interactions that the decoupled platform can serve")


def _print(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, header_style="bold")
    for place, column in enumerate(columns):
        # A figure that is broken over two lines is read as another one.
        if place:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    console.print()


def _spread(given: Spread) -> tuple[float, float, float, float]:
    return given.mean, given.p5, given.p50, given.p95


def _usd(amount: Decimal) -> str:
    return f"{cents(amount):,.2f}"


def _rounded(value: Decimal) -> str:
    return f"{round(value, 4).normalize():,f}"


def _report(found: Evaluation, owned: dict[str, Ownership], per: Per, hours: Decimal) -> dict[str, Any]:
    return {
        "scenario": found.scenario,
        "costs": {"per": per} | {name: _ownership(each, hours) for name, each in owned.items()},
        "returns": found.returns,
        "break_even": found.break_even,
        "break_even_with_migration": found.break_even_with_migration,
        "risk": found.risk,
        "tornado": found.tornado,
        "grid": found.grid,
    }


def _ownership(owned: Ownership, hours: Decimal) -> dict[str, Any]:
    return {
        "usd": {name: cents(amount / hours) for name, amount in owned.costs.lines().items()},
        "interactions_asked": owned.asked / hours,
        "interactions_served": owned.served / hours,
        "usd_per_interaction": owned.per_interaction,
        "usd_per_token": owned.per_token,
    }
