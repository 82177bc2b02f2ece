"""A Ray cluster as an operator starts one, with ``ray start --head``, of which nothing outlives the test."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from agents.ports import free_ports

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
"""Where the commands of this environment are: ``ray``, ``serve``, ``hecaton``."""
_END_SECONDS = 30
# Everything that `ray start` leaves behind stays below this process, and ends with it.
_GUARDED = """
import signal, subprocess, sys
from actors.reaper import go_on_guarded
go_on_guarded()
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
print("started", flush=True)
signal.sigwait({signal.SIGTERM})
"""


@dataclass(frozen=True, slots=True)
class RayHead:
    """A cluster that is up."""

    port: int
    """Of its GCS, which ``RAY_ADDRESS`` names."""
    dashboard: str
    """Its URL, which jobs and Serve applications are submitted to."""
    pid: int

    def commands(self) -> list[str]:
        """Return the command lines, or Ray's titles, of all processes of the cluster that live."""
        found: list[str] = []
        for process in psutil.Process(self.pid).children(recursive=True):
            try:
                found.append(" ".join(process.cmdline()))  # empty of one that has ended, but was not collected yet
            except psutil.NoSuchProcess:
                continue
        return found


def with_words(processes: Iterable[psutil.Process], words: str) -> list[psutil.Process]:
    """Those living processes that have *words* in their command line, or in the title that Ray gave them."""
    found: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if words in " ".join(process.cmdline()):  # empty of one that has ended, but was not collected yet
                found.append(process)
    return found


@contextmanager
def ray_head(
    environment: Mapping[str, str], *, cpus: int, more: Callable[[int], list[str]] = lambda port: []
) -> Iterator[RayHead]:
    """Start a cluster whose processes have *environment*, and end it with all that was started on it.

    *more* gives further options for ``ray start``, for the port of its GCS.
    """
    gcs, dashboard, agent = free_ports(3)
    # Not below the test's own folder: paths of Ray's sockets may have 107 characters. Nor in /tmp/ray: the cluster that
    # is noted there is the one that jobs, and later `ray.init()` calls, would take for theirs.
    place = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    start = [str(BIN / "ray"), "start", "--head", f"--num-cpus={cpus}", f"--temp-dir={place}", f"--port={gcs}"]
    start += ["--include-dashboard=true", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    start += ["--disable-usage-stats", *more(gcs)]
    said = place / "start.log"
    with said.open("wb") as log:
        cluster = subprocess.Popen(
            [sys.executable, "-c", _GUARDED, *start],
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
        )
    try:
        assert cluster.stdout is not None
        assert cluster.stdout.readline() == "started\n", said.read_text(errors="replace")
        yield RayHead(gcs, f"http://127.0.0.1:{dashboard}", cluster.pid)
    finally:
        cluster.send_signal(signal.SIGTERM)
        cluster.wait(_END_SECONDS)
        shutil.rmtree(place, ignore_errors=True)
