"""One real platform, as a user starts it: ``hecaton up`` in a process group of its own, on a free port.

It knows the processes that belong to the instance, so that a test can tell that none outlives it. Only
processes that this module started, and their descendants, are ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from agents.ports import free_port
from tests.cluster.ray_head import with_words
from tests.conformance.platform import settings_for
from tests.stub_model import StubControl

START_SECONDS = 120.0
"""A cold start on two busy cores; an idle machine takes some 15 s."""
_READY = re.compile(r"^ready (http://\S+)$", re.MULTILINE)
_LOOK_SECONDS = 0.05


def plain_environment() -> dict[str, str]:
    """This process's environment without anybody's settings of the platform, the SDK and Ray."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("HECATON_", "ANTHROPIC_", "RAY_"))}


class UpProcess:
    """A data directory and the platform that may run on it, started by ``hecaton up`` with *options*."""

    def __init__(self, data_dir: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        """*environment* is added to that of the platform's process (``RAY_ADDRESS``: on a cluster of the test's)."""
        self.data_dir = data_dir
        self.url = ""
        self.environment = dict(environment or {})
        self._options = options
        self._log = data_dir.with_name(f"{data_dir.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the instance is not up"
        return self._process.pid

    def up(self, patience: float = START_SECONDS) -> str:
        """Start the platform and wait *patience* seconds until it says that it is ready; returns its URL."""
        assert self._process is None, "the instance is up already"
        command = [sys.executable, "-m", "agents.cli", "up", *self._options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**plain_environment(), "HECATON_NO_DASHBOARD": "1", **self.environment},
            )
        self.url = self._wait_ready(patience)
        return self.url

    def ensure_up(self) -> None:
        """Start the platform unless it is up."""
        if self._process is None:
            self.up()

    def _wait_ready(self, patience: float) -> str:
        assert self._process is not None
        end = time.monotonic() + patience
        while time.monotonic() < end:
            said = self.output()
            if found := _READY.search(said):
                return found[1]
            assert self._process.poll() is None, f"the platform ended with {self._process.returncode}:\n{said[-4000:]}"
            time.sleep(_LOOK_SECONDS)
        self.down()
        raise AssertionError(f"not ready within {patience:g} s:\n{self.output()[-4000:]}")

    def output(self) -> str:
        """What the platform printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[psutil.Process]:
        """The platform's process and all below it."""
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def running(self, words: str) -> list[psutil.Process]:
        """Those of them that have *words* in their command line."""
        return with_words(self.processes(), words)

    def down(self, patience: float = 60.0) -> int:
        """End the platform by SIGTERM; returns its exit status. It is killed when it does not end."""
        return self._end(signal.SIGTERM, patience)

    def kill(self) -> None:
        """SIGKILL the platform's own process; what it started must end by itself."""
        self._end(signal.SIGKILL, 10)

    def kill_everything(self) -> list[psutil.Process]:
        """SIGKILL every process of the instance at once, as a power cut would; returns them.

        But for the guard, which then does the same to whatever was started meanwhile.
        """
        known = self.processes()
        [guard] = known[0].children()
        for each in known:
            with contextlib.suppress(psutil.NoSuchProcess):
                if each != guard:
                    each.kill()
        self._end(signal.SIGKILL, 10)
        return known

    def _end(self, number: signal.Signals, patience: float) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait(10)
            raise AssertionError(f"the platform did not end within {patience:g} s:\n{self.output()[-4000:]}") from None


class Instance(UpProcess):
    """One whose data directory and settings are made here."""

    def __init__(
        self, data_dir: Path, stub_url: str, *, environment: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        config = data_dir.with_name(f"{data_dir.name}.yaml")
        chosen = settings_for(data_dir, stub_url, port=free_port(), **settings)
        plain = chosen.model_dump(mode="json", exclude_none=True)
        secret = {"api_key": chosen.api_key.get_secret_value()} if chosen.api_key else {}
        config.write_text(yaml.safe_dump({**plain, **secret}), encoding="utf-8")
        super().__init__(data_dir, "--config", str(config), environment=environment)


@contextlib.contextmanager
def running(data_dir: Path, stub: StubControl, **settings: Any) -> Iterator[Instance]:
    """A platform that is up, asks *stub*, and leaves no process behind."""
    made = Instance(data_dir, stub.url, **settings)
    try:
        made.up()
        yield made
        known = made.processes()
    finally:
        stub.release("*")
        status = made.down()
    assert status == 0, f"it ended with {status}:\n{made.output()}"
    left = survivors(known, str(data_dir))
    assert left == [], left


def survivors(known: list[psutil.Process], mark: str, within: float = 15.0) -> list[str]:
    """Wait until none of *known*, and no process that names *mark* (the data directory), lives; returns who does."""
    end = time.monotonic() + within
    while True:
        living = [f"{each.pid} {each}" for each in known if each.is_running() and _state(each) != psutil.STATUS_ZOMBIE]
        living += _naming(mark)
        if not living or time.monotonic() > end:
            return living
        time.sleep(_LOOK_SECONDS)


def _state(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


def _naming(mark: str) -> list[str]:
    found: list[str] = []
    for each in psutil.process_iter(["pid", "cmdline", "status"]):
        line = " ".join(each.info["cmdline"] or ())
        if mark in line and each.pid != os.getpid() and each.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"{each.pid} {line[:200]}")
    return found
