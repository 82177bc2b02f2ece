from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.web.sites import Sites, serving


@pytest.fixture
async def sites() -> AsyncIterator[Sites]:
    async with serving() as found:
        yield found
