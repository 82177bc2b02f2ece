"""The journal: every row in one state whatever moment its process dies at, and one process at a time (ours).

Bug class this catches: a row that was acknowledged and is lost, a row that is there twice, two batches on one file.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.batch.journal import Journal, JournalUnusable, began, bound, failed, finished
from agents.batch.row import Attempt, OpenRow, Spent
from tests.unit.batch.conftest import write_tasks

OK = Attempt("ok", "end_turn", answer="yes", spent=Spent(input_tokens=5, cost_micro_usd=7))
_WRITER = """
import sys
from pathlib import Path
from agents.batch.journal import Journal, began, bound, finished
from agents.batch.row import Attempt
with Journal(Path(sys.argv[1])) as journal:
    while rows := journal.open_rows():
        for row in rows:
            journal.commit([began(row.line, 1, 1.0)])
            journal.commit([bound(row.line, f"sesn_{row.line}")])
            journal.commit([finished(row.line, Attempt("ok", answer="x" * 5000), 2.0)])
            print(row.line, flush=True)
"""


def outcomes(journal: Journal) -> dict[int, str | None]:
    return {row["line"]: row["outcome"] for page in journal.rows() for row in page}


def test_lines_that_are_no_tasks_are_done_and_say_why(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": "1"}, "{\n", {"prompt": "3"}, {"id": "a", "prompt": "4"}, {"id": "3", "prompt": "5"}]
    with Journal(tmp_path / "j") as journal:
        journal.fill(write_tasks(tmp_path / "tasks", rows), {"batch": "b"})
        assert outcomes(journal) == {1: None, 2: "invalid", 3: None, 4: "invalid", 5: "invalid"}
        said = journal.invalid(10)
        assert said[0].startswith("line 2: is not JSON")
        assert said[1:] == ["line 4: id: 'a' is that of line 1 already", "line 5: id: '3' is that of line 3 already"]
        assert [row.line for row in journal.open_rows()] == [1, 3]
        assert journal.meta()["without_agent"] == "2"


def test_a_row_goes_from_begun_to_bound_to_done(journal: Journal) -> None:
    journal.commit([began(1, 1, 50.0)])
    first = journal.open_rows()[0]
    assert (first.attempt, first.session, first.attempt_began) == (1, None, 50.0)
    journal.commit([bound(1, "sesn_1")])
    assert journal.open_rows()[0] == OpenRow(1, first.offset, first.length, 1, "sesn_1", 50.0)
    journal.commit([finished(1, OK, 60.0)])
    assert [row.line for row in journal.open_rows()] == [2, 3, 4, 5, 6]


def test_what_a_failed_session_used_counts_and_the_next_one_is_another_attempt(journal: Journal) -> None:
    journal.commit([began(1, 1, 50.0), bound(1, "sesn_1"), failed(1, OK)])
    [row, *_] = journal.open_rows()
    assert (row.attempt, row.session, row.attempt_began) == (2, None, None)
    journal.commit([began(1, 2, 55.0), bound(1, "sesn_2"), finished(1, OK, 60.0)])
    [done] = journal.query("SELECT * FROM rows WHERE line = 1")
    assert (done["attempts"], done["session"], done["input_tokens"], done["cost_micro_usd"]) == (2, "sesn_2", 10, 14)
    assert (done["began"], done["attempt_began"], done["ended"]) == (50.0, 55.0, 60.0)


def test_a_row_ends_once(journal: Journal) -> None:
    journal.commit([finished(1, OK, 60.0)])
    journal.commit([finished(1, OK, 70.0), failed(1, OK)])
    [row] = journal.query("SELECT * FROM rows WHERE line = 1")
    assert (row["ended"], row["cost_micro_usd"]) == (60.0, 7)


def test_rows_in_error_can_be_opened_again_with_new_sessions(journal: Journal) -> None:
    journal.commit([began(1, 1, 50.0), bound(1, "sesn_1"), finished(1, Attempt("error"), 60.0), finished(2, OK, 60.0)])
    assert journal.reopen_errors() == 1
    row = journal.open_rows()[0]
    assert (row.line, row.attempt, row.session, row.attempt_began) == (1, 2, None, None)


def test_filling_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "j"
    with Journal(file) as journal, pytest.raises(OSError, match="No such file"):
        journal.fill(tmp_path / "missing", {"batch": "b"})
    with Journal(file) as journal:
        assert not journal.filled


def test_a_journal_is_one_processs_at_a_time(journal: Journal) -> None:
    with pytest.raises(JournalUnusable, match="another batch is writing"):
        Journal(journal.file)


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "j"
    file.write_text("something else entirely, and not short at all\n" * 40)
    with pytest.raises(JournalUnusable, match="is not the journal of a batch"):
        Journal(file)


@pytest.mark.parametrize("after", [1, 60, 150])
def test_what_was_acknowledged_before_a_kill_is_there_once(tmp_path: Path, after: int) -> None:
    rows, file = 200, tmp_path / "j"
    with Journal(file) as journal:
        journal.fill(write_tasks(tmp_path / "tasks", [{"prompt": "go"}] * rows), {"batch": "b"})
    command = [sys.executable, "-c", _WRITER, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(after)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout]
    assert writer.returncode == -signal.SIGKILL
    with Journal(file) as journal:
        found = outcomes(journal)
        assert len(found) == rows
        done = [line for line, outcome in found.items() if outcome == "ok"]
        assert done[: len(acknowledged)] == acknowledged
        assert len(done) <= len(acknowledged) + 1, "one may have been committed and not told any more"
    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert [int(line) for line in again] == [line for line, outcome in found.items() if outcome is None]
