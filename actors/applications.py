"""Builders for ``serve deploy`` (``serve_configs/*.yaml``): each takes the path of a settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from ray import serve

from actors.brain import brain_app
from actors.database import check_cluster
from actors.gateway import gateway_app
from agents.config import Settings, load_settings


class AppArguments(BaseModel):
    """Arguments of an application in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    settings: Path | None = None
    """YAML settings file; environment variables and defaults when absent."""


def _settings(args: dict[str, Any]) -> Settings:
    """Raises InvalidSettings, or InvalidRequest when they do not fit this cluster; `serve status` shows either."""
    settings = load_settings(AppArguments.model_validate(args).settings)
    check_cluster(settings)
    return settings


def brain(args: dict[str, Any]) -> serve.Application:
    return brain_app(_settings(args))


def gateway(args: dict[str, Any]) -> serve.Application:
    return gateway_app(_settings(args))
