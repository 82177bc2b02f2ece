"""A Ray cluster that asks for a token, and jobs on it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.config import Settings
from tests.chaos.cluster import ray_environment
from tests.chaos.parts import kind_of
from tests.cluster.jobs import Jobs
from tests.cluster.ray_head import RayHead, ray_head

JOB_SECONDS = 180.0
"""A busy machine takes a minute and a half; most of it is a platform's start."""
_PARTS = frozenset({"gateway", "brain", "hand", "harness", "sandbox host", "fleet", "platform process"})
"""What a platform brings to a cluster. Serve's own actors stay: they may be somebody else's too."""
_GONE_SECONDS = 20.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class JobCluster:
    """The cluster, and what one needs to work with it."""

    head: RayHead
    jobs: Jobs

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
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}
    with ray_head(environment, cpus=cpus) as head:
        yield JobCluster(head, Jobs(head.dashboard, environment, JOB_SECONDS, token))
