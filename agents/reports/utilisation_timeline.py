"""How much of the brain and of the hands is at work over a round: two panels, a line per topology."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from agents.experiments.trace_rows import TraceRow
from agents.reports.drawing import Drawing, Figure, Palette, axis, axis_name, panel_title, stacked
from agents.reports.setting import Pair, Setting, rows_at


@dataclass(frozen=True, slots=True)
class UtilisationTimeline:
    """One topology's work over a round, the mean of its rounds."""

    topology: str
    seconds: Sequence[float]
    """Middles of the bins."""
    brain: Sequence[float]
    """Model requests under way, in per cent of the brain's places; above 100 while some wait inside the engine."""
    hands: Sequence[float]
    """Tool calls under way."""


def utilisation_timeline_data(
    rows: Iterable[TraceRow],
    pair: Pair,
    setting: Setting,
    seconds: float,
    places: int,
    share: float = 1.0,
    bins: int = 60,
) -> list[UtilisationTimeline]:
    """Average what is under way in each of *bins* of a round's *seconds*; *places* is how many model requests all GPUs
    take at once, *share* how many of all sessions *rows* has. Empty when the trace has neither requests nor calls."""
    work = {(name, kind): [0.0] * bins for name in pair for kind in ("inference", "tool_call")}
    rounds: dict[str, set[int]] = {name: set() for name in pair}
    for row in rows_at(rows, pair, setting):
        rounds[row.topology].add(row.round)
        if (row.topology, row.kind) in work:
            _add(work[row.topology, row.kind], row.began, seconds if row.ended is None else row.ended, seconds / bins)
    if not any(any(line) for line in work.values()):
        return []
    width = seconds / bins
    middles = [(place + 0.5) * width for place in range(bins)]

    def mean(name: str, kind: str, unit: float) -> list[float]:
        return [each / (width * share * len(rounds[name])) * unit for each in work[name, kind]]

    return [
        UtilisationTimeline(name, middles, mean(name, "inference", 100 / places), mean(name, "tool_call", 1))
        for name in pair
        if rounds[name]
    ]


def _add(bins: list[float], began: float, ended: float, width: float) -> None:
    """Add the seconds from *began* to *ended* to the *bins* of *width* seconds that they fall into."""
    for place in range(max(int(began / width), 0), len(bins)):
        left = place * width
        if left >= ended:
            return
        bins[place] += min(ended, left + width) - max(began, left)


def utilisation_timeline_figure(lines: Sequence[UtilisationTimeline], setting: Setting, palette: Palette) -> Figure:
    """Draw *lines*: the brain above, the hands below, on one time axis."""
    panels = stacked(2, 0.16)
    quantities = ("brain: model requests under way, % of its places", "hands: tool calls under way")
    layout: dict[str, Any] = {
        "showlegend": True,
        "legend": {"y": 1.08},
        "margin": {"t": 70},
        "annotations": [panel_title(text, top) for text, (_, top) in zip(quantities, panels, strict=True)],
    }
    end = lines[0].seconds[0] + lines[0].seconds[-1]
    for place, panel in enumerate(panels):
        name = axis_name(place)
        layout[f"yaxis{name}"] = axis(("%", "calls")[place], domain=panel, rangemode="tozero")
        title = "seconds since the round began" if place else ""
        layout[f"xaxis{name}"] = axis(title, anchor=f"y{name}", showticklabels=bool(place), range=[0, end])
    traces = [
        _line(each, place, palette[each.topology], values)
        for each in lines
        for place, values in enumerate((each.brain, each.hands))
    ]
    told = [f"{each.topology} {fmean(each.brain):.0f} % and {fmean(each.hands):.1f} calls" for each in lines]
    return Figure(
        "utilisation-timeline",
        "The brain and the hands at work",
        f"At {setting.text}, mean of the rounds. A brain's places are how many answers its GPUs write together; above "
        "100 % some requests wait inside the engine. In a monolith a turn keeps its place while its tools run: the "
        "place is taken, yet nothing is under way in it.",
        f"Lines of what is under way over a round. On average brain and hands have: {'; '.join(told)}.",
        Drawing(traces, layout, 460),
    )


def _line(each: UtilisationTimeline, place: int, colour: str, values: Sequence[float]) -> dict[str, Any]:
    name = axis_name(place)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": each.topology,
        "legendgroup": each.topology,
        "showlegend": place == 0,
        "x": [round(moment, 4) for moment in each.seconds],
        "y": [round(value, 4) for value in values],
        "line": {"color": colour, "width": 2, "shape": "hvh"},
        "hovertemplate": f"{each.topology}: %{{y:.3g}}<extra></extra>",
        "xaxis": f"x{name}",
        "yaxis": f"y{name}",
    }
