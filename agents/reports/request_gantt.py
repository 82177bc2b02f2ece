"""Where the time of one request goes, in both topologies: Gantt charts of the same request on one time axis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from agents.experiments.trace_rows import TraceRow
from agents.reports.course import BRAIN, Part, course
from agents.reports.drawing import GREY, PURPLE, TEAL, Drawing, Figure, axis, axis_name, panel_title, stacked
from agents.reports.setting import Pair, Setting, rows_at

Doing = Literal["waits", "reads", "writes", "acts"]
_COLOURS: dict[Doing, str] = {"waits": GREY, "reads": "#7cc4a9", "writes": TEAL, "acts": PURPLE}
_NAMES: dict[Doing, str] = {
    "waits": "waits for its turn",
    "reads": "brain, until its first token",
    "writes": "brain writes",
    "acts": "tool runs",
}
_BETWEEN = 44
"""Pixels between the panels, for a heading."""
_BAND = 22
"""Pixels of a lane."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of one part of a session."""

    lane: int
    """Which part it is of, in the order in which they began."""
    part: str
    doing: Doing
    begins: float
    """Seconds since the session was due."""
    ends: float


@dataclass(frozen=True, slots=True)
class Gantt:
    """One request in one topology."""

    topology: str
    workload: str
    round: int
    request: int
    seconds: float
    """From when it was due until it ended."""
    bars: Sequence[Bar]


def request_gantt_data(rows: Iterable[TraceRow], pair: Pair, setting: Setting) -> list[tuple[Gantt, Gantt]]:
    """For each workload return the request whose latency in the baseline is the median of those that ended well in both
    topologies: the baseline's course, and the other's. A workload that has none is left out."""
    sessions: dict[tuple[str, int, int], dict[str, TraceRow]] = defaultdict(dict)
    parts: dict[str, list[TraceRow]] = defaultdict(list)
    for row in rows_at(rows, pair, setting):
        if row.warm_up:
            continue
        if row.kind == "session":
            sessions[row.workload, row.round, row.request][row.topology] = row
        elif row.kind in ("inference", "tool_call"):
            parts[row.session].append(row)
    whole = {
        key: each
        for key, each in sessions.items()
        if all(name in each and _well(each[name]) and parts.get(each[name].session) for name in pair)
    }
    chosen = [
        _median([key for key in whole if key[0] == name], whole, pair) for name in sorted({key[0] for key in whole})
    ]
    return [
        (
            _gantt(whole[key][pair.baseline], parts[whole[key][pair.baseline].session]),
            _gantt(whole[key][pair.compared], parts[whole[key][pair.compared].session]),
        )
        for key in chosen
    ]


def _well(row: TraceRow) -> bool:
    return row.outcome == "ok" and row.ended is not None


def _median(
    keys: Sequence[tuple[str, int, int]], whole: dict[tuple[str, int, int], dict[str, TraceRow]], pair: Pair
) -> tuple[str, int, int]:
    seconds = {key: _seconds(whole[key][pair.baseline]) for key in keys}
    middle = median(seconds.values())
    return min(keys, key=lambda key: (abs(seconds[key] - middle), key))


def _seconds(row: TraceRow) -> float:
    return (row.due if row.ended is None else row.ended) - row.due


def _gantt(session: TraceRow, rows: Sequence[TraceRow]) -> Gantt:
    bars = [bar for lane, part in enumerate(course(session, rows)) for bar in _bars(lane, part, session.due)]
    return Gantt(session.topology, session.workload, session.round, session.request, _seconds(session), bars)


def _bars(lane: int, part: Part, due: float) -> Iterator[Bar]:
    marks: tuple[tuple[Doing, float, float], ...] = (
        ("waits", part.ready, part.began),
        ("reads" if part.name == BRAIN else "acts", part.began, part.worked),
        ("writes" if part.name == BRAIN else "acts", part.worked, part.ended),
    )
    for doing, begins, ends in marks:
        if ends > begins:
            yield Bar(lane, part.name, doing, begins - due, ends - due)


def request_gantt_figure(charts: tuple[Gantt, Gantt], setting: Setting) -> Figure:
    """Draw both courses, one below the other, on one time axis."""
    lanes = max(bar.lane for each in charts for bar in each.bars) + 1
    end = max(each.seconds for each in charts) * 1.02
    drawn = 2 * _BAND * lanes + _BETWEEN
    panels = stacked(len(charts), _BETWEEN / drawn)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "showlegend": True,
        "legend": {"y": 1 + 32 / drawn},
        "barmode": "overlay",
        "margin": {"t": 74},
        "annotations": [],
    }
    for place, (each, panel) in enumerate(zip(charts, panels, strict=True)):
        name, last = axis_name(place), place == len(charts) - 1
        traces += [_trace(each, doing, place) for doing in _COLOURS]
        layout["annotations"].append(panel_title(f"{each.topology}: {each.seconds:.2f} s", panel[1]))
        title = "seconds since it was due" if last else ""
        layout[f"xaxis{name}"] = axis(title, range=[0, end], anchor=f"y{name}", showticklabels=last)
        labels = {bar.lane: bar.part for bar in each.bars}
        ticks = {"tickvals": list(labels), "ticktext": list(labels.values())}
        layout[f"yaxis{name}"] = axis("", range=[lanes - 0.5, -0.5], showgrid=False, domain=panel, **ticks)
    one = charts[0]
    return Figure(
        f"gantt-{one.workload}",
        f"One {one.workload} request, part by part",
        f"Request {one.request} of round {one.round} at {setting.text}: the one whose latency on {one.topology} is the "
        "median of those that ended well on both.",
        f"Gantt chart of one {one.workload} request: "
        + ", ".join(f"{each.seconds:.2f} s on {each.topology}, {_shares(each)}" for each in charts)
        + ".",
        Drawing(traces, layout, drawn + 120),
    )


def _trace(each: Gantt, doing: Doing, place: int) -> dict[str, Any]:
    bars = [bar for bar in each.bars if bar.doing == doing]
    name = axis_name(place)
    return {
        "type": "bar",
        "orientation": "h",
        "name": _NAMES[doing],
        "legendgroup": doing,
        "showlegend": place == 0,
        "y": [bar.lane for bar in bars],
        "width": 0.72,
        "base": [round(bar.begins, 5) for bar in bars],
        "x": [round(bar.ends - bar.begins, 5) for bar in bars],
        "customdata": [bar.part for bar in bars],
        "marker": {"color": _COLOURS[doing], "line": {"width": 0}},
        "hovertemplate": f"%{{customdata}} {doing}: %{{x:.3f}} s<extra></extra>",
        "xaxis": f"x{name}",
        "yaxis": f"y{name}",
    }


def _shares(each: Gantt) -> str:
    sums = dict.fromkeys(_COLOURS, 0.0)
    for bar in each.bars:
        sums[bar.doing] += bar.ends - bar.begins
    return " and ".join(f"{_NAMES[doing]} {seconds:.2f} s" for doing, seconds in sums.items() if seconds)
