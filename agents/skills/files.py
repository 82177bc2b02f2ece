"""One file of a skill, and how large they may be together."""

from __future__ import annotations

from dataclasses import dataclass

MOST_BYTES = 30 * 1024 * 1024  # all files of a skill together: the vendor's guide to skills
MOST_FILES = 500  # ours: every session that has the skill unpacks all of them
PATH_CHARS = 500  # ours
SEGMENT_BYTES = 255  # what file systems take as one name


@dataclass(frozen=True, slots=True)
class SkillFile:
    """``path`` has forward slashes and is relative, to whatever its holder says."""

    path: str
    content: bytes
    executable: bool = False
