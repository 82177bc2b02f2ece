"""A whole platform for a benchmark: the stub model and ``hecaton up`` on free ports and a directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.ports import free_port

ROOT = Path(__file__).parent.parent
_READY_SECONDS = 120.0
_END_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running platform."""

    url: str
    pid: int
    stub_url: str
    stub_pid: int
    ready_seconds: float
    data_dir: Path

    def ray_environment(self) -> dict[str, str]:
        """What a process that joins the platform's Ray cluster must find in its environment, before it imports Ray."""
        state = json.loads((self.data_dir / "run" / "platform.json").read_text())
        return {"RAY_ADDRESS": state["ray_address"], "RAY_AUTH_MODE": state["ray_auth_mode"] or "disabled"}


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End a process that was started here: politely, then not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@contextlib.contextmanager
def running_stub() -> Iterator[tuple[str, int]]:
    """Run the stub model as a process that remembers nothing; yields its address and pid."""
    command = [sys.executable, "-m", "tests.stub_model", "--port", "0", "--keep", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
    finally:
        end(process)


@contextlib.contextmanager
def running_platform(stub_url: str, stub_pid: int, *options: str) -> Iterator[Deployment]:
    """Run ``hecaton up`` with *options* against the stub. Settings come from the environment (HECATON_...) too."""
    scratch = Path(tempfile.mkdtemp(prefix="hecaton-bench-"))
    scratch.chmod(0o755)  # sandboxes have users of their own, who must pass through
    output = (scratch / "up.log").open("wb")
    port = free_port()
    command = [sys.executable, "-m", "agents.cli", "up", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data-dir", str(scratch / "data"), *options]
    environment = {**os.environ, "ANTHROPIC_BASE_URL": stub_url, "ANTHROPIC_API_KEY": "x"}
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        ready = _wait_ready(process, scratch / "up.log", started)
        yield Deployment(f"http://127.0.0.1:{port}", process.pid, stub_url, stub_pid, ready, scratch / "data")
    finally:
        end(process)
        output.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _wait_ready(process: subprocess.Popen[bytes], log: Path, started: float) -> float:
    while time.perf_counter() - started < _READY_SECONDS:
        if b"\nready http" in b"\n" + log.read_bytes():
            return time.perf_counter() - started
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"the platform did not become ready:\n{log.read_text()[-3000:]}")
