"""From the baseline's cost of a token to the other topology's: what each part of the bill adds or takes away.

What is held is paid for, used or not, and shared by the tokens that were read and written meanwhile. A GPU's price is
split by whether it worked: its idle part is what a topology wastes, its busy part what a token takes at that width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from agents.economics.roi.inputs import PriceList
from agents.experiments.analysis.analysis import Analysis
from agents.experiments.figures_of_rounds import RoundFigures, gpu_seconds
from agents.reports.drawing import GREY, Drawing, Figure, Palette, axis
from agents.reports.findings import metrics_at
from agents.reports.measures import number
from agents.reports.setting import Pair, Setting

IDLE, BUSY, HANDS = "GPUs, waiting", "GPUs, at work", "hands"
_PARTS = (IDLE, BUSY, HANDS)
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class CostOfToken:
    """What a token costs on one topology."""

    topology: str
    parts: Mapping[str, float]
    """US dollars per million tokens, by part of the bill."""

    @property
    def total(self) -> float:
        """US dollars per million tokens."""
        return sum(self.parts.values())


def cost_waterfall_data(
    analysis: Analysis, rounds: Iterable[RoundFigures], prices: PriceList, pair: Pair, setting: Setting
) -> list[CostOfToken]:
    """Split both topologies' cost of a token at *setting* by the *prices* that were paid; empty when a figure of it was
    not kept."""
    kept = [each for each in rounds if Setting(each.arrivals, each.load) == setting]
    gpu_usd = float(prices.gpu_usd_per_hour)
    costs = [_cost(analysis, [each for each in kept if each.topology == name], gpu_usd, name, setting) for name in pair]
    return [each for each in costs if each is not None] if None not in costs else []


def _cost(
    analysis: Analysis, rounds: Sequence[RoundFigures], gpu_usd: float, name: str, setting: Setting
) -> CostOfToken | None:
    metrics = metrics_at(analysis, name, setting)
    # Where a brain does not say how long its GPUs worked, their price can not be split.
    rounds = [each for each in rounds if each.gpu_busy_seconds is not None]
    if metrics is None or not rounds or not metrics.rates.tokens_per_second:
        return None
    tokens = metrics.rates.tokens_per_second * sum(each.seconds for each in rounds)
    busy, held = (seconds * gpu_usd / 3600 for seconds in gpu_seconds(rounds))
    usd = {IDLE: held - busy, BUSY: busy, HANDS: sum(each.usd for each in rounds) - held}
    return CostOfToken(name, {part: value / tokens * _MILLION for part, value in usd.items()})


def cost_waterfall_figure(
    costs: Sequence[CostOfToken], prices: PriceList, setting: Setting, palette: Palette
) -> Figure:
    """Draw the two costs as bars with the parts' differences between them."""
    below, above = costs
    steps = [above.parts[part] - below.parts[part] for part in _PARTS]
    values = [below.total, *steps, above.total]
    labels = [below.topology, *_PARTS, above.topology]
    top = max(accumulate([below.total, *steps]))
    trace: dict[str, Any] = {
        "type": "waterfall",
        "x": labels,
        "y": [round(value, 6) for value in values],
        "measure": ["absolute", *["relative"] * len(steps), "total"],
        "text": [number(below.total), *(_signed(step) for step in steps), number(above.total)],
        "textposition": "outside",
        "cliponaxis": False,
        "connector": {"line": {"color": GREY, "width": 1, "dash": "dot"}},
        "increasing": {"marker": {"color": palette[below.topology]}},
        "decreasing": {"marker": {"color": palette[above.topology]}},
        "totals": {"marker": {"color": palette[""]}},
        "hovertemplate": "%{x}: %{text} USD per million tokens<extra></extra>",
    }
    layout = {
        "xaxis": axis("", showgrid=False),
        "yaxis": axis("USD per million tokens", rangemode="tozero", range=[0, top * 1.15 or 1]),
        "waterfallgap": 0.35,
    }
    told = ", ".join(f"{part} {_signed(step)}" for part, step in zip(_PARTS, steps, strict=True))
    return Figure(
        "cost-waterfall",
        "Cost per token, from one topology to the other",
        f"At {setting.text}, all tokens read and written. What is held is paid for, used or not: "
        f"{prices.gpu_usd_per_hour} USD for an hour of a GPU, {prices.cpu_usd_per_hour} USD for an hour of a hand. "
        "Bars between the totals are what each part of the bill adds or takes away.",
        f"Waterfall chart in USD per million tokens: {below.topology} {number(below.total)}, {told}, {above.topology} "
        f"{number(above.total)}.",
        Drawing([trace], layout, 400),
    )


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"
