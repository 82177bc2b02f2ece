"""Printing what a server answers, for programs."""

from __future__ import annotations

import json

from rich.console import Console


def print_json(console: Console, answer: object) -> None:
    """Print an answer as it came; nothing in it is taken for markup, and no line is folded."""
    console.print(json.dumps(answer, indent=2), markup=False, soft_wrap=True)
