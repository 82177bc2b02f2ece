"""Sessions served per second while the load ramps up: one line per topology, drawn out as an animation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from agents.experiments.trace_rows import TraceRow
from agents.reports.drawing import GREY, Drawing, Figure, Palette, axis
from agents.reports.setting import Pair, Setting

_FRAMES = 40


@dataclass(frozen=True, slots=True)
class Step:
    """One load of the ramp."""

    load: float
    begins: float
    """Seconds on the ramp's axis."""
    ends: float


@dataclass(frozen=True, slots=True)
class ThroughputTimeline:
    """What was offered and served, the loads laid end to end, each the mean of its rounds."""

    arrivals: str
    steps: Sequence[Step]
    seconds: Sequence[float]
    """Middles of the bins."""
    served: Mapping[str, Sequence[float]]
    """By topology: sessions per second that ended well in the bin, the baseline first."""


def throughput_timeline_data(
    rows: Iterable[TraceRow], pair: Pair, ramp: Sequence[Setting], seconds: float, share: float = 1.0, bins: int = 10
) -> ThroughputTimeline:
    """Count the sessions that ended well in each of *bins* per load of *ramp*; what ends after the round's *seconds* is
    not on the ramp. *share* is how many of all sessions *rows* has."""
    places = {setting: place for place, setting in enumerate(ramp)}
    counts = {name: [0] * (bins * len(ramp)) for name in pair}
    rounds: dict[tuple[str, Setting], set[int]] = {}
    for row in rows:
        setting = Setting(row.arrivals, row.load)
        if row.kind != "session" or row.topology not in counts or setting not in places:
            continue
        rounds.setdefault((row.topology, setting), set()).add(row.round)
        if row.outcome == "ok" and row.ended is not None and 0 <= row.ended < seconds:
            counts[row.topology][places[setting] * bins + int(row.ended / seconds * bins)] += 1
    width = seconds / bins
    served = {
        name: [
            count / (width * share * len(rounds[name, ramp[place // bins]])) for place, count in enumerate(counts[name])
        ]
        for name in pair
    }
    steps = [Step(setting.load, place * seconds, (place + 1) * seconds) for place, setting in enumerate(ramp)]
    return ThroughputTimeline(
        ramp[0].arrivals, steps, [(place + 0.5) * width for place in range(bins * len(ramp))], served
    )


def throughput_timeline_figure(timeline: ThroughputTimeline, palette: Palette) -> Figure:
    """Draw *timeline* whole; its frames draw it from the beginning."""
    open_loop = timeline.arrivals != "closed"
    end = timeline.steps[-1].ends
    lines = [_line(name, timeline, palette[name]) for name in timeline.served]
    if open_loop:
        lines.insert(0, _offered(timeline.steps))
    top = max([*(max(each["y"]) for each in lines), 1e-9]) * 1.08
    unit = "/s offered" if open_loop else " sessions under way"
    layout = {
        "showlegend": True,
        "xaxis": axis("seconds on the ramp, the loads end to end", range=[0, end]),
        "yaxis": axis("sessions served per second", range=[0, top]),
        "shapes": [_border(step) for step in timeline.steps[1:]],
        "annotations": [_load(step, unit if step is timeline.steps[0] else "") for step in timeline.steps],
        "margin": {"t": 48},
    }
    return Figure(
        "throughput-timeline",
        "Throughput as the load ramps up",
        "Sessions that ended well, per second, mean of the rounds. The loads were run "
        "one by one and are laid end to end; each begins with an empty platform.",
        f"Lines of sessions served per second over {len(timeline.steps)} ascending loads. " + _told(timeline),
        Drawing(lines, layout, 380, _frames(lines, end)),
    )


def _line(name: str, timeline: ThroughputTimeline, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(timeline.seconds),
        "y": [round(value, 4) for value in timeline.served[name]],
        "line": {"color": colour, "width": 2.25},
        "hovertemplate": f"{name}: %{{y:.3g}} sessions/s<extra></extra>",
    }


def _offered(steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "offered",
        "x": [moment for step in steps for moment in (step.begins, step.ends)],
        "y": [step.load for step in steps for _ in range(2)],
        "line": {"color": GREY, "width": 1.25, "dash": "dash"},
        "hovertemplate": "offered: %{y:g} sessions/s<extra></extra>",
    }


def _border(step: Step) -> dict[str, Any]:
    line = {"color": GREY, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": step.begins, "x1": step.begins, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def _load(step: Step, unit: str) -> dict[str, Any]:
    place = {"x": step.begins, "xanchor": "left", "xshift": 4, "yref": "paper", "y": 1, "yanchor": "top"}
    return {**place, "text": f"{step.load:g}{unit}", "showarrow": False, "font": {"color": GREY, "size": 11}}


def _frames(lines: Sequence[Mapping[str, Any]], end: float) -> list[dict[str, Any]]:
    """The lines up to ever later moments; the last frame is all of them."""
    moments = [end * (place + 1) / _FRAMES for place in range(_FRAMES)]
    return [
        {"name": f"{moment:.0f} s", "traces": list(range(len(lines))), "data": [_until(each, moment) for each in lines]}
        for moment in moments
    ]


def _until(line: Mapping[str, Any], moment: float) -> dict[str, Any]:
    count = bisect_right(line["x"], moment)
    return {"type": "scatter", "x": line["x"][:count], "y": line["y"][:count]}


def _told(timeline: ThroughputTimeline) -> str:
    last = timeline.steps[-1]
    settled = (last.begins + last.ends) / 2
    texts: list[str] = []
    for name, served in timeline.served.items():
        late = [value for moment, value in zip(timeline.seconds, served, strict=True) if moment >= settled]
        texts.append(f"{name} {fmean(late):.3g}")
    return f"In the second half of the highest load, {last.load:g}, they serve per second: {', '.join(texts)}."
