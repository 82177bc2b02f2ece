"""A repository, and a server of it that wants a token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .git_server import TOKEN, GitServer, new_repository


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return new_repository(tmp_path)


@pytest.fixture
async def server(origin: Path) -> AsyncIterator[GitServer]:
    async with GitServer(origin.parent, TOKEN).running() as running:
        yield running
