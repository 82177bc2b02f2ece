from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.batch.journal import Journal
from tests.unit.batch.stage import Stage


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(
        tmp_path / "tasks.jsonl", [{"id": f"t{number}", "prompt": f"say {number}"} for number in range(6)]
    )


@pytest.fixture
def journal(tmp_path: Path, tasks: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "results.parquet.journal") as made:
        made.fill(tasks, {"batch": "batch_1", "tasks": str(tasks)})
        yield made


@pytest.fixture
def stage(journal: Journal, tasks: Path) -> Stage:
    return Stage(journal, tasks)


def write_tasks(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return file
