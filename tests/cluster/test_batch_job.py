"""``ray job submit -- hecaton up`` and ``-- hecaton batch`` on a Ray cluster that is already there (docs/batch.md).

Bug class this catches: a platform that starts a cluster of its own or stays behind when its job is stopped, a batch
that does not find the platform of its cluster, and results that do not say what the sessions said.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.batch_files import BatchFiles
from tests.cluster.job_cluster import job_cluster

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
    files = BatchFiles.of(tmp_path, PLAN, ROWS)
    with job_cluster(tmp_path) as cluster:
        jobs = cluster.jobs
        jobs.submit("platform", *files.up, wait=False)
        jobs.wait_for("platform", "ready http://")
        # Where no platform was ever up: it is found through the cluster.
        printed = jobs.submit("batch", *files.batch, "--json", f"--data-dir={tmp_path / 'elsewhere'}")
        assert f"{ROWS} of {ROWS} rows" in printed
        assert jobs.status("batch") == "SUCCEEDED"
        jobs.stop("platform")
        assert jobs.status("platform") == "STOPPED"
        assert cluster.parts() == []
    rows = files.rows()
    assert [(row["outcome"], row["answer"]) for row in rows] == [("ok", f"It is {row}.") for row in range(ROWS)]
    assert len({row["session"] for row in rows}) == ROWS
    assert all(row["cost_usd"] > 0 and row["tool_calls"] == 1 for row in rows)
