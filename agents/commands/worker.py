"""``hecaton worker``: this machine's sandboxes serve the queue of a self-hosted environment, here or elsewhere."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from typing import Any

from anthropic import APIStatusError, AsyncAnthropic
from rich.console import Console

from agents.commands.client import server_url
from agents.commands.failures import CommandFailed
from agents.config import Settings
from agents.hands.checkpoint_store import StoreUnavailable
from agents.hands.host import SandboxHost, check, host_of
from agents.workers.journal import CallJournal, FileNotes
from agents.workers.session_server import ServeOptions
from agents.workers.transience import words
from agents.workers.worker import Worker

_NOISY = ("httpx2", "httpx", "anthropic")
_HARD_EXIT = 130


def sandbox_config(hosts: Sequence[str], *, unrestricted: bool) -> dict[str, Any]:
    """Return the environment config that sandboxes of this worker get: no network unless it is opened.

    Raises CommandFailed when both are asked for.
    """
    if unrestricted and hosts:
        raise CommandFailed("--unrestricted and --allow-host exclude each other", exit_code=2)
    networking: dict[str, Any] = {"type": "limited", "allowed_hosts": list(hosts)}
    return {"type": "cloud", "networking": {"type": "unrestricted"} if unrestricted else networking}


def serve_queue(
    console: Console,
    settings: Settings,
    *,
    environment_id: str,
    environment_key: str,
    base_url: str | None,
    concurrency: int,
    max_idle_seconds: float,
    environment: dict[str, Any],
) -> None:
    """Serve until SIGTERM or SIGINT. Raises CommandFailed when sandboxes do not work here, or the key is refused."""
    if problems := check(settings.sandbox):
        raise CommandFailed("sandboxes do not work on this machine:\n" + "\n".join(problems))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    url = base_url or server_url(settings, None)
    client = AsyncAnthropic(base_url=url, api_key=environment_key)
    options = ServeOptions(environment, max_idle_seconds, settings.sandbox.tool_timeout_seconds)
    home = settings.data_dir / "worker"
    try:
        hands = host_of(settings, home / "sandboxes", name="worker")
    except (OSError, StoreUnavailable) as error:
        raise CommandFailed(f"this worker's sandboxes cannot be kept in {home}: {error}") from error
    worker = Worker(
        client, environment_id, hands, CallJournal(FileNotes(home / "sessions")), options, concurrency=concurrency
    )
    console.print(f"serving {environment_id} at {url}, {concurrency} sessions at a time; Ctrl-C ends it")
    try:
        asyncio.run(_serve(console, worker, hands))
    except APIStatusError as error:
        raise CommandFailed(f"{url} refuses this worker: {words(error)}") from error
    console.print("left the queue; nothing is under way any more")


async def _serve(console: Console, worker: Worker, hands: SandboxHost) -> None:
    loop = asyncio.get_running_loop()
    told = False

    def leave() -> None:
        nonlocal told
        if told:
            # Sandboxes die with this process; leases run out, and the calls are told apart by their marks.
            os._exit(_HARD_EXIT)
        told = True
        console.print("leaving: calls under way are ended first (again to leave at once)")
        worker.leave()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    try:
        await hands.start()
    except OSError as error:
        raise CommandFailed(f"this worker's sandboxes cannot be started: {error}") from error
    try:
        await worker.run()
    finally:
        await hands.stop()
