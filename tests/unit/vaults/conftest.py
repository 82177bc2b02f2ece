from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.clock import ManualClock
from tests.unit.vaults.token_server import TokenServer, token_server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as serving:
        yield serving
