"""``hecaton experiment run`` around its rounds: what it refuses, what it leaves, and that no platform outlives it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.cli import app
from agents.commands import experiment_run
from agents.commands.experiment_run import run_experiment
from agents.commands.failures import CommandFailed
from agents.config import Settings
from agents.experiments.plan import read_plan
from agents.experiments.trace_rows import read_rows
from tests.unit.commands.screen import said, screen

PLAN = """
name: p
topologies: [{name: monolith, topology: monolith}, {name: decoupled}]
workloads: {support: {seconds: 5, first_seconds: 1}}
arrivals: [{kind: closed, load: [1]}]
rounds: 2
"""


class Platform:
    """Stands for a platform's process."""

    def __init__(self, happened: list[str], settings: Settings) -> None:
        self._happened = happened
        self._name = settings.topology
        self.log = settings.data_dir / "server.log"

    def start(self) -> str:
        self.log.parent.mkdir(parents=True)
        self.log.write_text("said")
        self._happened.append(f"{self._name} starts")
        return "http://127.0.0.1:1"

    def kill(self) -> None:
        """Of a round that went well nothing is needed any more."""

    def stop(self) -> None:
        self._happened.append(f"{self._name} ends")


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets platforms be none, and returns what was done with them."""
    told: list[str] = []
    monkeypatch.setattr(experiment_run, "EmbeddedServer", lambda settings: Platform(told, settings))
    monkeypatch.delenv("HECATON_CONFIG", raising=False)
    return told


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    return file


def rounds_do(monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> None:
    async def add_hands(*_: object) -> None:
        await do()

    async def play(*_: object) -> None:
        return

    monkeypatch.setattr(experiment_run, "add_hands", add_hands)
    monkeypatch.setattr(experiment_run.Round, "play", play)


def run(plan: Path, **more: Any) -> tuple[int, str]:
    console = screen(200)
    given: dict[str, Any] = {"out": plan.parent / "out", "rounds": None, "only": ()}
    code = run_experiment(console, plan, **given | more)
    return code, said(console)


def test_each_topology_is_started_and_ended_in_alternating_order(
    plan: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds_do(monkeypatch, lambda: asyncio.sleep(0))
    code, _ = run(plan)
    order = ("monolith", "decoupled", "decoupled", "monolith")
    assert happened == [f"{name} {does}" for name in order for does in ("starts", "ends")]
    assert code == 0
    out = plan.parent / "out"
    assert {file.name for file in out.iterdir()} == {"trace.parquet", "machine.json", "plan.yaml", "platforms"}
    assert {file.name for file in (out / "platforms" / "1-monolith").iterdir()} == {"config.yaml", "server.log"}


def test_a_topology_alone_and_fewer_rounds_can_be_asked_for(
    plan: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds_do(monkeypatch, lambda: asyncio.sleep(0))
    run(plan, rounds=1, only=["decoupled"])
    assert happened == ["decoupled starts", "decoupled ends"]


async def _lost() -> None:
    raise ConnectionRefusedError("nobody listens")


def test_a_platform_that_is_lost_is_ended_and_told(
    plan: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds_do(monkeypatch, _lost)
    with pytest.raises(CommandFailed, match="round 1, monolith: the platform is lost: nobody listens"):
        run(plan)
    assert happened == ["monolith starts", "monolith ends"]


async def _ask_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(20)  # it must not come to that


@pytest.fixture
def in_background() -> Iterator[None]:
    """Ignores SIGINT, as shell scripts do for what they start in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_background")
def test_sigterm_ends_the_platform_and_keeps_what_was_measured(
    plan: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    rounds_do(monkeypatch, _ask_to_end)
    code, said = run(plan)
    assert (code, happened) == (130, ["monolith starts", "monolith ends"])
    assert "stopped" in said
    assert list(read_rows(plan.parent / "out" / "trace.parquet")) == []
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_folder_with_a_run_in_it_is_left_alone(
    plan: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds_do(monkeypatch, lambda: asyncio.sleep(0))
    run(plan, rounds=1)
    with pytest.raises(CommandFailed, match="--out"):
        run(plan)


def test_faults_are_refused_where_the_platform_joins_a_cluster(
    plan: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.write_text(f"{PLAN}faults: {{every_seconds: 8, parts: [brain]}}\n")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    with pytest.raises(CommandFailed, match="faults: only processes of this machine"):
        run(plan)
    assert happened == []


def test_a_topology_that_the_plan_has_not_is_named(plan: Path, happened: list[str]) -> None:
    with pytest.raises(CommandFailed, match="--only apart: the plan has monolith, decoupled"):
        run(plan, only=["apart"])
    assert happened == []


@pytest.fixture
def replaying(plan: Path) -> Path:
    """A plan that replays a trace among other arrivals."""
    kinds = "{kind: closed, load: [1]}, {kind: trace, load: [1], trace: mine.csv}"
    plan.write_text(PLAN.replace("{kind: closed, load: [1]}", kinds))
    return plan


def test_another_trace_takes_the_place_of_the_plans(
    replaying: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds_do(monkeypatch, lambda: asyncio.sleep(0))
    monkeypatch.chdir(replaying.parent)
    Path("other.csv").touch()
    run(replaying, replayed=Path("other.csv"), rounds=1)
    kept = read_plan(replaying.parent / "out" / "plan.yaml")
    assert [each.trace for each in kept.arrivals] == [None, replaying.parent / "other.csv"]


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ("plan", "--trace other.csv: the plan has no arrivals of kind trace"),
        ("replaying", "--trace other.csv: there is no such file"),
    ],
)
def test_a_trace_that_can_not_be_taken_is_refused(
    arrivals: str, said: str, request: pytest.FixtureRequest, happened: list[str]
) -> None:
    file = request.getfixturevalue(arrivals)
    result = CliRunner().invoke(app, ["experiment", "run", str(file), "--trace", "other.csv"])
    assert isinstance(result.exception, CommandFailed)
    assert (str(result.exception), result.exception.exit_code) == (said, 2)
    assert happened == []


def test_a_run_leaves_a_page_where_one_is_asked_for(
    plan: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds_do(monkeypatch, lambda: asyncio.sleep(0))
    written: list[tuple[Path, Path]] = []
    report = "agents.commands.experiment_report.write_page"
    monkeypatch.setattr(report, lambda console, folder, page: written.append((folder, page)))
    assert run(plan)[0] == 0 and written == []
    page, out = plan.parent / "page.html", plan.parent / "other"
    assert run(plan, page=page, out=out)[0] == 0
    assert written == [(out, page)]


@pytest.mark.parametrize("asked", [["run", "p.yaml", "--report", "p.html"], ["report", "out"], ["capacity", "out"]])
def test_what_a_report_needs_is_missed_before_anything_is_done(
    asked: list[str], happened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("agents.commands.failures.find_spec", lambda name: None if name == "plotly" else found(name))
    result = CliRunner().invoke(app, ["experiment", *asked])
    assert isinstance(result.exception, CommandFailed)
    assert "hecaton[proof]" in str(result.exception)
    assert happened == []
