"""What an operator expects of a backup that was made while agents work: on an empty machine every session goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asks.stage import RestartableServer, restartable_with
from tests.conformance.scene import Scene
from tests.open_directory import open_directory
from tests.operations.sessions_at_work import SessionsAtWork, hecaton


@pytest.fixture
def elsewhere(server: RestartableServer) -> Iterator[Path]:
    """Another machine's disk: nothing of the first data directory is there."""
    with open_directory("hecaton-asks-") as base:
        yield base


async def test_sessions_at_work_go_on_from_a_backup_on_an_empty_machine(
    server: RestartableServer, scene: Scene, data_dir: Path, elsewhere: Path
) -> None:
    """The first server works on, and ends, before the second starts on another disk with nothing but the backup."""
    sessions = SessionsAtWork(scene)
    await sessions.begin()
    said = await hecaton("backup", "--data-dir", data_dir, "--out", elsewhere / "backup.tar.gz")
    assert "3 sessions" in said and "warning" not in said
    await sessions.go_on_where_they_were()
    await server.end()

    await hecaton("restore", "--from", elsewhere / "backup.tar.gz", "--data-dir", elsewhere / "data")
    await sessions.prepare()
    with restartable_with(elsewhere / "data", server.stub, server.port):
        await sessions.go_on(scene)
