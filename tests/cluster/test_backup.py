"""A backup of a platform on Ray, made while several of its processes use the database, goes on elsewhere (ours)."""

from __future__ import annotations

from tests.asks.stage import restartable_with, scene_at
from tests.cluster.instance import Instance
from tests.conformance.scene import Scene
from tests.open_directory import open_directory
from tests.operations.sessions_at_work import SessionsAtWork, hecaton
from tests.stub_model import StubControl


async def test_sessions_of_a_platform_on_ray_go_on_from_its_backup(
    instance: Instance, scene: Scene, stub: StubControl
) -> None:
    """The platform stays up, so nothing of it can have helped: the copy has files and a database of its own."""
    sessions = SessionsAtWork(scene)
    await sessions.begin()
    with open_directory("hecaton-restored-") as elsewhere:
        said = await hecaton("backup", "--data-dir", instance.data_dir, "--out", elsewhere / "backup.tar")
        assert "warning" not in said
        await sessions.go_on_where_they_were()
        await hecaton("restore", "--from", elsewhere / "backup.tar", "--data-dir", elsewhere / "data")
        await sessions.prepare()
        with restartable_with(elsewhere / "data", stub, 0) as restored:
            async with scene_at(restored.live) as there:
                await sessions.go_on(there)
    await sessions.end()
