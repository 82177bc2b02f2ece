"""Which test holds which requirement: read from the markers of the modules, without running anything."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_HERE = Path(__file__).parent
# Property-based over the API's own description: it holds what that says, not single lines of the manifest.
_OUTSIDE = {"test_schemathesis", "test_coverage"}
_ELSEWHERE = (
    "tests.cluster.test_platform",
    "tests.cluster.test_brain_replicas",
    "tests.cluster.test_hands",
    "tests.cluster.test_fleet_worker",
    "tests.cluster.test_traces",
    "tests.chaos.test_kill",
    "tests.chaos.test_hosts",
)
"""Tests of other suites that hold lines of the manifest on a real platform."""


def _modules() -> Iterator[ModuleType]:
    names = [f"tests.conformance.{path.stem}" for path in sorted(_HERE.glob("test_*.py")) if path.stem not in _OUTSIDE]
    for name in [*names, *_ELSEWHERE]:
        yield importlib.import_module(name)


def cited(test: Any) -> list[str]:
    """The ids that a test function is tied to."""
    marks = getattr(test, "pytestmark", [])
    return [each for mark in marks if mark.name == "requirement" for each in mark.args]


def tests() -> dict[str, list[str]]:
    """Every test function of the suites with the requirements it cites."""
    return {
        f"{module.__name__}::{name}": cited(value)
        for module in _modules()
        for name, value in vars(module).items()
        if name.startswith("test_") and callable(value)
    }
