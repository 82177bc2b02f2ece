"""The doctor finds what is missing and says what to do; it never fails itself (ours)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from agents.commands import checks
from agents.commands import machine_checks as machine
from agents.commands import platform_checks as platforms
from agents.commands.doctor import doctor, report
from agents.commands.findings import Check
from agents.settings_loading import load_settings
from tests.unit.commands.screen import said, screen


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "HECATON_API_KEY", "HECATON_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def settings(**given: Any):  # type: ignore[no-untyped-def]
    return load_settings(overrides=given)


def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.commands.checks.shutil.which", lambda name: None)


def test_a_writable_data_directory_is_fine_and_made(tmp_path: Path) -> None:
    assert machine.check_data_dir(tmp_path / "new").state == "ok"
    assert (tmp_path / "new").is_dir()


def test_a_data_directory_below_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert machine.check_data_dir(tmp_path / "file" / "data").state == "problem"


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_DISK_BYTES", 1 << 62)
    assert machine.check_disk(tmp_path / "not" / "there").state == "problem"


def test_where_checkpoints_go_is_tried(tmp_path: Path) -> None:
    good = checks.check_checkpoints(settings(data_dir=tmp_path))
    assert (good.state, good.found) == ("ok", f"{tmp_path}/checkpoints")
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert checks.check_checkpoints(settings(checkpoints={"mode": "off"})).state == "note"
    assert checks.check_checkpoints(settings(checkpoints={"url": "nosuch://bucket"})).state == "problem"
    (tmp_path / "file").touch()
    assert checks.check_checkpoints(settings(data_dir=tmp_path / "file")).state == "problem"


def test_little_shared_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SHM_BYTES", 1 << 62)
    assert machine.check_shared_memory().state == "note"
    monkeypatch.setattr(machine, "_SHM", "/nowhere")
    assert machine.check_shared_memory().found == "/nowhere is missing"


def test_little_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MEMORY_BYTES", 1 << 62)
    assert machine.check_memory().state == "note"


def test_a_port_in_use_is_a_problem(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = platforms.check_port(settings(port=port, data_dir=tmp_path))
    assert found.state == "problem"
    assert str(port) in found.found
    assert platforms.check_port(settings(port=port, data_dir=tmp_path)).state == "ok"


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"host": "0.0.0.0"}, "problem"),
        ({"host": "0.0.0.0", "api_key": "k"}, "note"),
        ({"host": "db.example", "proxy": "direct"}, "problem"),
        ({"host": "0.0.0.0", "api_key": "k", "proxy": "direct"}, "ok"),
        ({}, "note"),
        ({"proxy": "direct", "host": "localhost"}, "ok"),
        ({"proxy": "direct", "host": "::1"}, "ok"),
    ],
)
def test_who_could_reach_the_server_is_told(given: dict[str, Any], state: str) -> None:
    assert checks.check_exposure(settings(**given)).state == state


@pytest.mark.parametrize(
    ("given", "state", "word"),
    [
        ({}, "note", "replay"),
        ({"brain.engine": "replay", "anthropic_api_key": "k"}, "note", "replay"),
        ({"brain.engine": "claude"}, "problem", "neither"),
        ({"anthropic_api_key": "k"}, "ok", "claude"),
        ({"brain.base_url": "http://m"}, "ok", "http://m"),
    ],
)
def test_which_brain_will_think_is_told(
    given: dict[str, Any], state: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "key_refusal", lambda base_url, key: None)
    found = checks.check_brain(settings(**given))
    assert found.state == state
    assert word in found.found


def test_missing_programs_are_problems_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    no_programs(monkeypatch)
    for found in (checks.check_ripgrep(), checks.check_bubblewrap(settings())):
        assert found.state == "problem"
        assert "apt-get install" in found.remedy


def test_a_bubblewrap_that_cannot_make_a_sandbox_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr("agents.commands.checks.shutil.which", lambda name: str(fake))
    found = checks.check_bubblewrap(settings())
    assert found.state == "problem"
    assert "Permission denied" in found.found
    assert "user namespaces" in found.remedy


@pytest.mark.parametrize("driver", ["process", "none"])
def test_a_driver_without_isolation_is_noted(driver: str) -> None:
    assert checks.check_bubblewrap(settings(**{"sandbox.driver": driver})).state == "note"


def test_haproxy_is_only_needed_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_haproxy(settings(proxy="direct")).state == "ok"
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/nowhere/haproxy")
    assert checks.check_haproxy(settings(proxy="haproxy")).state == "problem"


def test_this_machine_has_what_the_tests_need() -> None:
    assert checks.check_openat2().state == "ok"
    assert checks.check_ripgrep().state == "ok"
    assert checks.check_bubblewrap(settings()).state == "ok"
    assert checks.check_python().state == "ok"


def test_the_exit_code_tells_whether_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    out = screen(80)
    found = [Check("a", "note", "hm", "do it")]
    monkeypatch.setattr("agents.commands.doctor.all_findings", lambda given: found)
    assert doctor(out, settings()) == 0
    found.append(Check("b", "problem", "no", "mend it"))
    assert doctor(out, settings()) == 1
    out = screen(80)
    assert doctor(out, settings(), as_json=True) == 1
    assert json.loads(said(out))[1] == {"name": "b", "state": "problem", "found": "no", "remedy": "mend it"}


def test_the_report_shows_what_to_do_below_what_was_found() -> None:
    out = screen(80)
    out.print(report([Check("port", "problem", "taken", "choose another")]))
    assert "PROBLEM" in said(out)
    assert "→ choose another" in said(out)
