"""What ``hecaton doctor`` looks at for each declared brain: engine, weights, server, GPUs, replicas.

Only what can be told without starting anything: weights are not loaded, and no model is asked. On a Ray cluster of
one's own (``RAY_ADDRESS``) a brain may run on another machine, so what is missing on this one is only noted.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2

from agents.brains.factory import make_engine
from agents.brains.registry import RegisteredBrain, registry_of
from agents.commands.findings import Check, State
from agents.commands.model_server import key_refusal
from agents.commands.platform import PlatformRecord, find_platform
from agents.commands.probe import last_line, run_probe
from agents.config import Settings
from agents.errors import HecatonError
from agents.vault import SettingsVault

_CONNECT_SECONDS = 3.0
_READY_SECONDS = 10.0
_RAY_SECONDS = 30.0
_PORTS = {"http": 80, "https": 443}
_COUNT_GPUS = "import ray; ray.init(log_to_driver=False); print(ray.cluster_resources().get('GPU', 0))"


def brain_checks(settings: Settings) -> list[Callable[[], Check]]:
    """Return a check for each declared brain, and one of the GPUs that they need."""
    brains = registry_of(settings).brains
    checks = [partial(check_declared, brain, settings) for brain in brains]
    if any(brain.definition.resources.num_gpus for brain in brains):
        return [*checks, partial(check_gpus, settings)]
    return checks


def check_declared(brain: RegisteredBrain, settings: Settings) -> Check:
    """Whether one brain's engine can start here, as far as can be seen from outside."""
    name = f"brain {brain.id}"
    fault = next(_faults(brain, settings), None)
    if fault is None:
        return Check(name, "ok", f"{brain.definition.engine}, {brain.definition.model or 'whatever model is named'}")
    found, remedy = fault
    elsewhere = "RAY_ADDRESS" in os.environ and brain.definition.engine in ("server", "transformers")
    return Check(name, "note" if elsewhere else "problem", f"{found} (on this machine)" if elsewhere else found, remedy)


def _faults(brain: RegisteredBrain, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, and what to do."""
    definition = brain.definition
    try:
        # Nothing runs before it is started; whether packages and programs are there it says when it is made.
        make_engine(definition, settings, SettingsVault(settings))
    except HecatonError as error:
        yield error.message, "mend that, or take it out of brains:"
    if definition.engine in ("server", "transformers"):
        yield from _weights(definition.model or "")
    if definition.engine == "claude":
        yield from _claude(brain, settings)


def _weights(model: str) -> Iterator[tuple[str, str]]:
    # Any other name is looked for on the hub, and fetched by the replica.
    if model.startswith(("/", ".", "~")) and not Path(model).exists():
        yield f"there are no weights at {model}", "put them there, or correct the model; replicas look there too"


def _claude(brain: RegisteredBrain, settings: Settings) -> Iterator[tuple[str, str]]:
    definition = brain.definition
    base_url = definition.base_url or settings.brain.base_url or os.environ.get("ANTHROPIC_BASE_URL")
    if base_url is None:
        if settings.anthropic_api_key is None:
            yield "there is neither a key nor a base URL", f"set ANTHROPIC_API_KEY, or brains.{brain.name}.base_url"
        elif refusal := key_refusal(None, settings.anthropic_api_key):
            yield refusal
        return
    url = urlsplit(base_url)
    where = f"{url.hostname}:{url.port or _PORTS.get(url.scheme, 80)}"
    try:
        host, _, port = where.rpartition(":")
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        yield f"nobody answers at {where}: {error}", "start that server, or correct the base_url"
        return
    if settings.anthropic_api_key is not None and (refusal := key_refusal(base_url, settings.anthropic_api_key)):
        yield refusal


def check_gpus(settings: Settings) -> Check:
    """Whether there are as many GPUs as the replicas need that are always to be there."""
    needs = {
        brain.id: brain.definition.resources.num_gpus
        * brain.definition.resources.tensor_parallel
        * max(1, brain.definition.scaling.min_replicas)
        for brain in registry_of(settings).brains
    }
    wanted = ", ".join(f"{brain} {need:g}" for brain, need in needs.items() if need)
    record = find_platform(settings)
    try:
        there, where = _cluster_gpus(record), "in the Ray cluster"
        if there is None:
            there, where = _gpus_here(), "on this machine"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Check("gpus", "note", f"the Ray cluster does not tell: {error}", f"the brains need: {wanted}")
    found = f"{there:g} {where}; needed: {wanted}"
    if sum(needs.values()) <= there:
        return Check("gpus", "ok", found)
    remedy = "a brain without a GPU waits for one: lower num_gpus or min_replicas, or join a cluster (RAY_ADDRESS)"
    return Check("gpus", "problem" if max(needs.values()) > there else "note", found, remedy)


def _gpus_here() -> float:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return min(devices, len([name for name in visible.split(",") if name.strip()])) if visible is not None else devices


def _cluster_gpus(record: PlatformRecord | None) -> float | None:
    """Ask the cluster that is named or runs here; None when there is none. In a process of its own: Ray is slow."""
    environment = dict(os.environ)
    if "RAY_ADDRESS" not in environment:
        if record is None or record.ray_address is None:
            return None
        environment |= {"RAY_ADDRESS": record.ray_address, **record.ray_environment}
    done = run_probe([sys.executable, "-c", _COUNT_GPUS], _RAY_SECONDS, environment)
    if done.returncode:
        raise OSError(last_line(done.stderr) or "no answer")
    return float(done.stdout.split()[-1])


def readiness(record: PlatformRecord) -> dict[str, Any]:
    """Return what a platform says of its parts. Raises HTTPError, ValueError."""
    answer = httpx2.get(f"{record.url}/-/readyz", timeout=_READY_SECONDS, trust_env=False)
    return cast("dict[str, Any]", answer.json())


def check_replicas(settings: Settings) -> Check:
    """What Serve says of the brains of the platform that runs, if one does."""
    record = find_platform(settings)
    if record is None:
        return Check("replicas", "ok", "nothing is up yet")
    try:
        brains = cast("dict[str, dict[str, Any]]", readiness(record)["brains"])
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        return Check("replicas", "problem", f"{record.url}/-/readyz does not tell: {error!r}", "look at hecaton's log")
    state: State = "ok"
    lines: list[str] = []
    for brain, told in brains.items():
        said = f": {told['message']}" if told["message"] else ""
        lines.append(f"{brain}: {told['state']}, {told['replicas']} up{said}")
        if not told["replicas"] and told["message"]:
            state = "problem"
    remedy = "mend that, then: hecaton roll brain" if state == "problem" else ""
    return Check("replicas", state, "\n".join(lines) or "Serve does not tell", remedy)
