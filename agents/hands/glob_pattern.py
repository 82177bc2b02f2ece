"""Doublestar patterns, matched name by name while a tree is walked.

Own code instead of a glob library because patterns and file names both come from the model: libraries
turn a pattern into one backtracking regular expression over the whole path, and ``*a*a*a*...`` against a
chosen name then holds the interpreter for hours. Here a pattern is a list of parts; the standard
library's ``fnmatch`` (atomic groups, no exponential backtracking) judges single names, and the set of
part positions reached so far also tells which directories need no visit.
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import re
from collections.abc import Iterable

import bracex

from agents.hands.tool_failure import ToolFailure

_MAX_ALTERNATIVES = 64
_MAX_PARTS = 64
_MAX_STARS_IN_NAME = 16

State = frozenset[tuple[int, int]]
"""Positions (alternative, part) that come next."""


@functools.lru_cache(maxsize=1024)
def _name_pattern(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))


class GlobPattern:
    """One parsed pattern. Walk with ``start`` and ``enter``; ``matches`` tells whether a path is a hit."""

    def __init__(self, pattern: str) -> None:
        """Parse *pattern*; raises ToolFailure when it is absolute, leads upwards, or is too complex."""
        if posixpath.isabs(pattern):
            raise ToolFailure("glob: pattern: must be relative; give the directory as path")
        try:
            texts = bracex.expand(pattern, limit=_MAX_ALTERNATIVES)
        except bracex.ExpansionLimitException as error:
            raise ToolFailure(f"glob: pattern: expands to more than {_MAX_ALTERNATIVES} alternatives") from error
        self._alternatives = [self._parts(text) for text in texts]
        self.start: State = self._close((index, 0) for index in range(len(self._alternatives)))

    def enter(self, state: State, name: str) -> State:
        """Return the state after one more path part."""
        following: set[tuple[int, int]] = set()
        for alternative, position in state:
            parts = self._alternatives[alternative]
            if position == len(parts):
                continue
            if parts[position] == "**":
                following.add((alternative, position))
            elif _name_pattern(parts[position]).match(name):
                following.add((alternative, position + 1))
        return self._close(following)

    def matches(self, state: State) -> bool:
        """Whether the path walked so far matches the whole pattern."""
        return any(position == len(self._alternatives[alternative]) for alternative, position in state)

    def _close(self, positions: Iterable[tuple[int, int]]) -> State:
        """Add what ``**`` reaches by standing for no directory at all."""
        closed = set(positions)
        for alternative, position in tuple(closed):
            parts = self._alternatives[alternative]
            while position < len(parts) and parts[position] == "**":
                position += 1
                closed.add((alternative, position))
        return frozenset(closed)

    @staticmethod
    def _parts(text: str) -> list[str]:
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ToolFailure("glob: pattern: must not contain '..'")
        if not parts:
            raise ToolFailure("glob: pattern: names nothing")
        if len(parts) > _MAX_PARTS or any(part.count("*") > _MAX_STARS_IN_NAME for part in parts if part != "**"):
            raise ToolFailure("glob: pattern: is too complex")
        return parts
