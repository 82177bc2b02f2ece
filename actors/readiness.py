"""Waiting for what was deployed: the whole platform, or one brain of it; never for longer than it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import httpx
from ray import serve
from ray.serve.schema import ApplicationStatus

from actors.brain_states import AppOf, apps_of, brain_states, own_app, state_of, states_in
from actors.names import GATEWAY_APP
from agents.brains.registry import RegisteredBrain, registry_of
from agents.config import Settings

_READY_SECONDS = 90.0
_LOOK_SECONDS = 0.1
_LOOKS_PER_STATUS = 10


class NotReady(Exception):
    """What was deployed does not serve, and why."""


def wait_until_served(settings: Settings, pause: Callable[[float], bool]) -> Sequence[str]:
    """Wait until gateway, harness and any brain serve; returns a line for each brain that does not.

    Readiness is asked over HTTP, as a user will: the proxy learns of replicas a moment after Serve does. *pause*
    waits, and returns whether to stop waiting. Raises NotReady when it cannot come to that, or not in time.
    """
    brains = registry_of(settings).brains
    app_of = apps_of(settings)
    # A monolith's brains start one after the other.
    patience = (sum if settings.topology == "monolith" else max)(map(_start_seconds, brains))
    url = f"http://{settings.host}:{settings.port}/-/readyz"
    for look in range(int(patience / _LOOK_SECONDS)):
        try:
            # Not through a proxy of the environment: it is this machine that is asked.
            if httpx.get(url, timeout=10.0, trust_env=False).status_code == httpx.codes.OK:
                return _lacking(brains, app_of)
        except httpx.TransportError:
            pass
        if look % _LOOKS_PER_STATUS == 0:
            _give_up_on_failures(brains, app_of)
        if pause(_LOOK_SECONDS):
            return []
    raise NotReady(f"the platform did not become ready within {patience:g} s: see the Ray logs")


def wait_for_brain(brain: RegisteredBrain, app_of: AppOf = own_app) -> None:
    """Wait until the brain's newest deployment runs; raises NotReady when it does not start, or not in time."""
    end = time.monotonic() + _start_seconds(brain)
    while True:
        state = brain_states([brain], app_of)[brain.id]
        if state.state is ApplicationStatus.RUNNING:
            return
        if state.failed or time.monotonic() > end:
            raise NotReady(f"brain {brain.id}: {state.state.value}: {state.message}")
        time.sleep(_LOOK_SECONDS)


def _start_seconds(brain: RegisteredBrain) -> float:
    match brain.definition.engine:
        case "server":
            return _READY_SECONDS + brain.definition.server.start_seconds
        case "transformers":
            return _READY_SECONDS + brain.definition.transformers.start_seconds
        case _:
            return _READY_SECONDS


def _lacking(brains: Sequence[RegisteredBrain], app_of: AppOf) -> Sequence[str]:
    return [
        f"brain {name} does not serve yet: {state.state.value}: {state.message}"
        for name, state in brain_states(brains, app_of).items()
        if not state.serves
    ]


def _give_up_on_failures(brains: Sequence[RegisteredBrain], app_of: AppOf) -> None:
    applications = serve.status().applications
    gateway = state_of(applications.get(GATEWAY_APP))
    if gateway.failed:
        raise NotReady(f"the gateway does not start: {gateway.message}")
    states = states_in(applications, brains, app_of)
    if all(state.failed for state in states.values()):
        raise NotReady("\n".join(f"brain {name} does not start: {state.message}" for name, state in states.items()))
