"""What a run says of greater loads (bug class: a table that leaves out the model's error, JSON that is none)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.commands.experiment_capacity import show_capacity
from agents.commands.failures import CommandFailed
from agents.experiments.model import capacity
from tests.unit.commands.screen import said, screen
from tests.unit.reports.synthetic import write_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(capacity, "_LEAST_SESSIONS", 200)
    write_run(tmp_path)
    return tmp_path


def shown(run: Path, *loads: float, as_json: bool = False) -> str:
    out = screen(200)
    show_capacity(out, run, loads, as_json=as_json)
    return said(out)


def test_tables_have_the_models_error_and_the_gpus_of_each_load(run: Path) -> None:
    said = shown(run, 3)
    assert "1.5 " in said and "0.5 *" in said
    assert "latency_p95_seconds" in said and "Kolmogorov-Smirnov" in said
    assert said.count("%") > 30
    [row] = [line for line in said.splitlines() if "monolith" in line and " 3 " in line and "." not in line.split()[3]][
        :1
    ]
    assert "Fewest GPUs" in said and row


def test_json_has_the_calibration_the_validation_and_the_capacity(run: Path) -> None:
    found = json.loads(shown(run, 3, as_json=True))
    assert set(found["calibration"]) == {"monolith", "decoupled", "serial-hands"}
    assert {each["load"] for each in found["validation"]} == {0.5, 1.5}
    assert all(each["figures"][0]["relative_error"] is not None for each in found["validation"])
    needs = {each["topology"]: each["need"] for each in found["capacity"]}
    assert 1 <= needs["decoupled"]["gpus"] <= needs["monolith"]["gpus"]


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"it lacks plan.yaml, trace.parquet"):
        shown(tmp_path)


@pytest.mark.parametrize("broken", ["trace.parquet", "machine.json"])
def test_a_file_that_is_not_whole_is_said_to_be_so(run: Path, broken: str) -> None:
    (run / broken).write_bytes(b"{PAR")
    with pytest.raises(CommandFailed, match=str(run)):
        shown(run)
