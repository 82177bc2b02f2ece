"""``ray job submit -- hecaton up`` and ``-- hecaton batch`` on a Ray cluster that is already there (docs/batch.md).

Bug class this catches: a platform that starts a cluster of its own or stays behind when its job is stopped, a batch
that does not find the platform of its cluster, and results that do not say what the sessions said.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agents.ports import free_port
from tests.cluster.job_cluster import job_cluster
from tests.cluster.ray_head import BIN

ROWS = 40
PLAN = """
plans:
  - name: row
    each_turn: true
    steps:
      - text: I look.
        tools: [{name: bash, input: {command: "echo {{ prompt | find('row ([0-9]+)') }}"}}]
      - text: "It is {{ last | trim }}."
"""


@pytest.mark.timeout(400)
def test_the_platform_and_a_batch_on_it_are_jobs_of_one_cluster(tmp_path: Path) -> None:
    plan, config, tasks = tmp_path / "plan.yaml", tmp_path / "hecaton.yaml", tmp_path / "tasks.jsonl"
    plan.write_text(PLAN)
    brain = {"engine": "replay", "replay_plan": str(plan), "replay_pace": 0}
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "port": free_port(), "brain": brain}))
    tasks.write_text("".join(json.dumps({"id": f"r{row}", "prompt": f"row {row}"}) + "\n" for row in range(ROWS)))
    out, hecaton = tmp_path / "results.parquet", str(BIN / "hecaton")
    # Where no platform was ever up: it is found through the cluster.
    batch = [hecaton, "batch", str(tasks), "--out", str(out), "--json", f"--data-dir={tmp_path / 'elsewhere'}"]
    with job_cluster(tmp_path) as cluster:
        cluster.submit("platform", hecaton, "up", "--config", str(config), wait=False)
        cluster.wait_for("platform", "ready http://")
        done = cluster.submit("batch", *batch)
        assert done.returncode == 0, done.stdout
        assert f"{ROWS} of {ROWS} rows" in done.stdout
        assert cluster.status("batch") == "SUCCEEDED"
        assert cluster.stop("platform").returncode == 0
        assert cluster.status("platform") == "STOPPED"
        assert cluster.parts() == []
    rows = pq.read_table(out).to_pylist()
    assert [(row["outcome"], row["answer"]) for row in rows] == [("ok", f"It is {row}.") for row in range(ROWS)]
    assert len({row["session"] for row in rows}) == ROWS
    assert all(row["cost_usd"] > 0 and row["tool_calls"] == 1 for row in rows)
