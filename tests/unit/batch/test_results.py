"""The results file and the summary: all rows by line, exact money, and never half a file (ours)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agents.batch import results
from agents.batch.batch_summary import summary_of
from agents.batch.journal import Journal, began, bound, finished
from agents.batch.results import SCHEMA, write_results
from agents.batch.row import Attempt, Spent
from tests.unit.batch.conftest import write_tasks


@pytest.fixture
def done(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "j")
    rows = [{"id": "a", "prompt": "1"}, {"id": "b", "prompt": "2"}, "nonsense\n"]
    journal.fill(write_tasks(tmp_path / "tasks", rows), {"batch": "batch_1", "tasks": "tasks"})
    fine = Attempt("ok", "end_turn", answer="yes", spent=Spent(input_tokens=5, cost_micro_usd=1_234_567))
    bad = Attempt("error", "retries_exhausted", "model_overloaded_error", "busy", spent=Spent(cost_micro_usd=3))
    for line, attempt in ((2, fine), (1, bad)):
        journal.commit([began(line, 1, 100.0), bound(line, f"sesn_{line}"), finished(line, attempt, 102.5)])
    return journal


def test_the_file_has_every_row_by_line(done: Journal, tmp_path: Path) -> None:
    write_results(done, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.remove_metadata() == SCHEMA
    assert table.schema.metadata[b"hecaton.batch"] == b"batch_1"
    first, second, third = table.to_pylist()
    assert [row["line"] for row in (first, second, third)] == [1, 2, 3]
    assert (second["id"], second["outcome"], second["answer"], second["session"]) == ("b", "ok", "yes", "sesn_2")
    assert (second["cost_usd"], second["duration_seconds"]) == (Decimal("1.234567"), 2.5)
    assert (first["outcome"], first["error_type"], first["answer"]) == ("error", "model_overloaded_error", None)
    assert (third["outcome"], third["session"], third["attempts"]) == ("invalid", None, 0)


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(
    done: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    write_results(done, out)
    before = out.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(results.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_results(done, out)
    assert out.read_bytes() == before
    assert list(tmp_path.glob(".out*")) == []


def test_the_summary_adds_up(done: Journal) -> None:
    summary = summary_of(done)
    assert (summary.rows, summary.done, summary.ok, summary.errors, summary.invalid) == (3, 3, 1, 1, 1)
    assert (summary.sessions, summary.input_tokens, summary.cost_usd) == (2, 5, Decimal("1.23457"))
    assert summary.duration_seconds == {"p50": 2.5, "p95": 2.5, "max": 2.5}
    assert {(kind.error_type, kind.rows, kind.first_line) for kind in summary.error_kinds} == {
        ("invalid_task", 1, 3),
        ("model_overloaded_error", 1, 1),
    }
    assert summary.wire()["cost_usd"] == "1.23457"
