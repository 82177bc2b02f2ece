"""A Ray cluster whose head keeps its state in Redis, so that it may die: a head that runs nothing, and more nodes.

It is started with ``ray start``, as an operator does. The head is killed as the loss of its machine or pod would: all
its processes at once, by SIGKILL. Then the same command starts it again, and the other nodes find it. Or its GCS alone
is killed, and started again with the same command line.
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from agents.ports import free_ports
from tests.cluster.ray_head import BIN, ROOT, with_words

_END_SECONDS = 30
_START_SECONDS = 180.0
"""Of a `ray start`: twice what Ray gives a node (``RAY_raylet_start_wait_time_s``)."""
_GCS = "gcs/gcs_server"
# Starts a command and ends without it: nobody waits for a server.
_BESIDE = ["sh", "-c", 'exec "$@" &', "sh"]
# Whatever is started by a line stays below this process, and ends with it.
_GUARDED = """
import json, subprocess, sys
from actors.reaper import go_on_guarded
go_on_guarded()
print("ready", flush=True)
for line in sys.stdin:
    done = subprocess.run(json.loads(line), stdout=sys.stderr, stdin=subprocess.DEVNULL)
    print(done.returncode, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Node:
    """What a node beside the head has; its GPUs are none, but Ray deals them out."""

    cpus: int
    gpus: int = 0


class LastingHead:
    """The cluster; all methods block."""

    def __init__(self, environment: Mapping[str, str], place: Path, redis: int, nodes: Sequence[Node]) -> None:
        self.gcs, dashboard, agent, *agents = free_ports(3 + len(nodes))
        self.environment = dict(environment)
        self.place = place
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        start = [str(BIN / "ray"), "start", "--disable-usage-stats"]
        self._head = [*start, "--head", "--num-cpus=0", f"--temp-dir={place}", f"--port={self.gcs}"]
        self._head += ["--include-dashboard=true", f"--dashboard-port={dashboard}"]
        self._head += [f"--dashboard-agent-listen-port={agent}"]
        join = [*start, f"--address=127.0.0.1:{self.gcs}"]
        self._nodes = [
            [*join, f"--num-cpus={node.cpus}", f"--num-gpus={node.gpus}", f"--dashboard-agent-listen-port={port}"]
            for node, port in zip(nodes, agents, strict=True)
        ]
        self.said = place / "start.log"
        self._note = place / "ray_current_cluster"
        self._log = self.said.open("wb")
        self._guard = subprocess.Popen(
            [sys.executable, "-c", _GUARDED],
            env={**environment, "RAY_REDIS_ADDRESS": f"127.0.0.1:{redis}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        self._heads: list[psutil.Process] = []

    def start(self) -> None:
        """Start the head, and then the other nodes."""
        assert self._said() == "ready", "what guards the cluster must be there before what it guards"
        self.start_head()
        for node in self._nodes:
            self._run(node)

    def start_head(self) -> None:
        """Start the head, for the first time or again."""
        before = set(self.processes())
        self._run(self._head)
        self._heads = [each for each in self.processes() if each not in before]

    def kill_head(self) -> int:
        """Kill all processes of the head at once; returns how many there were."""
        dying = set(self._heads)
        for each in self._heads:
            with contextlib.suppress(psutil.NoSuchProcess):
                dying.update(each.children(recursive=True))
        for each in dying:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(dying, timeout=_END_SECONDS)
        # Where the new head is another machine this note is not there; here Ray would take it, and the other node's
        # raylet, for a head that lives.
        self._note.unlink(missing_ok=True)
        return len(dying)

    def kill_gcs(self) -> list[str]:
        """Kill the GCS alone, by SIGKILL; returns its command line."""
        [gcs] = self.running(_GCS)
        command = gcs.cmdline()
        gcs.kill()
        psutil.wait_procs([gcs], timeout=_END_SECONDS)
        return command

    def start_gcs(self, command: list[str]) -> None:
        """Start a GCS that was killed, with its *command* line."""
        self._run([*_BESIDE, *command])

    def running(self, words: str) -> list[psutil.Process]:
        """Return the cluster's living processes that have *words* in their command line, or Ray's title."""
        return with_words(self.processes(), words)

    def close(self) -> None:
        """End all of it."""
        self._guard.send_signal(signal.SIGTERM)
        try:
            self._guard.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            # Whoever is below it ends with it.
            self._guard.kill()
            self._guard.wait(_END_SECONDS)
            raise
        finally:
            self._log.close()

    def _run(self, command: list[str]) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(json.dumps(command) + "\n")
        self._guard.stdin.flush()
        assert self._said() == "0", self.said.read_text(errors="replace")

    def _said(self) -> str:
        assert self._guard.stdout is not None
        # One line is due at a time, so none is in the reader's own buffer.
        ready, _, _ = select.select([self._guard.stdout], [], [], _START_SECONDS)
        assert ready, f"nothing within {_START_SECONDS:g} s: {self.said.read_text(errors='replace')}"
        return self._guard.stdout.readline().rstrip()

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the cluster."""
        return psutil.Process(self._guard.pid).children(recursive=True)


@contextmanager
def lasting_head(environment: Mapping[str, str], nodes: Sequence[Node] = (Node(cpus=16),)) -> Iterator[LastingHead]:
    """Start Redis and the cluster, and end both."""
    # A short path: those of Ray's sockets may have 107 characters.
    place = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    [port] = free_ports(1)
    order = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(place)]
    with (place / "redis.log").open("wb") as log:
        redis = subprocess.Popen(order, stdout=log, stderr=log)
    try:
        _wait_for_redis(port)
        cluster = LastingHead(environment, place, port, nodes)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()
    finally:
        redis.kill()
        redis.wait(_END_SECONDS)
        shutil.rmtree(place, ignore_errors=True)


def _wait_for_redis(port: int) -> None:
    end = time.monotonic() + _END_SECONDS
    while subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True, check=False).stdout != b"PONG\n":
        assert time.monotonic() < end, "Redis did not start"
        time.sleep(0.05)
