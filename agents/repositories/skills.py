"""Skills that a repository brings along: ``.claude/skills/<name>/SKILL.md`` (spec C.5).

Whoever writes to the repository writes these, and may make links of them; none is followed, for this reads outside of
the sandbox.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.errors import InvalidRequest
from agents.skills.frontmatter import FILE, checked_name, frontmatter_of

log = logging.getLogger(__name__)

MOST = 50  # ours: all of them are told to the model at once
_FOLDER = (".claude", "skills")
_HEAD_BYTES = 64 * 1024
"""What is read of a file; its YAML is much shorter."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FoundSkill:
    """``path`` is that of its SKILL.md, from the repository's top."""

    name: str
    description: str
    path: str


def skills_in(tree: Path, below: Sequence[str] = ()) -> Sequence[FoundSkill]:
    """Return the skills of the copy *below* a directory by their names, the first MOST; what is none is left out.

    Blocks.
    """
    try:
        with _inside(tree, (*below, *_FOLDER)) as folder:
            names = sorted(os.listdir(folder))
            found = (_skill(folder, name) for name in names)
            return [each for each, _ in zip((each for each in found if each), range(MOST), strict=False)]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        log.warning("the skills of a repository cannot be read: %s", error.strerror)
        return ()


def _skill(folder: int, name: str) -> FoundSkill | None:
    try:
        with _opened(name, _DIRECTORY, folder) as inner, _opened(FILE, _PLAIN, inner) as file:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            said = frontmatter_of(_whole_lines(os.read(file, _HEAD_BYTES)))
        return FoundSkill(checked_name(name), said.description, "/".join((*_FOLDER, name, FILE)))
    except (OSError, InvalidRequest):
        return None


def _whole_lines(head: bytes) -> bytes:
    # Cut off in the middle of a character, it would not be text.
    return head if len(head) < _HEAD_BYTES else head.rpartition(b"\n")[0]


@contextlib.contextmanager
def _inside(tree: Path, parts: Sequence[str]) -> Generator[int]:
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(_opened(tree, _DIRECTORY))
        for part in parts:
            folder = opened.enter_context(_opened(part, _DIRECTORY, folder))
        yield folder


@contextlib.contextmanager
def _opened(path: str | Path, flags: int, folder: int | None = None) -> Generator[int]:
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
