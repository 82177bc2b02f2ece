"""The walk of ``tests/unit/store/test_lease_machine.py`` on PostgreSQL, where transactions really run side by side."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings

from agents.store.postgres import PostgresDatabase
from tests.unit.store.lease_targets import SqlTarget
from tests.unit.store.test_lease_machine import BOUNDS, walk

pytestmark = pytest.mark.timeout(300)


def test_postgresql_keeps_leases_and_logs_whatever_breaks(postgres_database: str) -> None:
    with asyncio.Runner() as runner:
        database = PostgresDatabase(postgres_database)
        walk(SqlTarget(database), runner.get_loop(), settings(BOUNDS, max_examples=8))
        runner.run(database.close())
