"""``hecaton worker --fleet``: a platform's sandbox hosts serve the queue of an environment elsewhere.

It stands beside the harnesses: the same client of the same hosts, and no session of its own. What it must know of a
session is noted in the cluster, so that any worker of the platform may go on with what another has begun.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ray.exceptions import RayError
from rich.console import Console

from actors.bootstrap import find_fleet, join
from actors.cluster_notes import drop_note, get_note, put_note
from actors.hands_client import HandsClient
from agents.commands.failures import CommandFailed
from agents.commands.worker import KEY_VARIABLE, Assignment, client_of, run_worker, until_told, worker_of
from agents.config import Settings
from agents.errors import Unavailable

T = TypeVar("T")

_NOTE_SECONDS = 10.0


class ClusterNotes:
    """The Notes of all workers on one cluster."""

    def __init__(self) -> None:
        self._in_order = ThreadPoolExecutor(1, "worker-notes")

    async def get(self, name: str) -> Any:
        """See Notes.get."""
        return await self._asked(get_note, _key(name))

    async def put(self, name: str, value: Any) -> None:
        """See Notes.put."""
        await self._asked(put_note, _key(name), value)

    async def drop(self, name: str) -> None:
        """See Notes.drop."""
        await self._asked(drop_note, _key(name))

    async def _asked(self, work: Callable[..., T], *args: Any) -> T:
        try:
            async with asyncio.timeout(_NOTE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._in_order, work, *args)
        except (RayError, TimeoutError) as error:
            raise Unavailable("the cluster's notes cannot be reached just now", retry_after=1.0) from error


def _key(name: str) -> str:
    return f"elsewhere/{name}"


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns 0, or 1 with the reason when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m actors.fleet_worker")
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--assignment", required=True)
    given = parser.parse_args()
    settings = Settings.from_json(given.settings.read_text())
    assignment = Assignment.from_json(given.assignment)
    key = os.environ.pop(KEY_VARIABLE)
    try:
        join(given.address)
        if find_fleet() is None:
            raise CommandFailed(f"no platform is up on the cluster at {given.address}")
        client, hands = client_of(assignment, key), HandsClient(settings)
        # The hosts' skills and memory stores are the platform's own: those of another server they cannot have.
        worker = worker_of(assignment, client, hands, ClusterNotes(), settings, shared=True)
        console = Console(highlight=False)
        run_worker(console, assignment, until_told(console, worker))
    except (CommandFailed, ConnectionError) as failure:
        sys.stderr.write(f"hecaton: {failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
