"""Builders for ``serve deploy`` (``serve_configs/*.yaml``): each takes the path of a settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from ray import serve

from actors.bootstrap import check_topology
from actors.brain import brain_app
from actors.database import check_cluster
from actors.gateway import gateway_app
from actors.hand_deployer import declared_hand_app
from actors.monolith import monolith_app
from agents.brains.registry import RegisteredBrain, Registry, registry_of
from agents.config import Settings
from agents.errors import InvalidRequest
from agents.settings_loading import load_settings


class AppArguments(BaseModel):
    """Arguments of an application in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    settings: Path | None = None
    """YAML settings file; environment variables and defaults when absent."""


class BrainArguments(AppArguments):
    """Arguments of a brain's application, which is named ``hecaton-brain-NAME@VERSION``.

    That of the implied brain is named ``hecaton-brain``.
    """

    brain: str | None = None
    """Id of one of the declared brains; its name will do when it has one version, none when there is but one."""


def _settings(args: AppArguments) -> Settings:
    """Raises InvalidSettings, or InvalidRequest when they do not fit this cluster; `serve status` shows either."""
    settings = load_settings(args.settings)
    check_cluster(settings)
    check_topology(settings)
    return settings


def brain(args: dict[str, Any]) -> serve.Application:
    chosen = BrainArguments.model_validate(args)
    settings = _settings(chosen)
    return brain_app(settings, _brain(registry_of(settings), chosen.brain))


def _brain(registry: Registry, name: str | None) -> RegisteredBrain:
    brains = registry.brains
    found = [brain for brain in brains if name in (None, brain.name, brain.id)]
    if len(found) != 1:
        there = ", ".join(brain.id for brain in brains)
        raise InvalidRequest(f"args.brain: {name!r} is not one brain; there are {there}")
    return found[0]


class HandArguments(AppArguments):
    """Arguments of a hand's application, which is named ``hecaton-hand-NAME@VERSION``."""

    hand: str
    """Name of one of the declared hands."""


def hand(args: dict[str, Any]) -> serve.Application:
    chosen = HandArguments.model_validate(args)
    return declared_hand_app(_settings(chosen), chosen.hand)


def monolith(args: dict[str, Any]) -> serve.Application:
    settings = _settings(AppArguments.model_validate(args))
    if not settings.has_monolith:
        # The gateway would start harnesses and sandbox hosts beside it, and nobody would know of the other.
        raise InvalidRequest("topology: must be monolith, or standby.enabled true, in the settings of all applications")
    return monolith_app(settings)


def gateway(args: dict[str, Any]) -> serve.Application:
    return gateway_app(_settings(AppArguments.model_validate(args)))
