"""Jobs of a Ray cluster, as their users submit and watch them; the cluster's dashboard may be away for a while."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.cluster.ray_head import BIN, ROOT

_ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Jobs:
    """What is run, asked and waited for at one dashboard."""

    dashboard: str
    environment: Mapping[str, str]
    """Of ``ray job``."""
    seconds: float
    """Of each wait: for words, for an end, for ``ray job`` itself."""
    token: str | None = None

    def submit(self, job: str, *entrypoint: str, wait: bool = True, options: tuple[str, ...] = ()) -> str:
        """Run a job to its end (with *wait*), as its user sees it; returns what was printed.

        Raises AssertionError when it is refused or, with *wait*, fails.
        """
        where = ["--address", self.dashboard, "--submission-id", job, *([] if wait else ["--no-wait"]), *options]
        return self._ray("submit", *where, "--", *entrypoint)

    def stop(self, job: str) -> None:
        """Stop a job, and wait until it has ended. Raises AssertionError when that is refused."""
        self._ray("stop", "--address", self.dashboard, job)

    def _ray(self, *order: str) -> str:
        done = subprocess.run(
            [str(BIN / "ray"), "job", *order],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.seconds,
            env=self.environment,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def get(self, path: str) -> Any:
        """Ask the dashboard. Raises httpx.HTTPError."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.get(self.dashboard + path, headers=headers, timeout=30).raise_for_status().json()

    def status(self, job: str) -> str | None:
        """Return the job's status; None while nobody tells."""
        try:
            return self.get(f"/api/jobs/{job}")["status"]
        except httpx.HTTPError:
            return None

    def said(self, job: str) -> str:
        """Return what the job has printed; nothing while nobody tells."""
        try:
            return self.get(f"/api/jobs/{job}/logs")["logs"] or ""
        except httpx.HTTPError:
            return ""

    def wait_for(self, job: str, words: str) -> re.Match[str]:
        """Wait until what the job has printed has *words* (an expression) in it."""
        end = time.monotonic() + self.seconds
        while True:
            ended = self.status(job) in _ENDED
            said = self.said(job)
            if found := re.search(words, said):
                return found
            assert not ended and time.monotonic() < end, f"{job} does not say {words!r}: {said[-3000:]}"
            time.sleep(_LOOK_SECONDS)

    def wait_done(self, job: str) -> str:
        """Wait until the job has ended; returns its status."""
        end = time.monotonic() + self.seconds
        while (status := self.status(job)) is None or status not in _ENDED:
            assert time.monotonic() < end, f"{job} is {status}: {self.said(job)[-3000:]}"
            time.sleep(_LOOK_SECONDS)
        return status
