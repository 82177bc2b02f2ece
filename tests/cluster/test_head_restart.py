"""The head node dies in the middle of a batch, and comes back: Ray's own state is in Redis (docs/batch.md).

Bug class this catches: sessions, rows or a whole job that were only in the head's memory; a platform that does not find
its cluster again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from anthropic import Anthropic

from agents.config import Settings
from agents.ports import free_port
from tests.chaos.cluster import ray_environment
from tests.cluster.lasting_head import LastingHead, lasting_head
from tests.cluster.ray_head import BIN, ROOT

ROWS = int(os.environ.get("HECATON_TEST_ROWS", "1000"))
_SECONDS = 540.0
PLAN = """
plans:
  - name: row
    each_turn: true
    steps: [{text: "It is {{ prompt | find('row ([0-9]+)') }}."}]
"""


class Jobs:
    """Jobs of a cluster whose dashboard may be away."""

    def __init__(self, head: LastingHead, environment: dict[str, str]) -> None:
        self._head = head
        self._environment = environment

    def submit(self, job: str, *entrypoint: str) -> None:
        """On the other node: what runs on the head dies with it."""
        where = ["--address", self._head.dashboard, "--submission-id", job, "--no-wait", "--entrypoint-num-cpus=1"]
        command = [str(BIN / "ray"), "job", "submit", *where, "--", *entrypoint]
        done = subprocess.run(command, env=self._environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def get(self, path: str) -> Any:
        try:
            return httpx.get(f"{self._head.dashboard}/api/jobs/{path}", timeout=10).raise_for_status().json()
        except httpx.HTTPError:
            return {}

    def wait_for(self, job: str, words: str) -> re.Match[str]:
        """Wait until the job has said something."""
        end = time.monotonic() + _SECONDS
        while not (found := re.search(words, self.said(job))):
            assert time.monotonic() < end and self.get(job).get("status") != "FAILED", self.said(job)[-3000:]
            time.sleep(0.5)
        return found

    def wait_done(self, job: str) -> str:
        end = time.monotonic() + _SECONDS
        while (status := self.get(job).get("status")) not in ("SUCCEEDED", "FAILED", "STOPPED"):
            assert time.monotonic() < end, self.said(job)[-3000:]
            time.sleep(0.5)
        return status

    def said(self, job: str) -> str:
        return str(self.get(f"{job}/logs").get("logs", ""))


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_batch_bears_the_loss_of_the_head_and_no_row_is_lost_or_doubled(tmp_path: Path) -> None:
    plan, config, tasks = tmp_path / "plan.yaml", tmp_path / "hecaton.yaml", tmp_path / "tasks.jsonl"
    plan.write_text(PLAN)
    port, out, hecaton = free_port(), tmp_path / "results.parquet", str(BIN / "hecaton")
    brain = {"engine": "replay", "replay_plan": str(plan), "replay_pace": 0}
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "port": port, "brain": brain}))
    tasks.write_text("".join(json.dumps({"id": f"r{row}", "prompt": f"row {row}"}) + "\n" for row in range(ROWS)))
    environment = ray_environment(Settings(data_dir=tmp_path / "unused", proxy="haproxy"))
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_JOB_STOP_WAIT_TIME_S": "60"}
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    with lasting_head(environment) as head:
        jobs = Jobs(head, environment)
        jobs.submit("platform", hecaton, "up", "--config", str(config))
        jobs.wait_for("platform", "ready http://")
        tell("the platform is ready")
        batch = [hecaton, "batch", str(tasks), "--out", str(out), "--url", f"http://127.0.0.1:{port}"]
        jobs.submit("batch", *batch)
        done = jobs.wait_for("batch", r"([1-9]\d*) of \d+ rows, ").group(1)
        assert int(done) < ROWS
        tell(f"{done} rows are done: the head dies")
        tell(f"{head.kill_head()} processes killed")
        head.start_head()
        tell("the head is up again")
        status = jobs.wait_done("batch")
        tell(f"the batch has {status}; {jobs.said('batch')[-1500:]}")
        if status == "FAILED":
            jobs.submit("batch-again", *batch)
            assert jobs.wait_done("batch-again") == "SUCCEEDED", jobs.said("batch-again")
        rows = pq.read_table(out).to_pylist()
        client = Anthropic(base_url=f"http://127.0.0.1:{port}", api_key="any")
        made = [each.metadata["batch_row"] for each in client.beta.sessions.list(limit=100)]
        tell(f"{len(rows)} rows, {len(made)} sessions")
    # Before the first text of a replay stands that it is one.
    answers = [(row["outcome"], row["answer"].rpartition("\n")[2]) for row in rows]
    assert answers == [("ok", f"It is {row}.") for row in range(ROWS)]
    assert Counter(made) == {str(row["line"]): 1 for row in rows}, "each row has one session"
