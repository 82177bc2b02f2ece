"""Tasks through a whole platform in this process, several at a time (docs/tasks.md).

Bug class this catches: calls that are lost, doubled or mixed up between sessions, which only what is in the databases
afterwards shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from anthropic import AsyncAnthropic

from agents.experiments.tasks.company import COMPANY
from agents.experiments.tasks.domain import FOLDER
from agents.experiments.tasks.file_format import Task
from agents.experiments.tasks.replays import PreparedTask, plan_file
from agents.experiments.tasks.runner import TaskReport, TaskRunner
from tests.conformance.platform import in_process

SAMPLE = (
    "support-lookups",  # five calls at once
    "support-new-customer",  # over both hands, with an id that was drawn
    "support-taken-address",  # refused, and nothing changes
    "support-template",
    "billing-credit-and-pay",
    "billing-dispute",
    "billing-paid-too-much",
    "billing-paid-before",
)
"""All of them are run in test_tasks.py; each of these goes another way through the platform."""


def tampered(task: Task) -> Task:
    """The task with another amount in the last of its calls."""
    last = task.actions[-1]
    wrong = last.model_copy(update={"arguments": {**last.arguments, "amount": "49.00"}})
    return replace(task, actions=(*task.actions[:-1], wrong))


async def run(tasks: list[PreparedTask], plan: list[PreparedTask], root: Path) -> TaskReport:
    """Run *tasks* on a platform whose brain plays the plans of *plan*."""
    file = root / "plan.yaml"
    file.write_text(yaml.safe_dump(plan_file(COMPANY, plan)))
    with in_process(root / "data", brain={"engine": "replay", "replay_plan": file}) as live:
        async with AsyncAnthropic(base_url=live.url, api_key=live.key, max_retries=0) as client:
            runner = TaskRunner(client, COMPANY, root / "databases", patience=30)
            await runner.start()
            return await runner.run(tasks, repetitions=1, concurrency=8, left_out={})


async def test_a_task_leaves_what_its_gold_trajectory_leaves_and_a_tampered_one_does_not(
    shipped: Mapping[str, PreparedTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hands of this process set their variables in it; so they are gone afterwards.
    monkeypatch.setenv(FOLDER, str(tmp_path / "databases"))
    right = shipped["billing-paid-before"]
    victim = replace(right, task=replace(right.task, id="tampered"))
    sample = [shipped[task] for task in SAMPLE]
    report = await run([*sample, victim], [*sample, replace(victim, task=tampered(victim.task))], tmp_path)
    summary = report.summary()
    failures = {task["id"]: task["failures"] for task in summary["tasks"] if task["failures"]}
    assert failures.keys() == {"tampered"}
    told = failures["tampered"]
    assert [failure["name"] for failure in told] == ["database billing"]
    assert "billing_entries: a row too many: " in told[0]["why"] and "cents 4900" in told[0]["why"]
    assert "billing_entries: no row " in told[0]["why"] and "cents 5000" in told[0]["why"]
    assert (summary["sessions"], summary["passed"]) == (len(sample) + 1, len(sample))
    [row] = [task for task in summary["tasks"] if task["id"] == "tampered"]
    assert row["checks_passed"] == pytest.approx(5 / 6), "partial credit for all but the one database"
    assert 0 < summary["session_seconds"]["p50"] <= summary["session_seconds"]["p95"]
