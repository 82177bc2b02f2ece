"""What a token costs is worked out with the plan's prices, and split only where it is known when GPUs worked."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agents.economics.roi.inputs import PriceList
from agents.experiments.figures_of_rounds import RoundFigures
from agents.reports.cost_waterfall import BUSY, HANDS, IDLE, cost_waterfall_data, cost_waterfall_figure
from agents.reports.drawing import Palette
from tests.unit.reports.analyses import PAIR, SETTING, analysis, metrics

FOUND = analysis(cells=tuple(metrics(name, tokens_per_second=1000.0) for name in ("monolith", "decoupled")))


def of_hour(topology: str, number: int = 0, busy: float | None = 900.0, usd: float = 20.0) -> RoundFigures:
    """A round of an hour with two GPUs."""
    return RoundFigures(
        topology=topology,
        arrivals=SETTING.arrivals,
        load=SETTING.load,
        round=number,
        seconds=3600,
        gpus=2,
        gpu_busy_seconds=busy,
        hands=4,
        hand_busy_seconds=0,
        usd=usd,
    )


def test_the_plans_prices_are_what_is_split_and_told() -> None:
    prices = PriceList(gpu_usd_per_hour=Decimal(8), cpu_usd_per_hour=Decimal("0.125"))
    rounds = [of_hour("monolith", usd=16.0), of_hour("decoupled")]
    costs = cost_waterfall_data(FOUND, rounds, prices, PAIR, SETTING)
    assert costs[0].parts == pytest.approx({IDLE: 14 / 3.6, BUSY: 2 / 3.6, HANDS: 0.0})
    assert costs[1].parts == pytest.approx({IDLE: 14 / 3.6, BUSY: 2 / 3.6, HANDS: 4 / 3.6})
    caption = cost_waterfall_figure(costs, prices, SETTING, Palette.of(*PAIR)).caption
    assert "8 USD for an hour of a GPU, 0.125 USD for an hour of a hand" in caption


def test_rounds_whose_brains_do_not_tell_are_left_out() -> None:
    known = [of_hour("monolith"), of_hour("decoupled")]
    both = cost_waterfall_data(FOUND, [*known, of_hour("decoupled", 1, None, 90.0)], PriceList(), PAIR, SETTING)
    assert both == cost_waterfall_data(FOUND, known, PriceList(), PAIR, SETTING) != []
    assert cost_waterfall_data(FOUND, [known[0], of_hour("decoupled", busy=None)], PriceList(), PAIR, SETTING) == []
