"""What Serve says of brains and hands: which of them serve, and why another does not.

A brain that cannot start takes no other down: it is only reported. The platform is ready with any brain that serves.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from actors.names import BRAIN_APP, MONOLITH_APP, brain_app_name
from agents.brains.port import EngineUnusable
from agents.brains.registry import RegisteredBrain
from agents.config import Settings
from agents.hands.deployed.loading import HandUnusable

logger = logging.getLogger(__name__)

_MESSAGE_CHARACTERS = 500
_ENGINES_WORD = re.compile(rf"(?:^|\s)[\w.]*(?:{EngineUnusable.__name__}|{HandUnusable.__name__}): (.*)")
_ASK_SECONDS = 2.0
_AGE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BrainState:
    """One brain as Serve sees it."""

    state: ApplicationStatus
    replicas: int
    """Replicas that run."""
    message: str
    """Why it does not serve, as far as Serve knows; one line."""

    @property
    def serves(self) -> bool:
        """Whether requests are answered, or soon will be again: one that has scaled to zero is woken by them."""
        # A replica that died is replaced in a moment; old replicas answer while new ones come up.
        return self.state in (ApplicationStatus.RUNNING, ApplicationStatus.UNHEALTHY) or self.replicas > 0

    @property
    def failed(self) -> bool:
        """Whether Serve has given up: only another deployment helps."""
        return self.state is ApplicationStatus.DEPLOY_FAILED

    def wire(self) -> dict[str, Any]:
        return {**asdict(self), "state": self.state.value}


AppOf = Callable[[RegisteredBrain], str]
"""Names the application that a brain is, or is a part of."""


def own_app(brain: RegisteredBrain) -> str:
    return brain_app_name(brain.id)


def in_monolith(brain: RegisteredBrain) -> str:
    del brain
    return MONOLITH_APP


def apps_of(settings: Settings) -> AppOf:
    """Return where the brains are with these settings: in a monolith all of them are in one application."""
    return in_monolith if settings.topology == "monolith" else own_app


def brain_states(brains: Sequence[RegisteredBrain], app_of: AppOf = own_app) -> dict[str, BrainState]:
    """Return the state of each brain, by id. Blocks while Serve's controller answers; raises RayError."""
    return states_in(serve.status().applications, brains, app_of)


def states_in(
    applications: Mapping[str, ApplicationStatusOverview],
    brains: Sequence[RegisteredBrain],
    app_of: AppOf = own_app,
) -> dict[str, BrainState]:
    """Return the state of each brain, by id, as Serve's *applications* have it."""
    return {brain.id: state_of(applications.get(app_of(brain))) for brain in brains}


def brain_apps() -> list[str]:
    """Return the names of the applications that are brains, declared or not. Blocks; raises RayError."""
    return [name for name in serve.status().applications if name == BRAIN_APP or name.startswith(f"{BRAIN_APP}-")]


def state_of(application: ApplicationStatusOverview | None) -> BrainState:
    """Return the state that an application's status means."""
    if application is None:
        return BrainState(ApplicationStatus.NOT_STARTED, 0, "Serve does not know it")
    deployments = application.deployments.values()
    running = sum(count for each in deployments for state, count in each.replica_states.items() if state == "RUNNING")
    said = [*(each.message for each in deployments), application.message]
    return BrainState(application.status, running, next((reason for reason in map(_reason, said) if reason), ""))


def _reason(message: str) -> str:
    # Of a traceback, the last line says what is wrong, after what an engine itself has said before its server's last
    # words; and the report takes no key, so it shows no more.
    lines = [line.strip() for line in message.strip().splitlines()] or [""]
    raised = [found[1] for line in lines[:-1] if (found := _ENGINES_WORD.search(line))]
    return " ".join([*raised[-1:], _ENGINES_WORD.sub(r"\1", lines[-1])])[:_MESSAGE_CHARACTERS]


class AppReport:
    """The applications' states: asked for at most once at a time, and not for longer than readiness may take."""

    def __init__(self) -> None:
        self._known: Mapping[str, ApplicationStatusOverview] | None = None
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def applications(self) -> Mapping[str, ApplicationStatusOverview] | None:
        """Return what Serve said last, None when it has never answered: its controller may be away for a moment."""
        if self._asking is None and time.monotonic() - self._asked >= _AGE_SECONDS:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=_ASK_SECONDS)
        return self._known

    async def _ask(self) -> None:
        try:
            self._known = (await asyncio.to_thread(serve.status)).applications
        except (RayError, RayServeException) as error:
            logger.warning("Serve does not tell how its applications are: %s", error)
        finally:
            self._asked, self._asking = time.monotonic(), None


class BrainReport:
    """The brains' states, for readiness."""

    def __init__(
        self, brains: Sequence[RegisteredBrain], app_of: AppOf = own_app, apps: AppReport | None = None
    ) -> None:
        self._brains = brains
        self._app_of = app_of
        self._apps = apps or AppReport()

    async def states(self) -> Mapping[str, BrainState]:
        """Return what Serve said last, none when it has never answered."""
        applications = await self._apps.applications()
        return {} if applications is None else states_in(applications, self._brains, self._app_of)
