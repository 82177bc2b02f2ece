"""The building blocks of our dashboards: a page, rows, graphs and numbers, all over one Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as values
from grafana_foundation_sdk.models import dashboard as models

_DATA = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
Panel = TypeVar("Panel", timeseries.Panel, stat.Panel)
_GRAPH_WIDTH, _GRAPH_HEIGHT = 12, 8
_NUMBER_WIDTH, _NUMBER_HEIGHT = 4, 4
TAG = "hecaton"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are called."""

    expr: str
    legend: str = "__auto"


def page(uid: str, title: str, about: str) -> dashboard.Dashboard:
    """Begin a dashboard; it links to all the others."""
    return (
        dashboard.Dashboard(f"Hecaton / {title}")
        .uid(f"hecaton-{uid}")
        .description(about)
        .tags([TAG])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            dashboard.DashboardLink("Hecaton")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )


def choice(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    """Let whoever looks choose among the values that *name* has as a label of *metric*; all at first."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_DATA)
        .query(f"label_values({metric}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def graph(title: str, unit: str, *queries: Query, about: str = "", stacked: bool = False) -> timeseries.Panel:
    """Draw series over time; *unit* is one of Grafana's (``s``, ``reqps``, ``currencyUSD``, ``percentunit``)."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .datasource(_DATA)
        .span(_GRAPH_WIDTH)
        .height(_GRAPH_HEIGHT)
        .min(0)
        .fill_opacity(25 if stacked else 5)
        .legend(
            common.VizLegendOptions()
            .display_mode(values.LegendDisplayMode.LIST)
            .placement(values.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(values.TooltipDisplayMode.MULTI).sort(values.SortOrder.DESCENDING))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(values.StackingMode.NORMAL))
    return _asked(panel, queries)


def counted(what: str, metric: str, *labels: str, about: str = "") -> timeseries.Panel:
    """Draw how much a counter grew in 10 minutes, by *labels*."""
    # Every gateway tells the totals of the whole platform: of several scraped, one counts.
    grown = f"max by ({', '.join(labels)}) (increase({metric}[10m]))"
    legend = ": ".join(f"{{{{{label}}}}}" for label in labels)
    return graph(f"{what} in 10 minutes", "short", Query(grown, legend), about=about)


def number(
    title: str, unit: str, expr: str, *, about: str = "", warn: float | None = None, low_is_bad: bool = False
) -> stat.Panel:
    """Show the newest value of one series, red from *warn* on (below it, where low is bad)."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .datasource(_DATA)
        .span(_NUMBER_WIDTH)
        .height(_NUMBER_HEIGHT)
        .no_value("-")
        .graph_mode(values.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if warn is not None:
        first, then = ("red", "green") if low_is_bad else ("green", "red")
        steps = [models.Threshold(color=first, value=None), models.Threshold(color=then, value=warn)]
        panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    return _asked(panel, [Query(expr)])


def _asked(panel: Panel, queries: Sequence[Query]) -> Panel:
    for index, query in enumerate(queries):
        panel.with_target(
            prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index))
        )
    return panel


def row(title: str) -> dashboard.Row:
    """Begin a row of panels."""
    return dashboard.Row(title)
