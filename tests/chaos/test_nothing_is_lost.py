"""The small course of the chaos runner, as a user starts it: several raylets, PostgreSQL, every kind of death.

Bug class this catches: everything that only shows when a part dies at a moment that nobody chose. What must
hold afterwards is in ``checks``, ``memory`` and ``remains``; ``make chaos`` is the long course.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SECONDS = 540
"""On a busy machine; an idle one takes three minutes."""


@pytest.mark.timeout(_SECONDS + 60)
def test_parts_die_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    seen, said = tmp_path / "seen.json", tmp_path / "said.txt"
    command = [sys.executable, "-m", "tests.chaos", "--small", "--store", "postgresql", "--json", str(seen)]
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            status = process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()  # it takes everything down with it
            status = process.wait(50)
    assert status == 0, said.read_text()[-8000:]
    [result] = json.loads(seen.read_text())
    assert result["violations"] == []
    # A course in which nothing happened would prove nothing.
    carried_out = {action["kind"] for action in result["run"]["actions"] if not action["skipped"]}
    assert len(carried_out) >= 15, carried_out
    run = result["run"]
    assert len(run["effects"]) > 150 and len(run["posts"]) > 100
    for left in ("outputs", "memories", "threads", "evaluations"):
        assert sum(bool(visit[left]) for visit in run["visits"]) >= 3, left
    assert len(run["fires"]) >= 3
