"""Builders for ``serve deploy`` (``serve_configs/*.yaml``): each takes the path of a settings file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ray import serve

from actors.brain import brain_app
from actors.gateway import gateway_app
from agents.config import load_settings


class AppArguments(BaseModel):
    """Arguments of an application in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    settings: Path | None = None
    """YAML settings file; environment variables and defaults when absent."""


def brain(args: AppArguments) -> serve.Application:
    return brain_app(load_settings(args.settings))


def gateway(args: AppArguments) -> serve.Application:
    return gateway_app(load_settings(args.settings))
