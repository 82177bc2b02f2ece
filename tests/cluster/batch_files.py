"""What a batch on a platform of its own is begun with: settings with a replay brain, its plan, and the tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from agents.ports import free_port
from tests.cluster.ray_head import BIN

_HECATON = str(BIN / "hecaton")


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """The files, and the commands that take them."""

    folder: Path
    port: int

    @classmethod
    def of(cls, folder: Path, plan: str, rows: int) -> BatchFiles:
        """Write them: *plan* answers tasks of which each is ``row N``."""
        made = cls(folder, free_port())
        (folder / "plan.yaml").write_text(plan)
        brain = {"engine": "replay", "replay_plan": str(folder / "plan.yaml"), "replay_pace": 0}
        made._config.write_text(json.dumps({"data_dir": str(folder / "data"), "port": made.port, "brain": brain}))
        tasks = [{"id": f"r{row}", "prompt": f"row {row}"} for row in range(rows)]
        made._tasks.write_text("".join(json.dumps(task) + "\n" for task in tasks))
        return made

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def up(self) -> list[str]:
        """The command that brings the platform up."""
        return [_HECATON, "up", "--config", str(self._config)]

    @property
    def batch(self) -> list[str]:
        """The command that runs the batch."""
        return [_HECATON, "batch", str(self._tasks), "--out", str(self._results)]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the results."""
        return pq.read_table(self._results).to_pylist()

    @property
    def _config(self) -> Path:
        return self.folder / "hecaton.yaml"

    @property
    def _tasks(self) -> Path:
        return self.folder / "tasks.jsonl"

    @property
    def _results(self) -> Path:
        return self.folder / "results.parquet"
