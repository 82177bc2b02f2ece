"""What /metrics says of money. Bug class this catches: a burst that no alert can see."""

from __future__ import annotations

from typing import Any

from agents.brain_settings import BrainDefinition
from agents.brains.registry import Registry
from agents.telemetry.metrics import render_metrics
from agents.telemetry.money import money_figures


def registry(**brains: dict[str, Any]) -> Registry:
    return Registry({name: BrainDefinition(**{"engine": "replay", **given}) for name, given in brains.items()})


def test_replicas_cost_by_the_hour_and_answers_what_the_last_hour_cost() -> None:
    gpu: dict[str, Any] = {
        "resources": {"num_gpus": 2},
        "price": {"gpu_hour": 2.5, "ceiling_usd_per_hour": 30},
        "scaling": {"max_replicas": 2, "burst": {"usd_per_hour": 20}},
        "versions": {"2": {"engine": "replay"}},
    }
    cloud = {"price": {"input_mtok": 3, "ceiling_usd_per_hour": 7}, "versions": {"2": {"engine": "replay"}}}
    known = money_figures(
        registry(gpu=gpu, cloud=cloud, free={}), {"gpu@1": 4, "gpu@2": 1, "free@1": 3}, {"cloud": 1_500_000, "gpu": 9}
    )
    assert known == {
        "gpu": {"replicas_running": 5, "replicas_beyond_max": 2, "usd_per_hour": 25, "ceiling_usd_per_hour": 30},
        "cloud": {"replicas_running": 0, "replicas_beyond_max": 0, "usd_per_hour": 1.5, "ceiling_usd_per_hour": 7},
        "free": {"replicas_running": 3, "replicas_beyond_max": 0, "usd_per_hour": 0},
    }
    text = render_metrics({}, {}, known).decode()
    assert 'hecaton_brain_replicas_beyond_max{brain="gpu"} 2.0' in text
    assert 'hecaton_brain_ceiling_usd_per_hour{brain="free"}' not in text


def test_nothing_is_said_when_no_brain_is_declared() -> None:
    assert money_figures(Registry({"default": BrainDefinition(engine="replay")}, takes_all="default"), {}, {}) == {}
