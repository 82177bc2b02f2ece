from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.asks.stage import RestartableServer, restartable, scene_at
from tests.conformance.scene import Scene


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RestartableServer]:
    with restartable(tmp_path) as made:
        yield made


@pytest.fixture
async def scene(server: RestartableServer) -> AsyncIterator[Scene]:
    async with scene_at(server.live) as made:
        yield made
