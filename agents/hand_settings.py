"""One hand as it is declared under ``hands:`` or by ``hecaton hands add``; see docs/hands.md.

A hand is an MCP server object. What a declaration says of the object itself (where it is, its code, its environment,
its contract) is a *version* and never changes; where it runs and how it scales may change at any time.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from agents.brain_settings import MOST_REPLICAS, Version
from agents.settings_base import AbsolutePath, Section, absolute

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


def _server(server: str) -> str:
    where, colon, attribute = server.rpartition(":")
    if not colon or not attribute.isidentifier() or not (is_path(server) or _MODULE.fullmatch(where)):
        raise ValueError(
            "must name an MCP server object: './crm.py:server', './crm:server' for a package's directory,"
            " or 'package.module:server' for one that is installed"
        )
    # As every path among the settings: whoever reads it may have another working directory.
    return f"{absolute(Path(where))}:{attribute}" if is_path(server) else server


def is_path(server: str) -> bool:
    """Whether a ``server`` names a file or a directory, instead of a module."""
    where = server.rpartition(":")[0]
    return where.endswith(".py") or "/" in where


class HandResources(Section):
    """What one replica needs. Replicas run on nodes without a GPU, as long as there are any."""

    num_cpus: float = Field(default=0.1, ge=0)
    """CPUs that Ray reserves for a replica."""
    memory_mb: int = Field(default=0, ge=0)
    """Memory that Ray reserves for a replica, in MiB; 0 reserves none."""
    labels: dict[str, str] = Field(default_factory=lambda: {})
    """Only nodes with these labels (Ray's label selectors)."""


class HandRuntimeEnv(Section):
    """The environment of the replicas' processes, which is theirs alone."""

    env_vars: dict[VariableName, str] = Field(default_factory=lambda: {})
    """Environment variables. Not for secrets, which belong in ``secrets``."""
    pip: list[str] = Field(default_factory=lambda: [], max_length=200)
    """Packages for the replicas, as lines of pip's requirements; where they run there must be a way to them."""


class HandDefinition(Section):
    """One hand; each version is a Serve application of its own."""

    server: Annotated[str, AfterValidator(_server)]
    """The MCP server object: ``./crm.py:server``, ``./crm:server`` (a package's directory) or
    ``package.module:server`` (installed where replicas run, or below ``working_dir``)."""
    version: Version = "1"
    """Name of this code and its environment; what they are under one version never changes."""
    description: str = Field(default="", max_length=1024)
    """What it is for; shown in listings."""
    working_dir: AbsolutePath | None = None
    """A directory that travels with the hand and is its working directory; ``server`` is then a module in it."""
    contract: AbsolutePath | None = None
    """The hand's contract, a YAML file; see docs/governance.md."""
    resources: HandResources = HandResources()
    runtime_env: HandRuntimeEnv = HandRuntimeEnv()
    secrets: list[VariableName] = Field(default_factory=lambda: [], max_length=64)
    """Names of environment variables that must be set on the nodes where replicas run; of those that are the
    platform's own secrets a hand sees no others."""
    min_replicas: int = Field(default=0, ge=0, le=MOST_REPLICAS)
    """Fewest replicas; with 0 the hand ends when nobody calls it, and the first call waits for its start."""
    max_replicas: int = Field(default=4, ge=1, le=MOST_REPLICAS)
    """Most replicas."""
    concurrency: int = Field(default=16, ge=1, le=1024)
    """Calls that one replica runs at a time; also what the number of replicas is steered to."""
    queue: int = Field(default=256, ge=0, le=100_000)
    """Calls that may wait for a place, with each process that asks; more are refused with a time to come back."""
    deadline_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long a call may take, waiting included; then it is stopped."""
    idle_seconds: float = Field(default=60.0, ge=0)
    """How long there must be too many replicas before some end."""

    @model_validator(mode="after")
    def _consistent(self) -> HandDefinition:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}")
        if self.working_dir is not None and is_path(self.server):
            raise ValueError("with working_dir, server must name a module in it: 'crm:server', not './crm.py:server'")
        return self

    @property
    def steered(self) -> bool:
        """Whether the load decides how many replicas there are."""
        return self.min_replicas < self.max_replicas

    def running(self) -> dict[str, Any]:
        """Return what may change under one version: all but what the version is."""
        return self.model_dump(mode="json", exclude=set(_SUBSTANCE))


_SUBSTANCE = ("server", "version", "working_dir", "contract", "runtime_env", "secrets")
