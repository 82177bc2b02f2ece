"""The head node dies in the middle of a batch, and comes back: Ray's own state is in Redis (docs/batch.md).

Bug class this catches: sessions, rows or a whole job that were only in the head's memory; a platform that does not find
its cluster again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from anthropic import Anthropic

from agents.config import Settings
from tests.chaos.cluster import ray_environment
from tests.cluster.batch_files import BatchFiles
from tests.cluster.jobs import Jobs
from tests.cluster.lasting_head import lasting_head

ROWS = int(os.environ.get("HECATON_TEST_ROWS", "1000"))
_SECONDS = 540.0
_ELSEWHERE = ("--entrypoint-num-cpus=1",)
"""The head has no CPUs, so jobs that need one are on the other node: what runs on the head dies with it."""
PLAN = """
plans:
  - name: row
    each_turn: true
    steps: [{text: "It is {{ prompt | find('row ([0-9]+)') }}."}]
"""


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_batch_bears_the_loss_of_the_head_and_no_row_is_lost_or_doubled(tmp_path: Path) -> None:
    files = BatchFiles.of(tmp_path, PLAN, ROWS)
    environment = ray_environment(Settings(data_dir=tmp_path / "unused", proxy="haproxy"))
    environment |= {"RAY_AUTH_MODE": "disabled"}
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    with lasting_head(environment) as head:
        jobs = Jobs(head.dashboard, environment, _SECONDS)
        jobs.submit("platform", *files.up, wait=False, options=_ELSEWHERE)
        jobs.wait_for("platform", "ready http://")
        tell("the platform is ready")
        batch = [*files.batch, "--url", files.url]
        jobs.submit("batch", *batch, wait=False, options=_ELSEWHERE)
        done = jobs.wait_for("batch", r"([1-9]\d*) of \d+ rows, ").group(1)
        assert int(done) < ROWS
        tell(f"{done} rows are done: the head dies")
        tell(f"{head.kill_head()} processes killed")
        head.start_head()
        tell("the head is up again")
        status = jobs.wait_done("batch")
        tell(f"the batch has {status}; {jobs.said('batch')[-1500:]}")
        if status == "FAILED":
            jobs.submit("batch-again", *batch, wait=False, options=_ELSEWHERE)
            assert jobs.wait_done("batch-again") == "SUCCEEDED", jobs.said("batch-again")
        rows = files.rows()
        client = Anthropic(base_url=files.url, api_key="any")
        made = [each.metadata["batch_row"] for each in client.beta.sessions.list(limit=100)]
        tell(f"{len(rows)} rows, {len(made)} sessions")
    # Before the first text of a replay stands that it is one.
    answers = [(row["outcome"], row["answer"].rpartition("\n")[2]) for row in rows]
    assert answers == [("ok", f"It is {row}.") for row in range(ROWS)]
    assert Counter(made) == {str(row["line"]): 1 for row in rows}, "each row has one session"
