from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.asks.stage import RestartableServer, restartable, scene_at
from tests.conformance.scene import Scene


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory that sandbox users may pass through (pytest's own are closed to others)."""
    base = Path(tempfile.mkdtemp(prefix="hecaton-asks-"))
    os.chmod(base, 0o711)
    yield base
    shutil.rmtree(base)


@pytest.fixture
def server(data_dir: Path) -> Iterator[RestartableServer]:
    with restartable(data_dir) as made:
        yield made


@pytest.fixture
async def scene(server: RestartableServer) -> AsyncIterator[Scene]:
    async with scene_at(server.live) as made:
        yield made
