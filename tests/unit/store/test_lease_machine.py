"""Laws 3 and 4 walked by machine: see ``lease_machine`` for the steps, ``lease_model`` for what must come of them.

Bug class this catches: a stale owner whose write lands, a commit that lands twice or halfway, a position used
twice or left out, a wake that is lost between two transactions, an epoch or a generation that starts again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from agents.store.migrate import migrate
from agents.store.sqlite import SqliteDatabase

from .lease_machine import LeaseMachine
from .lease_targets import MemoryTarget, SqlTarget, Target

pytestmark = pytest.mark.timeout(300)

# Derandomised, so that a failure comes back; raise the counts to search on.
BOUNDS = settings(
    max_examples=70,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def walk(target: Target, loop: asyncio.AbstractEventLoop, bounds: settings = BOUNDS) -> None:
    run_state_machine_as_test(lambda: LeaseMachine(target, loop), settings=bounds)


def test_sqlite_keeps_leases_and_logs_whatever_breaks(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        database = SqliteDatabase(tmp_path / "hecaton.db")
        runner.run(migrate(database))
        walk(SqlTarget(database), runner.get_loop())
        runner.run(database.close())


def test_the_memory_twin_keeps_them_too() -> None:
    with asyncio.Runner() as runner:
        walk(MemoryTarget(), runner.get_loop(), settings(BOUNDS, max_examples=25))
