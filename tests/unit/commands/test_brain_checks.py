"""The doctor says of each declared brain why it would not start, and what to do; it starts nothing (ours)."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents.commands import brain_checks as checks
from agents.commands.checks import findings
from agents.commands.findings import Check
from agents.commands.platform import PlatformRecord
from agents.config import Settings
from agents.settings_loading import load_settings

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "HECATON_CONFIG", "RAY_ADDRESS", "CUDA_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(checks, "key_refusal", lambda base_url, key: None)  # of the vendor's own server


def settings(brain: dict[str, Any], **more: Any) -> Settings:
    return load_settings(overrides={"brains": {"it": brain}, **more})


def found(brain: dict[str, Any], **more: Any) -> Check:
    return checks.brain_checks(settings(brain, **more))[0]()


def server(program: str, **more: Any) -> dict[str, Any]:
    return {"engine": "server", "model": "org/model", "server": {"command": [program]}, **more}


@pytest.mark.parametrize(
    ("brain", "word"),
    [
        (server("no-such-program"), "no-such-program"),
        (server(sys.executable, model="/no/weights"), "/no/weights"),
        ({"engine": "transformers", "model": "./no/weights"}, "./no/weights"),
        ({"engine": "transformers", "model": "m", "capabilities": {"vision": True}}, "vision"),
        ({"engine": "replay", "replay_plan": "/no/plan.yaml"}, "/no/plan.yaml"),
        ({"engine": "claude"}, "neither a key nor a base URL"),
    ],
)
def test_a_brain_that_would_not_start_is_a_problem_with_a_remedy(brain: dict[str, Any], word: str) -> None:
    check = found(brain)
    assert (check.name, check.state) == ("brain it@1", "problem")
    assert word in check.found
    assert check.remedy


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.brains.transformers.engine.importlib.util.find_spec", lambda name: None)
    assert "pip install 'hecaton[transformers]'" in found({"engine": "transformers", "model": "m"}).found


@pytest.mark.parametrize(
    ("brain", "more"),
    [
        (server(sys.executable), {}),
        ({"engine": "transformers", "model": "org/model"}, {}),
        ({"engine": "replay"}, {}),
        ({"engine": "claude"}, {"anthropic_api_key": "k"}),
    ],
)
def test_a_brain_that_can_start_is_fine(brain: dict[str, Any], more: dict[str, Any]) -> None:
    assert found(brain, **more).state == "ok"


def test_on_a_cluster_of_ones_own_what_is_missing_here_is_only_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert found(server("no-such-program")).state == "note"
    assert found({"engine": "claude"}).state == "problem"


def test_a_model_server_that_nobody_answers_at_is_a_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert found({"engine": "claude", "base_url": url}).state == "ok"
    check = found({"engine": "claude", "base_url": url})
    assert check.state == "problem"
    assert url.removeprefix("http://") in check.found


@pytest.mark.parametrize(("there", "state"), [(0, "problem"), (1, "problem"), (2, "ok"), (8, "ok")])
def test_gpus_are_counted_against_what_the_brains_need(
    there: int, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checks, "_gpus_here", lambda: float(there))
    brain = server(sys.executable, resources={"num_gpus": 1, "tensor_parallel": 2})
    check = checks.brain_checks(settings(brain, data_dir=tmp_path))[-1]()
    assert (check.name, check.state) == ("gpus", state)
    assert "it@1 2" in check.found


def test_gpus_that_suffice_for_each_but_not_for_all_are_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "_gpus_here", lambda: 1.0)
    one = server(sys.executable, resources={"num_gpus": 1})
    given = load_settings(overrides={"brains": {"a": one, "b": one}, "data_dir": tmp_path})
    assert checks.check_gpus(given).state == "note"


def test_only_gpus_that_processes_may_see_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert checks._gpus_here() == 0


@pytest.mark.parametrize(("mode", "told"), [("token", "token"), (None, "as here")])
def test_the_platforms_own_cluster_is_asked_as_it_lets_processes_in(
    mode: str | None, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "as here")
    says = "import os; print(len(os.environ['RAY_ADDRESS'] + os.environ['RAY_AUTH_MODE']))"
    monkeypatch.setattr(checks, "_COUNT_GPUS", says)
    found = PlatformRecord(1, "http://x", ray_address="127.0.0.1:6379", ray_auth_mode=mode)
    monkeypatch.setattr(checks, "find_platform", lambda settings: found)
    check = checks.check_gpus(settings(server(sys.executable, resources={"num_gpus": 1}), data_dir=tmp_path))
    assert check.found.startswith(f"{len('127.0.0.1:6379' + told)} in the Ray cluster")


@contextmanager
def platform_that_says(told: Any) -> Iterator[PlatformRecord]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/-/readyz" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as up:
        thread = threading.Thread(target=up.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield PlatformRecord(1, f"http://127.0.0.1:{up.server_port}")
        up.shutdown()
        thread.join(5)


def test_what_serve_says_of_brains_that_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    well = {"state": "RUNNING", "replicas": 2, "message": ""}
    ill = {"state": "DEPLOY_FAILED", "replicas": 0, "message": "CUDA out of memory"}
    for brains, state in (({"a@1": well}, "ok"), ({"a@1": well, "b@1": ill}, "problem")):
        with platform_that_says({"ready": False, "brains": brains}) as record:
            monkeypatch.setattr(checks, "find_platform", lambda _, record=record: record)
            check = checks.check_replicas(settings({"engine": "replay"}))
        assert check.state == state
        assert "a@1: RUNNING, 2 up" in check.found
    assert "b@1: DEPLOY_FAILED, 0 up: CUDA out of memory" in check.found
    assert "hecaton roll brain" in check.remedy


def test_a_platform_that_does_not_tell_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with platform_that_says({"error": "busy"}) as record:
        monkeypatch.setattr(checks, "find_platform", lambda _: record)
        assert checks.check_replicas(settings({"engine": "replay"})).state == "problem"


def test_the_doctor_looks_at_every_brain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.commands.checks.check_ray", lambda: Check("ray", "ok", ""))  # it takes seconds
    declared = settings({"engine": "replay"}, data_dir=tmp_path)
    bare = load_settings(overrides={"data_dir": tmp_path})
    assert {"brain it@1", "replicas"} <= {check.name for check in findings(declared)}
    assert {"brain", "replicas"} <= {check.name for check in findings(bare)}
