from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from agents.experiments.tasks.company import COMPANY
from agents.experiments.tasks.file_format import read_tasks
from agents.experiments.tasks.replays import PreparedTask, prepare

TASK_FILES = sorted((Path(__file__).parents[3] / "benchmarks" / "tasks").glob("*.json"))


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shipped tasks' databases are: ``direct/NUMBER`` is what the direct run has left of each."""
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="package")
def shipped(root: Path) -> Mapping[str, PreparedTask]:
    """All shipped tasks, applied directly, in the order of their numbers."""
    tasks = [task for file in TASK_FILES for task in read_tasks(file)]
    prepared = asyncio.run(prepare(COMPANY, tasks, root / "shipped"))
    return {each.task.id: each for each in prepared}
