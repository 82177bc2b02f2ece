"""``hecaton worker``: sandboxes here serve the queue of a self-hosted environment, of this server or another.

The sandboxes are this machine's own, or with ``--fleet`` those of a platform that runs: then the process joins that
platform's Ray cluster, and goes on as ``actors.fleet_worker``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from anthropic import APIStatusError, AsyncAnthropic
from rich.console import Console

from agents.commands.failures import CommandFailed
from agents.commands.platform import started_settings, write_settings
from agents.commands.rollout import cluster_address, joining_environment
from agents.config import Settings
from agents.hands.checkpoint_store import StoreUnavailable
from agents.hands.configured_host import host_of
from agents.hands.drivers import check
from agents.hands.host import SandboxHost
from agents.hands.port import Hands, MountKind
from agents.workers.journal import FileNotes, Notes, SessionJournals
from agents.workers.plain_names import is_plain
from agents.workers.remote_archives import RemoteArchives
from agents.workers.remote_memory import RemoteStores
from agents.workers.session_server import ServeOptions
from agents.workers.transience import words
from agents.workers.worker import Worker

KEY_VARIABLE = "ANTHROPIC_ENVIRONMENT_KEY"
_FLEET_MODULE = "actors.fleet_worker"
_NOISY = ("httpx2", "httpx", "anthropic")
_HARD_EXIT = 130
_MOUNTS: frozenset[MountKind] = frozenset({"skill", "memory"})


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker serves, and how."""

    environment_id: str
    base_url: str
    concurrency: int
    max_idle_seconds: float
    sandbox: dict[str, Any]
    """The environment config of its sandboxes."""

    def to_json(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        return cls(**orjson.loads(text))


def sandbox_config(hosts: Sequence[str], *, unrestricted: bool) -> dict[str, Any]:
    """Return the environment config that sandboxes of this worker get: no network unless it is opened.

    Raises CommandFailed when both are asked for.
    """
    if unrestricted and hosts:
        raise CommandFailed("--unrestricted and --allow-host exclude each other", exit_code=2)
    networking: dict[str, Any] = {"type": "limited", "allowed_hosts": list(hosts)}
    return {"type": "cloud", "networking": {"type": "unrestricted"} if unrestricted else networking}


def check_assignment(assignment: Assignment) -> None:
    """Raise CommandFailed for an environment's id that cannot name directories."""
    if not is_plain(assignment.environment_id):
        raise CommandFailed(
            f"--environment-id: {assignment.environment_id[:80]!r} is no environment's id (env_…)", exit_code=2
        )


# -- with this machine's sandboxes -----------------------------------------------------------------


def serve_here(console: Console, settings: Settings, assignment: Assignment, key: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises CommandFailed when sandboxes do not work here, or the key is refused."""
    if problems := check(settings.sandbox):
        raise CommandFailed("sandboxes do not work on this machine:\n" + "\n".join(problems))
    home = settings.data_dir / "worker"
    client, stores = client_of(assignment, key), RemoteStores()
    try:
        skills, memory = RemoteArchives(client), stores.open
        hands = host_of(settings, home / "sandboxes", name="worker", skills=skills, memory=memory)
    except (OSError, StoreUnavailable) as error:
        raise CommandFailed(f"this worker's sandboxes cannot be kept in {home}: {error}") from error
    notes = FileNotes(home / "sessions")
    worker = worker_of(assignment, client, hands, notes, settings, mounts=_MOUNTS, stores=stores)
    run_worker(console, assignment, _with_sandboxes(console, worker, hands))


async def _with_sandboxes(console: Console, worker: Worker, hands: SandboxHost) -> None:
    try:
        await hands.start()
    except OSError as error:
        raise CommandFailed(f"this worker's sandboxes cannot be started: {error}") from error
    try:
        await until_told(console, worker)
    finally:
        await hands.stop()


# -- with the sandbox hosts of a platform ----------------------------------------------------------


def fleet_command(settings: Settings, assignment: Assignment, key: str) -> tuple[list[str], dict[str, str]]:
    """Return command line and environment of the process that joins the platform's cluster.

    The key is in the environment: a command line is anybody's to read. Raises CommandFailed when nothing is up.
    """
    address = cluster_address(settings)
    file = write_settings(started_settings(settings) or settings, "worker-settings.json")
    command = [sys.executable, "-m", _FLEET_MODULE, "--settings", str(file), "--address", address]
    return [*command, "--assignment", assignment.to_json()], {**joining_environment(settings), KEY_VARIABLE: key}


# -- both ------------------------------------------------------------------------------------------


def client_of(assignment: Assignment, key: str) -> AsyncAnthropic:
    """Return the client of the assignment's server."""
    return AsyncAnthropic(base_url=assignment.base_url, api_key=key)


def worker_of(
    assignment: Assignment,
    client: AsyncAnthropic,
    hands: Hands,
    notes: Notes,
    settings: Settings,
    *,
    mounts: frozenset[MountKind] = frozenset(),
    shared: bool = False,
    stores: RemoteStores | None = None,
) -> Worker:
    """Return the worker that serves the assignment; see ServeOptions for *mounts*, Worker for the others."""
    seconds = settings.sandbox.tool_timeout_seconds
    options = ServeOptions(assignment.sandbox, assignment.max_idle_seconds, seconds, mounts)
    return Worker(
        client,
        assignment.environment_id,
        hands,
        SessionJournals(notes),
        options,
        concurrency=assignment.concurrency,
        shared=shared,
        stores=stores,
    )


def run_worker(console: Console, assignment: Assignment, serving: Coroutine[Any, Any, None]) -> None:
    """Do *serving* to its end. Raises CommandFailed when the server refuses the worker."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    url, many = assignment.base_url, assignment.concurrency
    console.print(f"serving {assignment.environment_id} at {url}, {many} sessions at a time; Ctrl-C ends it")
    try:
        asyncio.run(serving)
    except APIStatusError as error:
        raise CommandFailed(f"{url} refuses this worker: {words(error)}") from error
    console.print("left the queue; nothing is under way any more")


async def until_told(console: Console, worker: Worker) -> None:
    """Have the worker serve until SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    told = False

    def leave() -> None:
        nonlocal told
        if told:
            # Sandboxes of this process die with it; leases run out, and the calls are told apart by their notes.
            os._exit(_HARD_EXIT)
        told = True
        console.print("leaving: calls under way are ended first (again to leave at once)")
        worker.leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    await worker.run()
