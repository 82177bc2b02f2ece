"""What is remembered of packages that cannot be installed: for as long as it holds, and no longer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.hands.packages.builder import BuildFailed, LayerBuilder
from agents.hands.packages.layers import Layers
from agents.hands.packages.settings import PackageSettings
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxRoot


class _Failing(LayerBuilder):
    """Finds no package, whatever it is asked for."""

    def __init__(self) -> None:
        pass

    async def build(self, environment: Mapping[str, Any], target: Path) -> None:
        raise BuildFailed(f"no package is called {environment['packages']['pip'][0]}")


async def test_failures_are_remembered_while_they_hold(tmp_path: Path) -> None:
    clock = ManualClock()
    layers = Layers(PackageSettings(retry_seconds=60), SandboxRoot(tmp_path), _Failing(), clock)
    for name in ("one", "two", "three", "three"):
        with pytest.raises(SandboxUnavailable, match=name):
            await layers.of({"packages": {"pip": [name]}})
        clock.advance(25)

    assert layers.counts.layer_builds == 3, "what is known to fail is not tried again at once"
    clock.advance(60)
    with pytest.raises(SandboxUnavailable, match="one"):
        await layers.of({"packages": {"pip": ["one"]}})
    assert layers.counts.layer_builds == 4 and len(layers._failed) == 1
