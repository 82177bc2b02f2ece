"""What Serve's word on a brain means for readiness, and how long the platform is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ServeStatus,
)

from actors import brain_states, readiness
from actors.brain_states import BrainReport, BrainState, state_of
from actors.readiness import NotReady, wait_for_brain, wait_until_served
from actors.replica_faults import FaultReport
from agents.brain_settings import BrainDefinition
from agents.brains.registry import registry_of
from agents.config import Settings

SETTINGS = Settings(brains={"good": BrainDefinition(engine="replay"), "bad": BrainDefinition(engine="replay")})
BRAINS = registry_of(SETTINGS).brains
TRACEBACK = "The deployment failed:\nTraceback (most recent call last):\n  File ...\nEngineUnusable: no GPU\n"


def status(name: str, running: int = 0, message: str = "", detail: str = "") -> ApplicationStatusOverview:
    replicas: Any = {"RUNNING": running, "STARTING": 1}
    trigger = DeploymentStatusTrigger.UNSPECIFIED
    deployment = DeploymentStatusOverview(DeploymentStatus.UPDATING, trigger, replicas, detail)
    return ApplicationStatusOverview(ApplicationStatus(name), message, 0.0, {"brain": deployment})


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what Serve says of the applications."""

    def set_to(**applications: ApplicationStatusOverview) -> None:
        versions = {"hecaton_brain_good": "hecaton-brain-good@1", "hecaton_brain_bad": "hecaton-brain-bad@1"}
        named = {versions.get(name, name.replace("_", "-")): each for name, each in applications.items()}
        monkeypatch.setattr(brain_states.serve, "status", lambda: ServeStatus(applications=named))

    return set_to


@pytest.mark.parametrize(
    ("overview", "serves", "failed"),
    [
        (None, False, False),
        (status("RUNNING"), True, False),  # scaled to zero, if it has no replica
        (status("DEPLOYING"), False, False),
        (status("DEPLOYING", running=1), True, False),  # it is being replaced
        (status("UNHEALTHY"), True, False),
        (status("DEPLOY_FAILED"), False, True),
    ],
)
def test_a_brain_serves_when_it_has_started_once(
    overview: ApplicationStatusOverview | None, serves: bool, failed: bool
) -> None:
    state = state_of(overview)
    assert (state.serves, state.failed) == (serves, failed)


def test_of_a_traceback_only_the_reason_is_told() -> None:
    assert state_of(status("DEPLOY_FAILED", message=TRACEBACK)).wire() == {
        "state": "DEPLOY_FAILED",
        "replicas": 0,
        "message": "no GPU",
    }
    assert state_of(status("DEPLOY_FAILED", message="Traceback:\nValueError: odd")).message == "ValueError: odd"
    assert state_of(status("DEPLOYING", detail="no node has 8 GPUs")).message == "no node has 8 GPUs"


def test_of_a_server_that_ended_its_end_and_its_last_words_are_told() -> None:
    ended = "the inference server ended with status 1; its last lines:"
    message = f"{TRACEBACK}agents.brains.port.EngineUnusable: {ended}\nloading\n(it printed nothing)"
    assert state_of(status("DEPLOY_FAILED", detail=message)).message == f"{ended} (it printed nothing)"


async def test_the_report_keeps_what_it_knows_while_serve_does_not_answer(
    say: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brain_states, "_ASK_SECONDS", 0.01)
    monkeypatch.setattr(brain_states, "_AGE_SECONDS", 0)
    say(hecaton_brain_good=status("RUNNING", running=2))
    report = BrainReport(BRAINS)
    running = BrainState(ApplicationStatus.RUNNING, 2, "")
    while "good@1" not in (known := await report.states()):
        pass
    assert known["good@1"] == running
    answer = threading.Event()
    asked: list[None] = []

    def hang() -> ServeStatus:
        asked.append(None)
        assert answer.wait(10)
        return ServeStatus()

    monkeypatch.setattr(brain_states.serve, "status", hang)
    try:
        for _ in range(3):
            assert (await report.states())["good@1"] == running
        assert len(asked) == 1, "only one question at a time"
    finally:
        answer.set()


def ready(answer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness.httpx, "get", lambda url, **options: httpx.Response(answer))


def test_a_brain_that_cannot_start_does_not_hold_up_the_platform(
    say: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(200, monkeypatch)
    say(hecaton_brain_good=status("RUNNING", 1), hecaton_brain_bad=status("DEPLOY_FAILED", message=TRACEBACK))
    assert wait_until_served(SETTINGS, lambda _: False) == ["brain bad@1 does not serve yet: DEPLOY_FAILED: no GPU"]


@pytest.mark.parametrize(
    ("gateway", "good", "why"),
    [
        ("RUNNING", "DEPLOY_FAILED", "brain good@1 does not start: no GPU"),
        ("DEPLOY_FAILED", "RUNNING", "the gateway does not start"),
    ],
)
def test_a_platform_that_cannot_become_ready_is_given_up_with_the_reason(
    say: Callable[..., None], monkeypatch: pytest.MonkeyPatch, gateway: str, good: str, why: str
) -> None:
    ready(503, monkeypatch)
    failed = status("DEPLOY_FAILED", message=TRACEBACK)
    say(hecaton_brain_good=status(good, message=TRACEBACK), hecaton_brain_bad=failed, hecaton_gateway=status(gateway))
    with pytest.raises(NotReady, match=why):
        wait_until_served(SETTINGS, lambda _: pytest.fail("it can be told at once"))


def test_waiting_ends_when_it_is_interrupted_or_too_long(
    say: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(503, monkeypatch)
    say()
    assert wait_until_served(SETTINGS, lambda _: True) == []
    monkeypatch.setattr(readiness, "_READY_SECONDS", 0.1)
    with pytest.raises(NotReady, match=r"within 0\.1 s"):
        wait_until_served(SETTINGS, lambda _: False)
    with pytest.raises(NotReady, match="good@1: NOT_STARTED"):
        wait_for_brain(BRAINS[0])


def test_a_brain_that_loads_weights_may_take_the_time_it_was_given(
    say: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_READY_SECONDS", 0.0)
    server = {"engine": "server", "model": "m", "server": {"start_seconds": 2.0}}
    settings = Settings(brains={"good": BrainDefinition(**server), "bad": BrainDefinition(engine="replay")})  # type: ignore[arg-type]
    ready(503, monkeypatch)
    say()
    looks: list[float] = []
    with pytest.raises(NotReady):
        wait_until_served(settings, lambda seconds: bool(looks.append(seconds)))
    assert len(looks) == 20


async def test_only_brains_without_a_replica_have_a_fault_with_what_serve_says(say: Callable[..., None]) -> None:
    say(
        hecaton_brain_good=status("RUNNING", running=1, detail="one replica is unhealthy"),
        hecaton_brain_bad=status("DEPLOY_FAILED", detail=TRACEBACK),
    )
    ids = [brain.id for brain in BRAINS]
    faults = await FaultReport(SETTINGS).faults([*ids, "gone@1"])
    assert faults == {"bad@1": (True, "DEPLOY_FAILED: no GPU")}
    say(hecaton_brain_good=status("DEPLOYING"), hecaton_brain_bad=status("DEPLOYING", message="no node has 8 GPUs"))
    assert await FaultReport(SETTINGS).faults(ids) == {
        "good@1": (False, "DEPLOYING"),
        "bad@1": (False, "DEPLOYING: no node has 8 GPUs"),
    }
