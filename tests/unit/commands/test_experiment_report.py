"""A run's folder becomes a report (bug class: a summary that says other than the analysis, a folder that is no run)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents.commands.experiment_report import report_experiment, write_page
from agents.commands.failures import CommandFailed
from agents.experiments.trace_rows import TraceWriter, read_rows
from agents.statistics import estimates
from tests.unit.commands.screen import screen
from tests.unit.reports.synthetic import write_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Its intervals are not looked at here, and a bootstrap of thousands takes its time.
    monkeypatch.setattr(estimates, "_RESAMPLES", 20)
    folder = tmp_path / "run"
    write_run(folder)
    (folder / "machine.json").write_text(json.dumps({"cores": 2, "cpu": "Example", "command": ["x", "run", "a b"]}))
    return folder


def test_the_summary_has_the_findings_the_machine_and_the_command_and_the_page_the_rest(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    assert report_experiment(screen(), run, out, pictures=False) == 0
    assert {each.name for each in out.iterdir()} == {
        *("README.md", "analysis.json", "machine.json", "plan.yaml", "report.html")
    }
    said = (out / "README.md").read_text()
    assert "| throughput at the goal | ≥ 3 times |" in said
    assert "## Milestones" in said
    assert "## Statistics" in said and "| latency, p95, s |" in said
    assert "## How far the model is from the run" in said and "| latency p95, s |" in said
    assert "2 cores (Example)" in said and "hecaton run 'a b'" in said
    found = json.loads((out / "analysis.json").read_text())
    assert found["experiment"] == "synthetic" and found["comparisons"]
    assert {each["topology"] for each in found["validation"]} >= {"monolith", "decoupled"}
    assert all(isinstance(figure["relative_error"], float) for figure in found["validation"][0]["figures"])
    assert "Content-Security-Policy" in (out / "report.html").read_text()


def test_a_page_alone_is_the_same_page_where_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    page, out = tmp_path / "deep" / "page.html", tmp_path / "report"
    write_page(screen(), run, page)
    report_experiment(screen(), run, out, pictures=False)
    assert page.read_text() == (out / "report.html").read_text()
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("missing", ["plan.yaml", "trace.parquet"])
def test_a_folder_that_is_no_run_is_said_to_be_none(run: Path, missing: str) -> None:
    (run / missing).unlink()
    with pytest.raises(CommandFailed, match=f"holds no run .* it lacks {missing}"):
        report_experiment(screen(), run, None, pictures=False)
    assert not (run / "report.html").exists()


def test_a_run_that_the_model_cannot_be_learnt_from_is_reported_all_the_same(run: Path, tmp_path: Path) -> None:
    rows = list(read_rows(run / "trace.parquet"))
    with TraceWriter(run / "trace.parquet") as trace:
        trace.add(
            replace(row, outcome="http_529", ended=None) if (row.topology, row.load) == ("monolith", 0.5) else row
            for row in rows
        )
    out = tmp_path / "report"
    report_experiment(screen(), run, out, pictures=False)
    assert "it was not held against this run" in (out / "report.html").read_text()
    assert json.loads((out / "analysis.json").read_text())["validation"] == []
    assert "How far the model is" not in (out / "README.md").read_text()
