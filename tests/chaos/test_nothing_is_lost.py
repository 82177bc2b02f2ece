"""The small course of the chaos runner, as a user starts it: several raylets, PostgreSQL, some 25 deaths.

Bug class this catches: everything that only shows when a part dies at a moment that nobody chose. What must
hold afterwards is in ``log_checks``, ``effect_checks``, ``memory`` and ``remains``; ``make chaos`` is the long course.
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
    seen = tmp_path / "seen.json"
    command = [sys.executable, "-m", "tests.chaos", "--small", "--store", "postgresql", "--json", str(seen)]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    [result] = json.loads(seen.read_text())
    assert result["violations"] == []
    # A course in which nothing happened would prove nothing.
    carried_out = {action["kind"] for action in result["run"]["actions"] if not action["skipped"]}
    assert len(carried_out) >= 15, carried_out
    assert len(result["run"]["effects"]) > 150
