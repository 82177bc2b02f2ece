"""Which part of a session waits for which: a matrix of the brain, the hands and the sandbox, one per topology.

A part waits for its own turn (the diagonal: from when what it needed was there until it began, a model request until
its first token), and before that for the part whose end it needed (:mod:`agents.reports.course`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.experiments.trace_rows import TraceRow
from agents.reports.course import BRAIN, Part, course
from agents.reports.drawing import Drawing, Figure, axis, axis_name, log_ticks, panel_title, stacked
from agents.reports.setting import Pair, Setting, rows_at
from agents.statistics.percentiles import percentile

_FLOOR = 0.001
"""Seconds; the colour of a shorter wait."""
SANDBOX = "sandbox"
"""Whose tools have names of their own; a hand's are ``HAND.TOOL``."""
_GAP = 60
"""Pixels between the panels, for a heading."""
_BAND = 34
"""Pixels of a row."""


@dataclass(frozen=True, slots=True)
class Wait:
    """How long one part waited for another."""

    times: int
    p50: float
    """Seconds."""
    p95: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class WaitingParts:
    """One topology's waits."""

    topology: str
    parts: Sequence[str]
    """The brain first, then the hands by name; the same for every topology."""
    waits: Mapping[tuple[str, str], Wait]
    """By who waits and for whom; a pair that never met is absent."""


def waiting_parts_data(rows: Iterable[TraceRow], pair: Pair, setting: Setting) -> list[WaitingParts]:
    """Gather the waits inside the sessions of *setting*, warm-up left out; empty when the trace has no parts."""
    sessions: dict[str, TraceRow] = {}
    parts: dict[str, list[TraceRow]] = defaultdict(list)
    for row in rows_at(rows, pair, setting):
        if row.warm_up:
            continue
        if row.kind == "session":
            sessions[row.session] = row
        else:
            parts[row.session].append(row)
    found: dict[str, dict[tuple[str, str], list[float]]] = {name: defaultdict(list) for name in pair}
    for session in sessions.values():
        for part in course(session, parts[session.session]):
            name = _name(part)
            found[session.topology][name, name].append(part.worked - part.ready)
            if part.after is not None:
                found[session.topology][name, _name(part.after)].append(part.after.ended - part.after.began)
    if not any(found.values()):
        return []
    hands = sorted({who for waits in found.values() for who, _ in waits} - {BRAIN})
    return [
        WaitingParts(name, [BRAIN, *hands], {key: _wait(each) for key, each in found[name].items()}) for name in pair
    ]


def _name(part: Part) -> str:
    if part.name == BRAIN:
        return BRAIN
    hand, dot, _ = part.name.partition(".")
    return hand if dot else SANDBOX


def _wait(seconds: Sequence[float]) -> Wait:
    return Wait(len(seconds), percentile(seconds, 50), percentile(seconds, 95))


def waiting_parts_figure(matrices: Sequence[WaitingParts], setting: Setting) -> Figure:
    """Draw *matrices* one below the other, the 95th percentile as a logarithmic colour and both percentiles as text."""
    tails = [max(wait.p95, _FLOOR) for each in matrices for wait in each.waits.values()]
    low, high = min(tails), max(max(tails), min(tails) * 1.001)
    rows = len(matrices[0].parts)
    drawn = len(matrices) * (_BAND * rows + _GAP) - _GAP
    panels = stacked(len(matrices), _GAP / drawn)
    titles = zip(matrices, panels, strict=True)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "annotations": [panel_title(f"{each.topology}: p50 / p95, ms", top) for each, (_, top) in titles],
        "coloraxis": {
            "cmin": math.log10(low),
            "cmax": math.log10(high),
            "colorbar": {"title": {"text": "p95"}, **log_ticks(low, high, " s")},
        },
    }
    for place, (each, panel) in enumerate(zip(matrices, panels, strict=True)):
        name, last = axis_name(place), place == len(matrices) - 1
        traces.append(_cells(each, name))
        layout[f"yaxis{name}"] = axis("who waits", autorange="reversed", domain=panel, showgrid=False)
        across = {"showgrid": False, "showticklabels": last, "tickangle": -35}
        layout[f"xaxis{name}"] = axis("for whom" if last else "", anchor=f"y{name}", **across)
    return Figure(
        "waiting-parts",
        "Which part of a session waits for which",
        f"At {setting.text}. On the diagonal a part waits for its own turn, from when what it needed was there "
        "until it began, the brain until its first token; elsewhere for the part whose end it needed: a tool for the "
        "brain that asked for it, the brain for the slowest tool whose result it reads. A hand stands for all of its "
        "tools.",
        "Matrix of waits. " + " ".join(_told(each) for each in matrices),
        Drawing(traces, layout, drawn + 130, narrowest=72 * rows + 200),
    )


def _cells(each: WaitingParts, name: str) -> dict[str, Any]:
    waits = [[each.waits.get((who, whom)) for whom in each.parts] for who in each.parts]
    return {
        "type": "heatmap",
        "x": list(each.parts),
        "y": list(each.parts),
        "z": [[round(math.log10(max(wait.p95, _FLOOR)), 4) if wait else None for wait in row] for row in waits],
        "text": [[f"{_ms(wait.p50)} / {_ms(wait.p95)}" if wait else "" for wait in row] for row in waits],
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "xgap": 2,
        "ygap": 2,
        "coloraxis": "coloraxis",
        "hovertemplate": "%{y} waits for %{x}: p50 / p95 %{text} ms<extra></extra>",
        "xaxis": f"x{name}",
        "yaxis": f"y{name}",
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if seconds >= 0.0095 else f"{seconds * 1000:.1g}"


def _told(each: WaitingParts) -> str:
    (who, whom), wait = max(each.waits.items(), key=lambda item: item[1].p95)
    longest = f"{who} for its own turn" if who == whom else f"{who} for {whom}"
    return f"{each.topology}: the longest is {longest}, {_ms(wait.p50)} ms at the median and {_ms(wait.p95)} at p95."
