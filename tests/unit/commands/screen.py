"""What a command shows."""

from __future__ import annotations

import io

from rich.console import Console


def screen(width: int = 140) -> Console:
    """A console that keeps what is shown on it."""
    return Console(file=io.StringIO(), width=width)


def said(out: Console) -> str:
    """All that stands on a screen."""
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def rows(out: Console) -> list[str]:
    """The lines of a screen, without the spaces that align them."""
    return [" ".join(line.split()) for line in said(out).splitlines()]
