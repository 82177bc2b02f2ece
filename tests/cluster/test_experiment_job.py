"""``ray job submit -- hecaton experiment run`` on a Ray cluster that is already there, as docs/proof.md has it.

Bug class this catches: a run that starts a cluster of its own, one that nobody may submit or that never ends, and parts
of its platforms that stay behind on a cluster that others use too.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.commands.experiment_files import FIGURES, MACHINE, TRACE
from agents.config import Settings
from agents.experiments.figures_of_rounds import FiguresFile
from agents.experiments.trace_rows import read_rows
from tests.chaos.cluster import ray_environment
from tests.chaos.parts import kind_of
from tests.cluster.ray_head import BIN, ROOT, RayHead, ray_head

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
JOB_SECONDS = 180.0
"""A busy machine takes a minute and a half; most of it is the platform's start."""
_PARTS = frozenset({"gateway", "brain", "hand", "harness", "sandbox host", "fleet", "platform process"})
"""What a platform brings to a cluster. Serve's own actors stay: they may be somebody else's too."""
_GONE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that asks for a token, and what one needs to work with it."""

    head: RayHead
    environment: dict[str, str]
    token: str

    def submit(self, *entrypoint: str) -> subprocess.CompletedProcess[str]:
        """Run a job to its end, as its user sees it."""
        where = ["--address", self.head.dashboard, "--submission-id", JOB]
        return subprocess.run(
            [str(BIN / "ray"), "job", "submit", *where, "--", *entrypoint],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=JOB_SECONDS,
            env=self.environment,
            cwd=ROOT,
            check=False,
        )

    def get(self, path: str) -> Any:
        """Ask the dashboard."""
        said = httpx.get(self.head.dashboard + path, headers={"authorization": f"Bearer {self.token}"}, timeout=30)
        return said.raise_for_status().json()

    def parts(self) -> list[str]:
        """Return the parts of platforms that live on it, once there are none or time is up."""
        end = time.monotonic() + _GONE_SECONDS
        while True:
            found = [command for command in self.head.commands() if kind_of(command) in _PARTS]
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.2)


@pytest.mark.timeout(300)
def test_an_experiment_runs_as_a_job_and_leaves_the_cluster_as_it_was(tmp_path: Path) -> None:
    token, token_file = secrets.token_hex(32), tmp_path / "token"
    token_file.write_text(token)
    environment = ray_environment(Settings(data_dir=tmp_path / "unused", proxy="haproxy"))
    ports = [int(value) for name, value in environment.items() if name.startswith("RAY_") and name.endswith("_PORT")]
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}
    plan, out = tmp_path / "plan.yaml", tmp_path / "run"
    plan.write_text(json.dumps(PLAN))
    with ray_head(environment, cpus=16, besides=ports) as head:
        cluster = Cluster(head, environment, token)
        done = cluster.submit(str(BIN / "hecaton"), "experiment", "run", str(plan), "--out", str(out))
        assert done.returncode == 0, done.stdout
        assert cluster.get(f"/api/jobs/{JOB}")["status"] == "SUCCEEDED"
        _check_results(out, head.port)
        serve = cluster.get("/api/serve/applications/")
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
