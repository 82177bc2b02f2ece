"""``ray job submit -- hecaton experiment run`` on a Ray cluster that is already there, as docs/proof.md has it.

Bug class this catches: a run that starts a cluster of its own, one that nobody may submit or that never ends, and parts
of its platforms that stay behind on a cluster that others use too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.commands.experiment_files import FIGURES, MACHINE, TRACE
from agents.experiments.figures_of_rounds import FiguresFile
from agents.experiments.trace_rows import read_rows
from tests.cluster.job_cluster import job_cluster
from tests.cluster.ray_head import BIN

JOB = "experiment"
GOAL = {"seconds": 10, "first_seconds": 5}
PLAN: dict[str, Any] = {
    "name": "job",
    "baseline": "decoupled",
    "topologies": [{"name": "decoupled"}],
    "workloads": {"recommendation": GOAL, "extraction": GOAL},
    "arrivals": [{"kind": "closed", "load": [2]}],
    "rounds": 1,
    "seconds": 3,
    "warm_up_seconds": 0.5,
    "patience_seconds": 30,
    "brain": {"prefill_tokens_per_second": 40000, "step_seconds": 0.001},
    "hands": {"median_seconds": 0.05},
}


@pytest.mark.timeout(300)
def test_an_experiment_runs_as_a_job_and_leaves_the_cluster_as_it_was(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.yaml", tmp_path / "run"
    plan.write_text(json.dumps(PLAN))
    with job_cluster(tmp_path) as cluster:
        cluster.jobs.submit(JOB, str(BIN / "hecaton"), "experiment", "run", str(plan), "--out", str(out))
        assert cluster.jobs.status(JOB) == "SUCCEEDED"
        _check_results(out, cluster.head.port)
        serve = cluster.jobs.get("/api/serve/applications/")
        assert serve["controller_info"].get("actor_id"), (
            "Serve is up, so what it says of applications is of this cluster's"
        )
        assert serve["applications"] == {}
        assert cluster.parts() == []


def _check_results(run: Path, port: int) -> None:
    assert json.loads((run / MACHINE).read_text())["joined_cluster"].endswith(f":{port}")
    rows = list(read_rows(run / TRACE))
    sessions = [row for row in rows if row.kind == "session"]
    assert {row.workload for row in sessions} == set(PLAN["workloads"])
    assert {row.outcome for row in sessions} == {"ok"}
    for kind in ("inference", "tool_call"):
        parts = [row for row in rows if row.kind == kind]
        assert {row.session for row in parts} == {row.session for row in sessions}, f"each session has one: {kind}"
        assert {row.outcome for row in parts} == {"ok"}
    (figures,) = FiguresFile(run / FIGURES).read()
    assert (figures.topology, figures.arrivals, figures.load) == ("decoupled", "closed", 2)
    assert figures.gpu_busy_seconds, "the brain has told how long it worked"
