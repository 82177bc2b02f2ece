"""The platform's process is started with its settings, found again and ended, and no stranger is (ours)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agents.commands import embedded, platform
from agents.commands.embedded import EmbeddedServer, local_only
from agents.commands.failures import CommandFailed
from agents.commands.platform import (
    PlatformRecord,
    find_platform,
    platform_command,
    refuse_second,
    run_dir,
    stop_platform,
)
from agents.config import Settings

_WAITS = "import sys, time; print('started', flush=True); time.sleep(600)"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + _WAITS


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", api_key="hunter2")  # type: ignore[arg-type]


@pytest.fixture
def spawn() -> Iterator[object]:
    """Start a process that looks like the platform: the module's name is among its arguments."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def describe(settings: Settings, content: object) -> None:
    run_dir(settings).mkdir(parents=True, exist_ok=True)
    (run_dir(settings) / "platform.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_settings_travel_in_a_file_that_only_the_owner_reads(settings: Settings) -> None:
    file = run_dir(settings) / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_text("old")
    file.chmod(0o644)
    command = platform_command(settings)
    assert command == [sys.executable, "-m", "actors.up", "--settings", str(file)]
    assert file.stat().st_mode & 0o777 == 0o600
    assert Settings.from_json(file.read_text()) == settings


@pytest.mark.parametrize(
    "content", ["", "not json", "[]", "{}", '{"pid": "x", "url": "u"}', '{"pid": 1}', '{"pid": 4194304, "url": "u"}']
)
def test_a_record_that_names_no_platform_is_none(settings: Settings, content: str) -> None:
    describe(settings, content)
    assert find_platform(settings) is None


def test_a_running_platform_is_found(settings: Settings, spawn) -> None:  # type: ignore[no-untyped-def]
    process = spawn(_WAITS, "actors.up")
    describe(settings, {"pid": process.pid, "url": "http://x:1", "instance": "i", "dashboard": "http://d"})
    assert find_platform(settings) == PlatformRecord(process.pid, "http://x:1", "i", "http://d")
    with pytest.raises(CommandFailed, match="http://x:1"):
        refuse_second(settings)


def test_a_stranger_that_got_the_number_is_not_the_platform(settings: Settings, spawn) -> None:  # type: ignore[no-untyped-def]
    process = spawn(_WAITS)
    describe(settings, {"pid": process.pid, "url": "http://x:1"})
    assert find_platform(settings) is None
    refuse_second(settings)


def test_a_platform_that_heeds_sigterm_ends_gently(spawn) -> None:  # type: ignore[no-untyped-def]
    process = spawn(_WAITS)
    assert stop_platform(PlatformRecord(process.pid, ""), patience=10)
    assert process.wait(timeout=5) == -15


def test_a_platform_that_does_not_is_killed(spawn) -> None:  # type: ignore[no-untyped-def]
    process = spawn(_STUBBORN)
    assert not stop_platform(PlatformRecord(process.pid, ""), patience=0.1)
    assert process.wait(timeout=5) == -9


def test_a_platform_that_is_gone_counts_as_ended() -> None:
    assert stop_platform(PlatformRecord(4194304, ""), patience=1)


def pretend(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def command(settings: Settings) -> list[str]:
        platform.platform_command(settings)
        return [sys.executable, "-c", code]

    monkeypatch.setattr(embedded, "platform_command", command)


def test_an_embedded_server_is_ready_when_it_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "print('warming up'); print('ready http://127.0.0.1:9 and more', flush=True);" + _WAITS)
    lines: list[str] = []
    server = EmbeddedServer(settings, lines.append)
    assert server.start(within=20) == "http://127.0.0.1:9"
    assert lines[:1] == ["warming up"]
    server.stop()
    server.stop()
    assert "ready" in server.log.read_text()


def test_a_killed_embedded_server_leaves_nothing_that_it_started(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    pretend(monkeypatch, below + "print('ready http://127.0.0.1:9', flush=True);" + _WAITS)
    server = EmbeddedServer(settings)
    server.start(within=20)
    (child,) = psutil.Process(server._process.pid).children()  # type: ignore[union-attr]
    server.kill()
    assert not child.is_running()
    server.kill()
    server.stop()


def test_an_embedded_server_that_dies_shows_its_last_words(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "import sys; print('no room'); sys.exit(3)")
    with pytest.raises(CommandFailed, match=r"status 3 (?s:.*)no room"):
        EmbeddedServer(settings).start(within=20)


def test_an_embedded_server_that_never_gets_ready_is_ended(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, _WAITS)
    server = EmbeddedServer(settings)
    with pytest.raises(CommandFailed, match="not ready after"):
        server.start(within=0.2)
    assert server._process is None


def test_an_embedded_server_listens_on_loopback_only_unless_the_user_chose_otherwise(settings: Settings) -> None:
    assert local_only(settings).proxy == "direct"
    chosen = Settings(data_dir=settings.data_dir, proxy="haproxy")
    assert local_only(chosen).proxy == "haproxy"
