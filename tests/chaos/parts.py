"""Which process is which part of the platform, told from outside by its command line.

Only descendants of the runner are looked at (it adopts orphans), so that nothing else on the machine can be
taken for a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

_MARKS = (
    ("ray::ServeReplica:hecaton-gateway", "gateway"),
    ("ray::ServeReplica:hecaton-brain", "brain"),
    ("ray::ServeReplica:hecaton-hand", "hand"),
    ("agents.cli worker", "worker"),
    ("ray::HarnessActor", "harness"),
    ("ray::SandboxHostActor", "sandbox host"),
    ("ray::FleetActor", "fleet"),
    ("ray::ServeController", "serve controller"),
    ("ray::HAProxyManager", "haproxy manager"),
    ("ray::ProxyActor", "serve proxy"),
    ("haproxy -db", "haproxy"),
    ("/gcs_server", "ray gcs"),
    ("/raylet/raylet ", "raylet"),
    ("-m actors.up", "platform process"),
    ("postgres: ", "postgresql backend"),
    ("/bin/postgres ", "postgresql"),
)
_SERVICES = ("checkpointer", "background writer", "walwriter", "autovacuum", "logical replication", "io worker")
"""PostgreSQL's own processes, which are no client's backend."""


@dataclass(frozen=True, slots=True)
class Part:
    """One living process of the platform."""

    kind: str
    name: str
    process: psutil.Process

    @property
    def pid(self) -> int:
        return self.process.pid


def living(names: Mapping[int, str]) -> list[Part]:
    """Return the parts that live below this process, in a stable order; *names* are those of actors, by pid."""
    found: list[Part] = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
        except psutil.Error:
            continue  # it ended meanwhile
        if kind := kind_of(command):
            found.append(Part(kind, names.get(process.pid, kind), process))
    return sorted(found, key=lambda part: (part.kind, part.name, part.pid))


def kind_of(command: str) -> str | None:
    """Return the part that a command line belongs to."""
    for mark, kind in _MARKS:
        if mark in command:
            return None if kind == "postgresql backend" and any(name in command for name in _SERVICES) else kind
    return None
