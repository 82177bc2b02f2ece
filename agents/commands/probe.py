"""Running another program to learn something: what it prints is kept, and it has a deadline."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


def run_probe(
    command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end, in our environment unless told. Raises OSError, subprocess.TimeoutExpired."""
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=environment)


def last_line(text: str) -> str:
    """Return where a program says what went wrong; empty when it says nothing."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
