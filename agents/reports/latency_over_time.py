"""When sessions waited how long: a heat map of arrival and latency, one panel per topology."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.experiments.trace_rows import TraceRow
from agents.reports.drawing import GREY, Drawing, Figure, axis, axis_name, log_ticks, panel_title, stacked
from agents.reports.setting import Pair, Setting, rows_at
from agents.statistics.percentiles import percentile

_LOWEST = 0.001
"""Seconds; a latency below is shown there."""
_BANDS_PER_DECADE = 10


@dataclass(frozen=True, slots=True)
class LatencyMap:
    """One topology's sessions by arrival and latency."""

    topology: str
    seconds: Sequence[float]
    """Edges of the columns, seconds since the round began."""
    latencies: Sequence[float]
    """Edges of the rows, seconds; equal steps of the logarithm, the same for every topology."""
    counts: Sequence[Sequence[int]]
    """Sessions by row and column."""
    p95: Sequence[float | None]
    """Seconds, by column; None without sessions."""
    sessions: int
    unfinished: int
    """Those of them that had not ended when the round's patience did, counted with the latency that they had then."""
    failed: int
    """Sessions that ended in an error, which are not among them: a refusal is not a fast answer."""


def latency_over_time_data(
    rows: Iterable[TraceRow], pair: Pair, setting: Setting, seconds: float, patience: float, columns: int = 40
) -> list[LatencyMap]:
    """Sort the sessions of *setting* into *columns* of the round's *seconds*; latency counts from when one was due."""
    sessions = [row for row in rows_at(rows, pair, setting) if row.kind == "session"]
    end = seconds + patience
    latencies = [_latency(row, end) for row in sessions if not _failed(row)]
    if not latencies:
        return []
    edges = _edges(min(latencies), max(latencies))
    return [
        _map(topology, [row for row in sessions if row.topology == topology], edges, seconds, end, columns)
        for topology in pair
    ]


def _failed(row: TraceRow) -> bool:
    return row.outcome != "ok" and row.ended is not None


def _latency(row: TraceRow, end: float) -> float:
    return max((end if row.ended is None else row.ended) - row.due, _LOWEST)


def _edges(low: float, high: float) -> list[float]:
    first = math.floor(math.log10(low) * _BANDS_PER_DECADE)
    last = max(math.ceil(math.log10(high) * _BANDS_PER_DECADE), first + 1)
    return [10 ** (each / _BANDS_PER_DECADE) for each in range(first, last + 1)]


def _map(
    topology: str, rows: Sequence[TraceRow], edges: Sequence[float], seconds: float, end: float, columns: int
) -> LatencyMap:
    counts = [[0] * columns for _ in range(len(edges) - 1)]
    by_column: list[list[float]] = [[] for _ in range(columns)]
    counted = [row for row in rows if not _failed(row)]
    for row in counted:
        column = min(max(int(row.due / seconds * columns), 0), columns - 1)
        latency = _latency(row, end)
        counts[min(max(bisect_right(edges, latency) - 1, 0), len(counts) - 1)][column] += 1
        by_column[column].append(latency)
    return LatencyMap(
        topology,
        [seconds * each / columns for each in range(columns + 1)],
        edges,
        counts,
        [percentile(each, 95) if each else None for each in by_column],
        len(counted),
        sum(row.ended is None for row in counted),
        len(rows) - len(counted),
    )


def latency_over_time_figure(maps: Sequence[LatencyMap], setting: Setting, warm_up: float) -> Figure:
    """Draw *maps* one below the other on one time axis, the sessions' number as a logarithmic colour."""
    most = max(max(max(row) for row in each.counts) for each in maps)
    panels = stacked(len(maps), 0.12)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "annotations": [panel_title(each.topology, top) for each, (_, top) in zip(maps, panels, strict=True)],
        "coloraxis": {
            "cmin": 0,
            "cmax": math.log10(max(most, 2)),
            "colorbar": {"title": {"text": "sessions"}, **log_ticks(1, most)},
        },
    }
    for place, (each, panel) in enumerate(zip(maps, panels, strict=True)):
        name, last = axis_name(place), place == len(maps) - 1
        traces += _panel(each, name)
        layout[f"yaxis{name}"] = axis("latency, s", type="log", domain=panel, dtick="D2")
        title = "arrival, seconds since the round began" if last else ""
        layout[f"xaxis{name}"] = axis(title, anchor=f"y{name}", range=[0, each.seconds[-1]], showticklabels=last)
    if warm_up:
        line = {"dash": "dot", "width": 1, "color": GREY}
        place = {"x0": warm_up, "x1": warm_up, "yref": "paper", "y0": 0, "y1": 1}
        layout["shapes"] = [{"type": "line", "line": line, **place}]
    told = [_told(each) for each in maps]
    return Figure(
        "latency-over-time",
        "Latency over time",
        f"At {setting.text}, all rounds together. Each cell counts the sessions that arrived then and took so long, "
        "from the moment they were due; the line is each moment's 95th percentile."
        + (" Left of the dotted line is the warm-up, which no figure counts." if warm_up else ""),
        "Heat map of latency by arrival. " + " ".join(told),
        Drawing(traces, layout, 220 * len(maps) + 80),
    )


def _panel(each: LatencyMap, name: str) -> list[dict[str, Any]]:
    places = {"xaxis": f"x{name}", "yaxis": f"y{name}"}
    middles = [(left + right) / 2 for left, right in zip(each.seconds, each.seconds[1:], strict=False)]
    cells: dict[str, Any] = {
        "type": "heatmap",
        "x": [round(edge, 4) for edge in each.seconds],
        "y": [float(f"{edge:.5g}") for edge in each.latencies],
        "z": [[round(math.log10(count), 4) if count else None for count in row] for row in each.counts],
        "customdata": each.counts,
        "coloraxis": "coloraxis",
        "hovertemplate": "%{customdata} sessions, arrived at %{x:.1f} s, took about %{y:.3g} s<extra></extra>",
    }
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": [round(middle, 4) for middle in middles],
        "y": [None if value is None else float(f"{value:.5g}") for value in each.p95],
        "line": {"color": GREY, "width": 2},
        "hovertemplate": "p95 %{y:.3g} s<extra></extra>",
    }
    return [cells | places, line | places]


def _told(each: LatencyMap) -> str:
    tails = [value for value in each.p95 if value is not None]
    span = f"the 95th percentile between {min(tails):.3g} and {max(tails):.3g} s" if tails else "none at all"
    text = f"{each.topology}: {each.sessions} sessions, {span}"
    if each.unfinished:
        text += f", {each.unfinished} not ended"
    return f"{text}; {each.failed} more failed." if each.failed else f"{text}."
