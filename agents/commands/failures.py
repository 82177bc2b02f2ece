"""How a command fails: one exception whose text is meant for the person at the terminal."""

from __future__ import annotations

from importlib.util import find_spec


class CommandFailed(Exception):
    """The command cannot go on; the message says why and what to do. ``exit_code`` is the process's."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def need_packages(message: str, *modules: str) -> None:
    """Raise CommandFailed with *message*, before anything is done, unless all of these *modules* are installed."""
    if not all(map(find_spec, modules)):
        raise CommandFailed(message, exit_code=2)
