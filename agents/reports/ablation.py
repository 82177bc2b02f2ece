"""What each mechanism earns: the figures of a topology that lacks it, beside those of the whole and of the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.experiments.analysis.analysis import Analysis, CellMetrics
from agents.reports.drawing import GREY, Drawing, Figure, Palette, axis, axis_name, panel_title
from agents.reports.findings import comparison_at, metrics_at
from agents.reports.measures import number, with_interval
from agents.reports.setting import DECOUPLED, Pair, Setting
from agents.reports.tables import Cell, Column, Table
from agents.statistics.estimates import Estimate

_GAP = 0.05
_BAND = 30
"""Pixels of a bar with its share of the gap."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """One topology at the shown load, all workloads together."""

    topology: str
    served_per_second: float
    """Sessions that met their goal."""
    p95_seconds: Estimate | None
    usd_per_session: float | None


def ablation_data(analysis: Analysis, topologies: Sequence[str], setting: Setting) -> list[Ablation]:
    """Return the figures of *topologies*, in their order, that had *setting*."""
    found = [(name, metrics_at(analysis, name, setting)) for name in topologies]
    return [_figures(name, metrics) for name, metrics in found if metrics is not None]


def _figures(name: str, metrics: CellMetrics) -> Ablation:
    latency = metrics.latency_seconds
    return Ablation(
        name,
        metrics.rates.served_per_second,
        None if latency is None else latency.p95,
        metrics.rates.usd_per_session,
    )


def ablation_figure(bars: Sequence[Ablation], pair: Pair, setting: Setting, palette: Palette) -> Figure:
    """Draw three panels of bars side by side, a row per topology."""
    quantities = (
        ("served, sessions/s", [Estimate(each.served_per_second) for each in bars]),
        ("latency p95, s", [each.p95_seconds for each in bars]),
        ("cost, USD/1 000 sessions", [_thousand(each.usd_per_session) for each in bars]),
    )
    width = (1 - _GAP * 2) / 3
    names = [each.topology for each in bars]
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": [], "bargap": 0.35}
    for place, (title, values) in enumerate(quantities):
        name, left = axis_name(place), place * (width + _GAP)
        traces.append(_bars(names, values, palette, name))
        layout["annotations"].append(panel_title(title, 1.0, left))
        layout[f"xaxis{name}"] = axis("", domain=[left, left + width], anchor=f"y{name}", rangemode="tozero", nticks=4)
        layout[f"yaxis{name}"] = axis(
            "", autorange="reversed", anchor=f"x{name}", showgrid=False, showticklabels=place == 0
        )
    told = [
        f"{each.topology}: {number(each.served_per_second)} sessions per second served"
        + (f", p95 {number(each.p95_seconds.value)} s" if each.p95_seconds else "")
        for each in bars
    ]
    return Figure(
        "ablation",
        "What each mechanism earns",
        f"At {setting.text}, all workloads together. {_whole(pair)} has all mechanisms; every other row is without "
        "one, or built as its name says. What a row without one loses is what that mechanism earns. Whiskers are "
        "95 % intervals.",
        "Bar charts by topology. " + "; ".join(told) + ".",
        Drawing(traces, layout, _BAND * len(bars) + 110, narrowest=520),
    )


def ablation_table(analysis: Analysis, bars: Sequence[Ablation], pair: Pair, setting: Setting) -> Table:
    """Hold each topology against the baseline, which has all mechanisms."""
    columns = [
        Column("topology"),
        Column("sessions/s that met their goal", number=True),
        Column("latency p95, s", number=True),
        Column("latency, times", number=True),
        Column("first text p95, times", number=True),
        Column("USD per 1 000 sessions", number=True),
        Column("latency is"),
    ]
    caption = (
        f"At {setting.text}. Times {pair.baseline}, with 95 % intervals: the geometric mean over pairs of the same "
        f"request, and the ratio of quantiles. {pair.baseline} has all mechanisms; every other row is without one, or "
        "built as its name says."
    )
    rows = [_row(analysis, each, Pair(pair.baseline, each.topology), setting) for each in bars]
    return Table("mechanisms", "What each mechanism earns", caption, columns, rows)


def _row(analysis: Analysis, bar: Ablation, pair: Pair, setting: Setting) -> list[Cell]:
    whole = bar.topology == pair.baseline
    latency = comparison_at(analysis, pair, setting, "latency_seconds")
    first = comparison_at(analysis, pair, setting, "ttft_seconds")
    ratios = (latency and latency.paired.ratio, first and first.ratios.get("p95"))
    thousand = _thousand(bar.usd_per_session)
    return [
        Cell(bar.topology),
        Cell(number(bar.served_per_second)),
        Cell("–" if bar.p95_seconds is None else number(bar.p95_seconds.value)),
        *(Cell("1" if whole else "–" if each is None else with_interval(each)) for each in ratios),
        Cell("–" if thousand is None else number(thousand.value)),
        Cell("" if latency is None else latency.verdict),
    ]


def _whole(pair: Pair) -> str:
    return DECOUPLED if DECOUPLED in pair else pair.compared


def _thousand(usd: float | None) -> Estimate | None:
    return None if usd is None else Estimate(usd * 1000)


def _bars(names: Sequence[str], values: Sequence[Estimate | None], palette: Palette, axes: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "y": list(names),
        "x": [None if each is None else float(f"{each.value:.5g}") for each in values],
        "text": ["" if each is None else number(each.value) for each in values],
        "textposition": "inside",
        "insidetextanchor": "start",
        "marker": {"color": [palette[name] for name in names]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0 if each is None or each.high is None else each.high - each.value for each in values],
            "arrayminus": [0 if each is None or each.low is None else each.value - each.low for each in values],
            "thickness": 1.25,
            "width": 4,
            "color": GREY,
        },
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
        "xaxis": f"x{axes}",
        "yaxis": f"y{axes}",
    }
