"""A platform that lives as long as one command (``demo``, ``run --embedded``).

It runs in a session of its own so that Ctrl-C reaches the agent through the API first, not the
server's processes; its output goes to ``<data-dir>/run/server.log``.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from agents.commands.failures import CommandFailed
from agents.commands.platform import (
    PlatformRecord,
    find_platform,
    patience_of,
    platform_command,
    run_dir,
    stop_platform,
)
from agents.commands.timeline import printable
from agents.config import Settings

START_SECONDS = 120.0
"""Generous: a cold disk and two busy cores; a warm start takes less than 25 s."""
_READY = re.compile(r"^ready (http://\S+)", re.MULTILINE)
_LOOK_SECONDS = 0.05
_TAIL_LINES = 15
_KILLED_SECONDS = 10.0


def local_only(settings: Settings) -> Settings:
    """Return *settings* for a server of one command: nothing but loopback, unless the user chose the proxy."""
    return settings if "proxy" in settings.model_fields_set else settings.model_copy(update={"proxy": "direct"})


class EmbeddedServer:
    """One platform process; use as a context manager, or ``start`` and ``stop``."""

    def __init__(self, settings: Settings, on_line: Callable[[str], None] = lambda line: None) -> None:
        self._settings = local_only(settings)
        self._on_line = on_line
        self._log = run_dir(settings) / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def log(self) -> Path:
        return self._log

    def start(self, within: float = START_SECONDS) -> str:
        """Start the process and return its URL once it says that it is ready. Raises CommandFailed."""
        command = platform_command(self._settings)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self.url = self._wait_ready(within)
        except BaseException:
            self.stop()
            raise
        return self.url

    def record(self) -> PlatformRecord | None:
        """Return what the platform says about itself."""
        return find_platform(self._settings)

    def stop(self) -> None:
        """End the process and wait for it; a second call does nothing."""
        if self._process is None:
            return
        stop_platform(PlatformRecord(self._process.pid, self.url), patience_of(self._settings))
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at once, and all that it has started: for who wants nothing of it any more, not even its data."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            for each in below:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(below, timeout=_KILLED_SECONDS)
        self._process.wait()
        self._process = None

    def leave(self) -> None:
        """Let the process live on after this one."""
        self._process = None

    def _wait_ready(self, within: float) -> str:
        assert self._process is not None
        deadline = time.monotonic() + within
        shown = 0
        while True:
            ended = self._process.poll()
            text = self._log.read_text(encoding="utf-8", errors="replace")
            lines = text.split("\n")[:-1]  # the last one may still be growing
            for line in lines[shown:]:
                self._on_line(printable(line))
            shown = len(lines)
            if match := _READY.search(text):
                return match.group(1)
            if ended is not None:
                raise CommandFailed(f"the server ended with status {ended} before it was ready:\n{self._tail(lines)}")
            if time.monotonic() > deadline:
                raise CommandFailed(f"the server was not ready after {within:.0f} s:\n{self._tail(lines)}")
            time.sleep(_LOOK_SECONDS)

    def _tail(self, lines: list[str]) -> str:
        tail = "\n".join(f"  {printable(line)}" for line in lines[-_TAIL_LINES:])
        return f"{tail}\n  (whole log: {self._log}; hecaton doctor may know more)"
