"""The trace store: written, merged, bounded, asked (ours)."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import date, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents.cli import app
from agents.commands import traces_app
from agents.telemetry.tracing.settings import TraceSettings
from agents.telemetry.tracing.span_files import SpanFiles
from agents.telemetry.tracing.trace_query import BadQuery, query_spans, session_spans
from agents.telemetry.tracing.waterfall import waterfalls
from tests.unit.telemetry.tracing.making import NOON, SESSION, span, turn

TODAY = NOON.date()


def files_in(folder: Path, **settings: int) -> SpanFiles:
    return SpanFiles(folder, TraceSettings.model_validate(settings), "hecaton-harness", "harness-0")


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("date=*/*.parquet"))


def test_a_span_can_be_asked_for_by_its_columns_and_attributes(tmp_path: Path) -> None:
    files_in(tmp_path)(turn())
    [[tool, error, seconds, when]] = query_spans(
        tmp_path, "SELECT tool, error, duration_ms, start_time FROM spans WHERE operation IS NULL AND tool IS NOT NULL"
    ).rows
    assert (tool, error, seconds, when) == ("bash", "tool_error", 1000.0, NOON + timedelta(seconds=1.2))
    [[tokens, text]] = query_spans(
        tmp_path, "SELECT sum(input_tokens), max(attributes['gen_ai.usage.output_tokens']) FROM spans"
    ).rows
    assert (tokens, text) == (30, "5")
    [[longest]] = query_spans(tmp_path, "SELECT max(end_time - start_time) FROM spans").rows
    assert longest == timedelta(seconds=3.9)


def test_many_small_files_become_one_and_no_span_is_lost_or_counted_twice(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    for number in range(30):
        files([span(number + 1)])
        if len(stored(tmp_path)) == 20:
            # As a process leaves it that dies between the two steps of merging.
            copy = stored(tmp_path)[0]
            copy.with_name("spans_0.parquet").write_bytes(copy.read_bytes())
    files.tidy(TODAY)
    assert len(stored(tmp_path)) < 25
    assert query_spans(tmp_path, "SELECT count(*), count(DISTINCT span_id) FROM spans").rows == [(30, 30)]


def test_what_was_merged_waits_for_its_like(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files([span(number, reason=f"{number * 7919}" * 4) for number in range(9000)])
    [merged] = stored(tmp_path)
    assert 64 * 1024 < merged.stat().st_size < 1024**2
    for number in range(30):
        files([span(10_000 + number)])
    files.tidy(TODAY)
    assert merged in stored(tmp_path) and len(stored(tmp_path)) < 25
    for number in range(1, 25):
        merged.with_name(f"spans_{number}.parquet").write_bytes(merged.read_bytes())
    files.tidy(TODAY)
    assert merged not in stored(tmp_path)
    assert query_spans(tmp_path, "SELECT count(*) FROM spans").rows == [(9030,)]


def test_what_is_too_old_or_too_much_goes_the_oldest_first(tmp_path: Path) -> None:
    files = files_in(tmp_path, keep_days=3)
    for days in (9, 3, 0):
        files([span(days + 1, day=NOON - timedelta(days=days))])
    files.tidy(TODAY)
    assert [folder.name for folder in sorted(tmp_path.glob("date=*"))] == ["date=2026-11-18", "date=2026-11-21"]
    small = files_in(tmp_path, max_bytes=1024**2)
    for file in stored(tmp_path):
        with file.open("ab") as stream:
            os.truncate(stream.fileno(), 900_000)
    small.tidy(TODAY)
    assert [file.parent.name for file in stored(tmp_path)] == ["date=2026-11-21"]


def test_tidying_up_is_left_to_whoever_does_it_already(tmp_path: Path) -> None:
    import fcntl

    files = files_in(tmp_path)
    files([span(1, day=NOON - timedelta(days=99))])
    lock = os.open(tmp_path / ".lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    files.tidy(TODAY)
    assert len(stored(tmp_path)) == 1
    os.close(lock)
    files.tidy(TODAY)
    assert not stored(tmp_path)


def test_an_empty_store_answers_with_no_rows(tmp_path: Path) -> None:
    assert query_spans(tmp_path / "none", "SELECT * FROM spans").rows == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT no_such FROM spans",
        "SELEC",
        "SELECT * FROM read_csv('/etc/passwd', header = false, sep = ':')",
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO '/tmp/hecaton-must-not-be.csv'",
        "SET enable_external_access = true",
    ],
)
def test_a_query_reads_the_store_and_nothing_else(tmp_path: Path, sql: str) -> None:
    files_in(tmp_path)(turn())
    with pytest.raises(BadQuery):
        query_spans(tmp_path, sql)
    assert not Path("/tmp/hecaton-must-not-be.csv").exists()


def test_a_waterfall_has_each_span_below_its_parent_in_the_order_of_their_beginnings(tmp_path: Path) -> None:
    files_in(tmp_path)(turn())
    [trace] = waterfalls(session_spans(tmp_path, SESSION).records())
    assert [(bar.depth, bar.name) for bar in trace.bars] == [
        (0, "invoke_agent"),
        (1, "chat m"),
        (1, "execute_tool bash"),
        (1, "chat m"),
        (2, "think"),
    ]
    assert (trace.errors, trace.duration_ms, trace.bars[2].start_ms) == (1, 3900.0, 1100.0)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["traces", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_prints_tables_json_csv_and_waterfalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces_app, "console", Console(highlight=False, width=160))
    folder = str(tmp_path / "traces")
    files_in(tmp_path / "traces")(turn())
    sql = "SELECT name, count(*) AS spans FROM spans GROUP BY name ORDER BY name"
    assert "execute_tool bash" in run("query", sql, "--data-dir", str(tmp_path))
    rows = json.loads(run("query", sql, "--json", "--directory", folder))
    assert rows[0] == {"name": "chat m", "spans": 2}
    assert list(csv.reader(io.StringIO(run("query", sql, "--csv", "--directory", folder))))[1] == ["chat m", "2"]
    shown = run("show", SESSION, "--directory", folder)
    assert "5 spans, 3.90 s, 1 failed" in shown
    assert "tool_error" in shown and "━" in shown and "10 in, 5 out" in shown
    [trace] = json.loads(run("show", SESSION, "--directory", folder, "--json"))
    assert (trace["duration_ms"], len(trace["bars"])) == (3900.0, 5)


def test_the_command_says_what_it_did_not_find(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["traces", "show", "sesn_2", "--directory", str(tmp_path)])
    assert "has no spans of sesn_2" in str(result.exception)


def test_days_are_those_of_the_spans(tmp_path: Path) -> None:
    files_in(tmp_path)([span(1), span(2, day=NOON - timedelta(days=1))])
    assert [file.parent.name for file in stored(tmp_path)] == [f"date={date(2026, 11, 20)}", f"date={TODAY}"]
