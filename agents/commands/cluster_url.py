"""Where the platform is that a command shall talk to, also from inside a job on its Ray cluster."""

from __future__ import annotations

import os
import subprocess
import sys

from agents.commands.client import server_url
from agents.commands.failures import CommandFailed
from agents.commands.platform import find_platform
from agents.commands.probe import last_line, run_probe
from agents.config import Settings

_MODULE = "actors.gateway_url"
_SECONDS = 90.0
"""For a process to import Ray, join the cluster and ask it."""


def batch_url(settings: Settings, url: str | None) -> str:
    """Return *url*, or that of the data directory's platform, or of the one on the cluster of ``RAY_ADDRESS``.

    Without any of them, where one would listen. Raises CommandFailed when the cluster has none.
    """
    if url or find_platform(settings) is not None or "RAY_ADDRESS" not in os.environ:
        return server_url(settings, url)
    # In a process of its own: commands do not import Ray.
    command = [sys.executable, "-m", _MODULE, "--address", os.environ["RAY_ADDRESS"]]
    try:
        done = run_probe(command, _SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"the Ray cluster at {os.environ['RAY_ADDRESS']} did not say within {_SECONDS:g} s where its platform is;"
            " name it with --url"
        ) from error
    if done.returncode:
        raise CommandFailed(f"{last_line(done.stderr)}; name the platform with --url")
    return done.stdout.strip()
