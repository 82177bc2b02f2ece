"""``hecaton batch``: what it refuses, what it says while it runs and in the end, and its exit status (ours)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from anthropic import APIConnectionError
from httpx2 import Request
from rich.console import Console

from agents.batch.batch_run import Progress
from agents.commands import batch, cluster_url
from agents.commands.batch import BatchOrder, run
from agents.commands.batch_view import BatchView
from agents.commands.cluster_url import batch_url
from agents.commands.failures import CommandFailed
from agents.config import Settings
from tests.unit.batch.conftest import write_tasks
from tests.unit.batch.fake_platform import FakePlatform, answer, failure
from tests.unit.commands.screen import rows, said, screen

PROMPTS = [{"id": f"t{number}", "prompt": f"say {number}"} for number in range(4)]


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> FakePlatform:
    made = FakePlatform()
    monkeypatch.setattr(batch, "patient_client", lambda plain, concurrency: made.client())
    monkeypatch.setattr(batch, "ensure_environment", lambda client, name: "env_made")
    monkeypatch.setattr(batch, "ensure_agent", lambda client, spec: f"agent_of_{spec['model']}")
    return made


@pytest.fixture
def order(tmp_path: Path) -> BatchOrder:
    return BatchOrder(
        write_tasks(tmp_path / "tasks.jsonl", PROMPTS), tmp_path / "out" / "results.parquet", concurrency=2
    )


class Ran:
    """One run of the command."""

    def __init__(self, order: BatchOrder, *, as_json: bool = True) -> None:
        out, self.told = screen(), screen()
        settings = Settings(data_dir=order.out.parent)
        self.code = run(out, self.told, settings, order, url="http://h", as_json=as_json)
        self.printed = said(out)
        self.summary: Any = json.loads(self.printed) if as_json else None


def test_a_batch_writes_its_results_and_says_what_became_of_it(platform: FakePlatform, order: BatchOrder) -> None:
    ran = Ran(order)
    assert ran.code == 0
    assert (ran.summary["ok"], ran.summary["complete"], ran.summary["results"]) == (4, True, str(order.out))
    table = pq.read_table(order.out)
    assert table.column("answer").to_pylist() == [f"say {number}" for number in range(4)]
    assert {session.body["agent"] for session in platform.sessions.values()} == {"agent_of_claude-sonnet-5-5"}
    assert {session.body["environment_id"] for session in platform.sessions.values()} == {"env_made"}


def test_given_again_it_runs_nothing_and_writes_the_results_again(platform: FakePlatform, order: BatchOrder) -> None:
    Ran(order)
    order.out.unlink()
    ran = Ran(order, as_json=False)
    assert ran.code == 0 and len(platform.sessions) == 4
    assert "4 of 4 rows have their results from before" in said(ran.told)
    assert pq.read_table(order.out).num_rows == 4
    assert "ok" in ran.printed and "list cost" in ran.printed


def test_rows_name_their_own_agent_and_none_is_made_where_all_do(
    platform: FakePlatform, order: BatchOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "ensure_agent", None)
    write_tasks(order.tasks, [{"prompt": "say 0", "agent": {"id": "agent_x", "version": 3}}])
    assert Ran(replace(order, environment="env_y")).code == 0
    [session] = platform.sessions.values()
    assert (session.body["agent"], session.body["environment_id"]) == ({"id": "agent_x", "version": 3}, "env_y")


def test_rows_in_error_are_kept_told_and_run_again_when_asked(platform: FakePlatform, order: BatchOrder) -> None:
    platform.turn = lambda session, text: failure("retries_exhausted") if text == "say 2" else answer(text)
    first = Ran(order, as_json=False)
    assert first.code == 1
    assert "1 x model_overloaded_error; line 3: no luck" in first.printed
    assert Ran(order).code == 1 and len(platform.sessions) == 4
    platform.turn = lambda session, text: answer(text)
    again = Ran(replace(order, retry_errors=True))
    assert (again.code, again.summary["sessions"]) == (0, 5)
    assert pq.read_table(order.out).column("attempts").to_pylist() == [1, 1, 2, 1]


def test_lines_that_are_no_tasks_are_rows_or_with_strict_refused(platform: FakePlatform, order: BatchOrder) -> None:
    write_tasks(order.tasks, [*PROMPTS, {"promt": "typo"}])
    with pytest.raises(CommandFailed, match="--strict"):
        Ran(replace(order, strict=True))
    assert not order.journal.exists() and not platform.sessions
    ran = Ran(order)
    assert (ran.code, ran.summary["ok"], ran.summary["invalid"]) == (1, 4, 1)
    assert "line 5: promt: is no field of a task" in said(ran.told)
    assert pq.read_table(order.out).column("outcome").to_pylist() == ["ok"] * 4 + ["invalid"]


def test_a_server_that_stays_away_stops_it_and_the_same_command_goes_on(
    platform: FakePlatform, order: BatchOrder
) -> None:
    # All of it: a server that still answers what is looked for is not away, and only the row would be given up.
    platform.faults["POST", "sessions"] = platform.faults["GET", "sessions"] = ["lost"] * 99
    ran = Ran(replace(order, patience=0.01))
    assert (ran.code, ran.summary["complete"], order.out.exists()) == (3, False, False)
    assert "stopped: nothing was heard" in said(ran.told)
    platform.faults.clear()
    assert Ran(order).code == 0 and len(platform.sessions) == 4


def test_ctrl_c_leaves_what_is_under_way_to_the_next_run(platform: FakePlatform, order: BatchOrder) -> None:
    def interrupt(session: Any, text: str) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return []

    platform.turn = interrupt
    ran = Ran(order)
    assert ran.code == 130
    assert "the same command goes on" in said(ran.told)
    for session in platform.sessions.values():
        session.emit(*answer("went on"))
    platform.turn = lambda session, text: answer(text)
    assert Ran(order).code == 0 and len(platform.sessions) == 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"out": Path("r.csv")}, "name a .parquet file"),
        ({"tasks": Path("missing.jsonl")}, "there is no such file"),
        ({"agent": "a", "model": "m"}, "leave one out"),
    ],
)
def test_what_cannot_be_begun_is_refused(order: BatchOrder, change: dict[str, Any], told: str) -> None:
    with pytest.raises(CommandFailed, match=told) as refused:
        Ran(replace(order, **change))
    assert refused.value.exit_code == 2


def test_a_batch_goes_on_with_what_it_was_begun_with(platform: FakePlatform, order: BatchOrder) -> None:
    Ran(order)
    with pytest.raises(CommandFailed, match="begun with no --model"):
        Ran(replace(order, model="other"))
    write_tasks(order.tasks, PROMPTS[:2])
    with pytest.raises(CommandFailed, match="is not what this batch was begun with"):
        Ran(order)
    order.journal.unlink()
    with pytest.raises(CommandFailed, match="is of no batch that could go on"):
        Ran(order)


def test_the_log_of_a_job_gets_whole_lines(out: Console) -> None:
    moments = iter([0.0, 10.0, 20.0, 21.0])
    progress = Progress(100, 20)
    view = BatchView(out, progress, clock=lambda: next(moments))
    progress.done, progress.running, progress.errors, progress.cost_micro_usd = 40, 8, 1, 1_500_000
    progress.last_error = "line 7: timeout: late"
    assert view.line() == (
        "40 of 100 rows, 8 running, 1 errors, 1.5000 USD, 2.0 rows/s, 30 s to go, last error: line 7: timeout: late"
    )
    for _ in range(2):
        view.away(APIConnectionError(request=Request("GET", "http://h")))
    assert rows(out) == ["waiting for the server: Connection error."]


def test_a_job_finds_the_platform_of_its_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, port=9)
    asked: list[list[str]] = []

    def ask(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if len(asked) == 1:
            return subprocess.CompletedProcess(command, 0, "http://10.0.0.1:8123\n", "")
        return subprocess.CompletedProcess(command, 1, "", "warning\nthere is no platform on this Ray cluster\n")

    monkeypatch.setattr(cluster_url.subprocess, "run", ask)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert batch_url(settings, None) == "http://127.0.0.1:9"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert batch_url(settings, "http://named") == "http://named"
    assert batch_url(settings, None) == "http://10.0.0.1:8123"
    assert asked == [[sys.executable, "-m", "actors.gateway_url", "--address", "10.0.0.1:6379"]]
    with pytest.raises(CommandFailed, match="there is no platform on this Ray cluster; name"):
        batch_url(settings, None)
