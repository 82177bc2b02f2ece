"""The commands ``hecaton backup`` and ``hecaton restore``: signatures only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import Assignments, Config, DataDir, settings_from

_console = Console(highlight=False)

Out = Annotated[
    Path, typer.Option("--out", metavar="FILE|DIR", help="A file (.tar, .tar.gz, .tgz), or a directory to make.")
]
From = Annotated[Path, typer.Option("--from", metavar="FILE|DIR", help="What `hecaton backup` has made.")]
NoCheckpoints = Annotated[
    bool, typer.Option("--no-checkpoints", help="Leave sandboxes' files where they are (checkpoints.url).")
]
KeyOut = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Copy the file of master keys to here; keep it apart.")
]
KeyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Master keys for the vaults, as --key-out has written them.")
]


def backup(
    out: Out,
    no_checkpoints: NoCheckpoints = False,
    key_out: KeyOut = None,
    data_dir: DataDir = None,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Copy all that must survive of a platform, while it runs or not, with a manifest."""
    from agents.commands.backup import back_up, backed_up_settings

    settings = settings_from(config, assignments, data_dir=data_dir)
    chosen = backed_up_settings(settings, given=bool(config or assignments))
    back_up(_console, chosen, out.absolute(), checkpoints=not no_checkpoints, key_out=key_out)


def restore(
    source: From,
    data_dir: DataDir = None,
    key_file: KeyFile = None,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Bring a backup back into an empty data directory (and an empty database), after checking all of it."""
    from agents.commands.backup import bring_back

    settings = settings_from(config, assignments, data_dir=data_dir)
    bring_back(_console, settings, source.absolute(), key_file)
