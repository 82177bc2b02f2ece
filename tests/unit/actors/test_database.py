"""Which database a cluster may use: SQLite is a file of one machine; its partitions are fixed, and so are brains."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from actors.database import check_brains, check_cluster, open_platform_store
from agents.brains.immutable import substance
from agents.brains.registry import registry_of
from agents.config import InvalidSettings, Settings
from agents.errors import InvalidRequest

HERE = socket.gethostname()


def node(machine: str, *, alive: bool = True) -> dict[str, object]:
    return {"NodeManagerHostname": machine, "Alive": alive}


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    found = [node(HERE)]
    monkeypatch.setattr("actors.database.ray.nodes", lambda: found)
    return found


def settings(data_dir: Path, **more: object) -> Settings:
    return Settings.model_validate({"data_dir": data_dir, "host": "0.0.0.0", **more})


def test_sqlite_on_several_machines_is_refused_and_the_message_says_what_to_set(
    nodes: list[dict[str, object]], tmp_path: Path
) -> None:
    check_cluster(settings(tmp_path))
    nodes.append(node("elsewhere", alive=False))
    nodes.append(node(HERE))
    check_cluster(settings(tmp_path))
    nodes.append(node("elsewhere"))
    with pytest.raises(InvalidRequest, match=r"database_url.*elsewhere"):
        check_cluster(settings(tmp_path))
    check_cluster(settings(tmp_path, database_url="postgresql+asyncpg://u@h/d"))


def test_parts_that_could_not_reach_each_other_are_refused(nodes: list[dict[str, object]], tmp_path: Path) -> None:
    local = settings(tmp_path, host="127.0.0.1", database_url="postgresql+asyncpg://u@h/d")
    check_cluster(local)
    nodes.append(node("elsewhere"))
    with pytest.raises(InvalidRequest, match=r"^host: "):
        check_cluster(local)


async def test_a_process_on_another_machine_opens_no_file_of_its_own(
    nodes: list[dict[str, object]], tmp_path: Path
) -> None:
    nodes.append(node("elsewhere"))
    with pytest.raises(InvalidRequest, match="database_url"):
        await open_platform_store(settings(tmp_path))
    assert not (tmp_path / "hecaton.db").exists()


async def test_a_machine_that_joins_later_keeps_nobody_from_opening_it_where_it_was_made(
    nodes: list[dict[str, object]], tmp_path: Path
) -> None:
    await (await open_platform_store(settings(tmp_path))).close()
    nodes.append(node("elsewhere"))
    await (await open_platform_store(settings(tmp_path))).close()
    (tmp_path / "run" / "machine").write_text("elsewhere")
    with pytest.raises(InvalidRequest, match="database_url"):
        await open_platform_store(settings(tmp_path))


async def test_a_data_directory_that_moved_to_another_machine_opens_there(
    nodes: list[dict[str, object]], tmp_path: Path
) -> None:
    await (await open_platform_store(settings(tmp_path))).close()
    (tmp_path / "run" / "machine").write_text("its old machine")
    await (await open_platform_store(settings(tmp_path))).close()
    nodes.append(node("elsewhere"))
    await (await open_platform_store(settings(tmp_path))).close()


@pytest.mark.parametrize("count", [32, 128])
async def test_another_number_of_partitions_than_the_database_was_made_with_is_refused(
    nodes: list[dict[str, object]], tmp_path: Path, count: int
) -> None:
    await (await open_platform_store(settings(tmp_path))).close()
    with pytest.raises(InvalidRequest, match=r"harness\.partitions.*64"):
        await open_platform_store(settings(tmp_path, harness={"partitions": count}))


@pytest.mark.usefixtures("nodes")
def test_a_version_that_has_answered_stays_what_it_is_after_a_restart(tmp_path: Path) -> None:
    def declared(model: str, **more: object) -> Settings:
        return settings(tmp_path, brains={"qwen": {"engine": "claude", "model": model, **more}})

    async def answer(brain: str) -> None:
        store = await open_platform_store(declared("a"))
        definition = registry_of(declared("a")).find(brain).definition
        await store.releases.settle({brain: substance(definition)})
        await store.close()

    check_brains(declared("b"))
    asyncio.run(answer("qwen@1"))
    check_brains(declared("a"))
    check_brains(declared("b", version="2"))
    with pytest.raises(InvalidSettings, match=r"brains.qwen: version '1' has answered with model 'a'"):
        check_brains(declared("b"))
    check_brains(settings(tmp_path))
