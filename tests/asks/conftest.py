from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.asks.stage import RestartableServer, restartable, scene_at
from tests.conformance.scene import Scene
from tests.open_directory import open_directory


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with open_directory("hecaton-asks-") as base:
        yield base


@pytest.fixture
def server(data_dir: Path) -> Iterator[RestartableServer]:
    with restartable(data_dir) as made:
        yield made


@pytest.fixture
async def scene(server: RestartableServer) -> AsyncIterator[Scene]:
    async with scene_at(server.live) as made:
        yield made
