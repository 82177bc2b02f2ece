from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from api_fakes import Server

from agents.config import Settings


@pytest.fixture
async def make_server(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    made: list[Server] = []

    async def make(**settings: Any) -> Server:
        server = Server(Settings(**{"data_dir": tmp_path, **settings}))
        await server.host.start()
        made.append(server)
        return server

    yield make
    for server in made:
        await server.client.aclose()


@pytest.fixture
async def server(make_server: Callable[..., Awaitable[Server]]) -> Server:
    return await make_server()
