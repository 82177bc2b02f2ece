"""What all figures share: colours that colour-blind readers tell apart, axes with units, and two quiet themes.

A drawing is plain data in Plotly's terms; only :func:`figure_json` knows Plotly, which checks every name and value.
The hues are blue and vermilion first, the pair that all common forms of colour blindness keep apart (Okabe and Ito,
"Color universal design", 2008), each at least 3:1 in contrast to both backgrounds (WCAG 2.2, 1.4.11).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from agents.extras import extra

BLUE = "#2f7fc1"
VERMILION = "#c8601b"
TEAL = "#14906b"
PURPLE = "#8a67bd"
GREY = "#828892"
_FURTHER = (TEAL, PURPLE, GREY)

_FEW_POWERS = 4
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure in Plotly's terms, without a theme."""

    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    height: int
    """Pixels; the width is the reader's."""
    frames: Sequence[Mapping[str, Any]] = ()
    """Of an animation: each has a name, which the page shows beside its slider, and the traces' data."""
    narrowest: int = 0
    """Pixels of width below which it cannot be read; on a narrower screen it is scrolled."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with what is said about it."""

    kind: ClassVar[str] = "figure"

    key: str
    """Its element on the page, and its file's name as a static picture."""
    title: str
    caption: str
    """How to read it, and what it leaves out."""
    alt: str
    """What it shows, in words and figures, for who does not see it."""
    drawing: Drawing


@dataclass(frozen=True, slots=True)
class Missing:
    """A figure or table that this run has no data for."""

    kind: ClassVar[str] = "missing"

    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Palette:
    """One colour per topology, the same in every figure."""

    colours: Mapping[str, str] = field(default_factory=lambda: {})

    @staticmethod
    def of(baseline: str, compared: str, others: Sequence[str] = ()) -> Palette:
        """Vermilion for the baseline, blue for what is compared with it, quieter hues for *others*."""
        rest = {name: _FURTHER[place % len(_FURTHER)] for place, name in enumerate(others)}
        return Palette(rest | {baseline: VERMILION, compared: BLUE})

    def __getitem__(self, topology: str) -> str:
        return self.colours.get(topology, GREY)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis whose *title* names the quantity and its unit."""
    return {"title": {"text": title}, **more}


def panel_title(text: str, y: float, x: float = 0.0) -> dict[str, Any]:
    """A heading that stands at *x* and on *y*, in shares of the drawing area."""
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    return {**place, "text": f"<b>{text}</b>", "showarrow": False, "align": "left"}


def stacked(count: int, gap: float) -> list[tuple[float, float]]:
    """Bottom and top of *count* equal panels from the top down, *gap* between them, in shares of the drawing area."""
    height = (1 - gap * (count - 1)) / count
    tops = [1 - place * (height + gap) for place in range(count)]
    return [(max(top - height, 0.0), top) for top in tops]


def axis_name(place: int) -> str:
    """What Plotly puts behind ``x`` and ``y`` for the panel at *place*: nothing for the first, then 2, 3, and so on."""
    return str(place + 1) if place else ""


def log_ticks(low: float, high: float, unit: str = "") -> dict[str, Any]:
    """Ticks from *low* to *high*, both above 0, of a colour that is a decimal logarithm: powers of ten, with few of
    them 2 and 5 between as well."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(exponents) <= _FEW_POWERS else (1,)
    values = [step * 10.0**each for each in exponents for step in steps]
    within = [value for value in values if low * 0.999 <= value <= high * 1.001]
    return {"tickvals": [math.log10(value) for value in within], "ticktext": [f"{value:g}{unit}" for value in within]}


def figure_json(drawing: Drawing) -> dict[str, Any]:
    """Return *drawing* as data, layout and frames of plotly.js.

    Raises ValueError for a property that Plotly does not know, InvalidRequest when Plotly is not installed.
    """
    figure = _plotly("plotly.graph_objects").Figure(
        data=list(drawing.traces),
        layout={"showlegend": False, "height": drawing.height, **drawing.layout, "template": None},
        frames=list(drawing.frames),
    )
    content = cast("dict[str, Any]", figure.to_plotly_json())
    content["layout"].pop("template", None)
    return {"frames": [], **content}


def plotly_js() -> str:
    """Return plotly.js, whole. Raises InvalidRequest when Plotly is not installed."""
    return str(_plotly("plotly.offline").get_plotlyjs())


def themes() -> dict[str, dict[str, Any]]:
    """Return the layout templates for light and dark screens, and for pictures that lie on a page of any colour."""
    light = _theme(ink="#1d2128", quiet="#5a616c", grid="#e6e8eb", line="#b9bec6", low="#dfeaf5", high="#08306b")
    dark = _theme(ink="#e8eaed", quiet="#a6adb8", grid="#2c3138", line="#4b525c", low="#1c3a58", high="#eaf3fb")
    printed = {"layout": {**light["layout"], "paper_bgcolor": "#ffffff", "plot_bgcolor": "#ffffff"}}
    return {"light": light, "dark": dark, "printed": printed}


def _theme(*, ink: str, quiet: str, grid: str, line: str, low: str, high: str) -> dict[str, Any]:
    scale = [[0.0, low], [0.5, "#4a90c4"], [1.0, high]]
    lines = {
        "automargin": True,
        "gridcolor": grid,
        "linecolor": line,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": line,
        "tickfont": {"color": quiet, "size": 12},
        "title": {"font": {"color": quiet, "size": 12}, "standoff": 8},
    }
    bar = {"thickness": 10, "outlinewidth": 0, "ticks": "", "tickfont": {"color": quiet, "size": 11}}
    bar |= {"title": {"font": {"color": quiet, "size": 11}, "side": "right"}}
    return {
        "layout": {
            "font": {"family": _FONT, "size": 13, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 56, "r": 12, "t": 34, "b": 44, "pad": 0},
            "xaxis": lines,
            "yaxis": lines,
            "coloraxis": {"colorbar": bar},
            # A scale of logarithms spans 0: Plotly would take the one for values that diverge.
            "colorscale": {"sequential": scale, "sequentialminus": scale, "diverging": scale},
            "annotationdefaults": {"font": {"size": 13, "color": ink}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
            "hoverlabel": {"font": {"family": _FONT, "size": 12}},
            "dragmode": False,
        }
    }


def _plotly(module: str) -> Any:
    return extra(module, "the report needs Plotly")
