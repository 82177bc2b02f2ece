"""``hecaton experiment tasks``: what it refuses before a platform is started, and what it shows of a report (ours)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.commands.experiment_tasks import run_tasks, show_report
from agents.errors import InvalidRequest
from agents.experiments.tasks.file_format import parse_tasks
from agents.experiments.tasks.replays import Answer, PreparedTask
from agents.experiments.tasks.runner import Episode, TaskReport
from agents.experiments.tasks.verdict import Check
from tests.unit.commands.screen import rows

WIRE = {
    "id": "t1",
    "user_scenario": {"instructions": "Go."},
    "evaluation_criteria": {"actions": [{"action_id": "a", "name": "balance", "arguments": {}}]},
}


@pytest.mark.parametrize(
    ("only", "domain", "fault"),
    [
        (["t2"], "agents.experiments.tasks.company:COMPANY", "none of the tasks can be replayed; t2: it begins in the"),
        (["t9"], "agents.experiments.tasks.company:COMPANY", "--task t9: there is no such task in the file"),
        (
            [],
            "agents.experiments.tasks.company:SHOP",
            "--domain agents.experiments.tasks.company:SHOP: can not be imported",
        ),
        ([], "agents.experiments.tasks.company:CRM", "is a TaskHand, not a Domain"),
        ([], "COMPANY", "--domain COMPANY: can not be imported"),
    ],
)
def test_a_wrong_option_is_named(only: list[str], domain: str, fault: str, tmp_path: Path, out: Console) -> None:
    file = tmp_path / "tasks.json"
    scenario: dict[str, Any] = {"user_scenario": {"instructions": "Go."}}
    later = {"initial_state": {"message_history": [{"role": "user"}]}}
    file.write_text(json.dumps([{"id": "t1", **scenario}, {"id": "t2", **scenario, **later}]))
    with pytest.raises(InvalidRequest) as raised:
        run_tasks(
            out,
            file,
            only=only,
            domain=domain,
            repetitions=1,
            concurrency=1,
            topology=None,
            config=None,
            assignments=None,
            as_json=False,
        )
    assert fault in raised.value.message


def test_a_report_tells_what_failed_why_and_how_fast_it_was(out: Console) -> None:
    [task] = parse_tasks([WIRE], "f")
    task = replace(task, notes=("a note",))
    prepared = PreparedTask(task, Path("x"), (Answer("0.00", False),), {}, {"rows": {"new": 2, "old": -1}})
    right = Episode("t1", 0, "sesn_1", 0.25, (Check("turn"), Check("database billing")))
    wrong = Episode("t1", 1, "sesn_2", 9.0, (Check("turn"), Check("database billing", "a row too many: \x1b[31m")))
    report = TaskReport("company", 4, 2, 0.5, (right, wrong), (prepared,), {"t2": "it has a user"})
    show_report(out, report)
    shown = rows(out)
    assert shown[1] == "t1 1 2 2 1 75%"
    assert shown[2].startswith("t1, repetition 1, sesn_2: database billing: a row too many:")
    assert "\x1b" not in shown[2]
    assert shown[3:5] == ["t1: a note", "t2: left out: it has a user"]
    assert shown[5] == "1 of 2 sessions passed; 2.0 right sessions/s at 4 at a time, p50 250 ms, p95 250 ms, p99 250 ms"
