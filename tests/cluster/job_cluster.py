"""A Ray cluster that asks for a token, and jobs on it as their users submit them."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agents.config import Settings
from tests.chaos.cluster import ray_environment
from tests.chaos.parts import kind_of
from tests.cluster.ray_head import BIN, ROOT, RayHead, ray_head

JOB_SECONDS = 180.0
"""A busy machine takes a minute and a half; most of it is a platform's start."""
_PARTS = frozenset({"gateway", "brain", "hand", "harness", "sandbox host", "fleet", "platform process"})
"""What a platform brings to a cluster. Serve's own actors stay: they may be somebody else's too."""
_GONE_SECONDS = 20.0
_STOP_SECONDS = "60"
"""Of `ray job stop`, between SIGTERM and SIGKILL: three by default, in which no platform can end its parts."""
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class JobCluster:
    """The cluster, and what one needs to work with it."""

    head: RayHead
    environment: dict[str, str]
    token: str

    def submit(self, job: str, *entrypoint: str, wait: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a job to its end (with *wait*), as its user sees it."""
        where = ["--address", self.head.dashboard, "--submission-id", job, *([] if wait else ["--no-wait"])]
        return self._ray("submit", *where, "--", *entrypoint)

    def stop(self, job: str) -> subprocess.CompletedProcess[str]:
        """Stop a job, and wait until it has ended."""
        return self._ray("stop", "--address", self.head.dashboard, job)

    def _ray(self, *order: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "ray"), "job", *order],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=JOB_SECONDS,
            env=self.environment,
            cwd=ROOT,
            check=False,
        )

    def get(self, path: str) -> Any:
        """Ask the dashboard."""
        said = httpx.get(self.head.dashboard + path, headers={"authorization": f"Bearer {self.token}"}, timeout=30)
        return said.raise_for_status().json()

    def status(self, job: str) -> str:
        return self.get(f"/api/jobs/{job}")["status"]

    def wait_for(self, job: str, words: str) -> str:
        """Return what a job has printed, once *words* are in it."""
        end = time.monotonic() + JOB_SECONDS
        while words not in (said := self.get(f"/api/jobs/{job}/logs")["logs"]):
            assert time.monotonic() < end and self.status(job) in ("PENDING", "RUNNING"), said
            time.sleep(_LOOK_SECONDS)
        return said

    def parts(self) -> list[str]:
        """Return the parts of platforms that live on it, once there are none or time is up."""
        end = time.monotonic() + _GONE_SECONDS
        while True:
            found = [command for command in self.head.commands() if kind_of(command) in _PARTS]
            if not found or time.monotonic() > end:
                return found
            time.sleep(_LOOK_SECONDS)


@contextmanager
def job_cluster(folder: Path, *, cpus: int = 16) -> Iterator[JobCluster]:
    """Start a cluster, and end it with all that was started on it."""
    token, token_file = secrets.token_hex(32), folder / "token"
    token_file.write_text(token)
    environment = ray_environment(Settings(data_dir=folder / "unused", proxy="haproxy"))
    ports = [int(value) for name, value in environment.items() if name.startswith("RAY_") and name.endswith("_PORT")]
    environment |= {"RAY_JOB_STOP_WAIT_TIME_S": _STOP_SECONDS}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}
    with ray_head(environment, cpus=cpus, besides=ports) as head:
        yield JobCluster(head, environment, token)
