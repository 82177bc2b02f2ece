"""Several processes of one platform, on one database: of those who want a token renewed, one asks (ADR 0027)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from store_records import Reopen

from tests.unit.vaults.stage import MCP, Stage, bearer, fresh_key, stage
from tests.unit.vaults.token_server import TokenServer, token_server


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as serving:
        yield serving


@pytest.fixture
async def processes(reopen: Reopen) -> list[Stage]:
    """Three processes: they share a database and the master key."""
    keys = fresh_key()
    return [stage(await reopen(), keys=keys) for _ in range(3)]


async def test_of_many_who_find_it_expired_one_spends_the_refresh_token(
    processes: list[Stage], tokens: TokenServer
) -> None:
    vault = await processes[0].vault()
    await processes[0].oauth(vault, tokens.url)
    tokens.gate.clear()
    asking = [asyncio.create_task(each.credentials.for_server([vault], MCP)) for each in processes for _ in range(4)]
    await asyncio.to_thread(tokens.entered.wait, 10)
    tokens.gate.set()
    assert {bearer(found) for found in await asyncio.gather(*asking)} == {"Bearer access-1"}
    assert len(tokens.asked) == 1


async def test_of_many_whose_renewal_is_refused_one_has_asked(processes: list[Stage], tokens: TokenServer) -> None:
    vault = await processes[0].vault()
    await processes[0].oauth(vault, tokens.url, refresh={"refresh_token": "spent"})
    asking = [each.credentials.for_server([vault], MCP) for each in processes for _ in range(4)]
    assert set(await asyncio.gather(*asking)) == {None}
    assert len(tokens.asked) == 1
