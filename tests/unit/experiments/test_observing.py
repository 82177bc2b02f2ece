"""What is read from a platform's figures while its processes die and come back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

import pytest

from agents.economics.roi.inputs import PriceList
from agents.experiments.running.observing import Held, RoundObserver
from agents.experiments.running.platform_api import PlatformApi
from agents.experiments.running.recording import RoundKey

KEY = RoundKey("decoupled", "poisson", 1.0, 0, 0.0)


class Platform:
    """Says at each look of how many seconds each of its GPUs tells that it worked."""

    def __init__(self, *looks: Mapping[str, float]) -> None:
        self._looks = list(looks)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[bytes, int]:
        assert path == "/metrics"
        lines = [f'hecaton_brain_replica_gpu_busy_seconds{{replica="{name}"}} {value}' for name, value in self._now()]
        return "".join(f"{line}\n" for line in lines).encode(), 0

    def _now(self) -> list[tuple[str, float]]:
        return list(self._looks.pop(0).items())

    async def get(self, path: str) -> Any:
        hand = {"replicas": 2, "definition": {"concurrency": 4}}
        return {"data": [hand] if path == "/-/hands" else []}


@pytest.mark.parametrize(
    ("looks", "busy"),
    [
        pytest.param([{"a": 5}, {"a": 5.1}, {"a": 5.2}, {"a": 5.3}, {"a": 5.4}], 0.4, id="nothing dies"),
        pytest.param([{"a": 5}, {"a": 5.1}, {"a": 0.1}, {"a": 0.2}, {"a": 0.3}], 0.4, id="a counter begins anew"),
        pytest.param([{"a": 5}, {"a": 5.1}, {}, {"b": 0.1}, {"b": 0.2}], 0.3, id="another takes its place"),
        pytest.param([{"a": 5}, {"a": 5.1}, {}, {"a": 5.2}, {"a": 5.3}], 0.3, id="one does not answer"),
        pytest.param([{"a": 5}, {}, {}, {}, {}], 0.0, id="it is gone"),
        pytest.param([{}, {}, {}, {}, {"a": 0.3}], 0.3, id="it comes late"),
    ],
)
async def test_a_gpu_that_dies_and_comes_back_was_busy_for_what_both_did(
    looks: list[Mapping[str, float]], busy: float
) -> None:
    observer = RoundObserver(cast(PlatformApi, Platform(*looks)), Held(gpus=1000, turn_places=1), PriceList())
    await observer.watch(0.01)
    figures = await observer.figures(KEY, [])
    assert figures.gpu_busy_seconds == pytest.approx(busy)


async def test_gpus_of_brains_that_do_not_tell_are_not_said_to_be_idle() -> None:
    observer = RoundObserver(cast(PlatformApi, Platform(*[{}] * 5)), Held(gpus=1, turn_places=1), PriceList())
    await observer.watch(0.01)
    assert (await observer.figures(KEY, [])).gpu_busy_seconds is None


async def test_what_was_held_costs_what_the_plan_says() -> None:
    """Three GPUs, and two replicas of a hand."""
    prices = PriceList(gpu_usd_per_hour=Decimal(36), cpu_usd_per_hour=Decimal(18))
    observer = RoundObserver(cast(PlatformApi, Platform(*[{}] * 5)), Held(gpus=3, turn_places=0), prices)
    await observer.watch(0.01)
    figures = await observer.figures(KEY, [])
    assert figures.hands == 8
    assert figures.usd == pytest.approx((3 * 36 + 2 * 18) / 3600 * figures.seconds)
