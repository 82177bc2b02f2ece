"""What ``hecaton doctor`` says of each declared hand: it imports, in a process of its own, and has its secrets."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from agents.commands.findings import Check, State
from agents.commands.probe import last_line, run_probe
from agents.config import Settings
from agents.errors import HecatonError
from agents.hand_settings import HandDefinition
from agents.hands.deployed.source import digest_of, pack, unpack

_LOAD_SECONDS = 30.0
_LOAD = (
    "import sys; from pathlib import Path; from agents.errors import HecatonError\n"
    "from agents.hands.deployed.loading import load_server\n"
    "try: load_server(sys.argv[1], Path(sys.argv[2]) if sys.argv[2] else None)\n"
    "except HecatonError as error: sys.exit(error.message.replace(chr(10), ' '))"
)


def hand_checks(settings: Settings) -> list[Callable[[], Check]]:
    """Return a check for each declared hand."""
    return [partial(check_hand, name, definition) for name, definition in settings.hands.items()]


def check_hand(name: str, definition: HandDefinition) -> Check:
    """Load the hand's code as a replica would."""
    title = f"hand {name}"
    # What replicas run with may be on other nodes only.
    elsewhere = "RAY_ADDRESS" in os.environ or bool(definition.runtime_env.pip)
    state: State = "note" if elsewhere else "problem"
    where = " (on this machine)" if elsewhere else ""
    if missing := [secret for secret in definition.secrets if not os.environ.get(secret)]:
        remedy = "set them where replicas run, before Ray starts there"
        return Check(title, state, f"secrets: not set{where}: {', '.join(missing)}", remedy)
    try:
        fault = _load(definition)
    except (HecatonError, OSError) as error:
        fault = error.message if isinstance(error, HecatonError) else str(error)
    except subprocess.TimeoutExpired:
        fault = f"server: {definition.server} does not end its import within {_LOAD_SECONDS:g} s"
    if fault:
        return Check(
            title, state, f"{fault}{where}", "mend that (hecaton hands test tries it), or take it out of hands:"
        )
    return Check(title, "ok", f"{definition.server} loads")


def _load(definition: HandDefinition) -> str:
    """Return why the hand does not load; empty when it does."""
    packed, archive = pack(definition)
    with tempfile.TemporaryDirectory(prefix="hecaton-doctor-") as folder:
        code = "" if archive is None else str(unpack(archive, digest_of(archive), Path(folder)))
        environment = {**os.environ, **definition.runtime_env.env_vars}
        command = [sys.executable, "-c", _LOAD, packed.server, code]
        done = run_probe(command, _LOAD_SECONDS, environment)
    return last_line(done.stderr) if done.returncode else ""
