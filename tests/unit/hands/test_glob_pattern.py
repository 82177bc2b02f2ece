"""Doublestar patterns, name by name."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.hands.glob_pattern import GlobPattern
from agents.hands.tool_failure import ToolFailure


def matches(pattern: str, path: str) -> bool:
    glob = GlobPattern(pattern)
    state = glob.start
    for name in path.split("/"):
        state = glob.enter(state, name)
    return glob.matches(state)


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        ("*", ["a", ".hidden"], ["a/b"]),
        ("*.py", ["a.py"], ["a.pyc", "d/a.py"]),
        ("**", ["a", "a/b/c"], []),
        ("**/*.py", ["a.py", "x/y/a.py"], ["a.txt"]),
        ("src/**", ["src", "src/a", "src/a/b"], ["other/a"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/x/y/test_b.py"], ["test_a.py"]),
        ("a/**/b/**/c", ["a/b/c", "a/x/b/y/z/c"], ["a/c", "b/c"]),
        ("**/**/x", ["x", "a/x"], ["a"]),
        ("{a,b}/*.{js,ts}", ["a/x.js", "b/x.ts"], ["c/x.js", "a/x.py"]),
        ("file[0-9].txt", ["file1.txt"], ["filex.txt"]),
        ("file[!0-9].txt", ["filex.txt"], ["file1.txt"]),
        ("?b", ["ab"], ["b", "abb"]),
        ("./a//b", ["a/b"], ["a"]),
        ("a.c", ["a.c"], ["abc"]),
    ],
)
def test_patterns(pattern: str, hits: list[str], misses: list[str]) -> None:
    assert [path for path in hits if not matches(pattern, path)] == []
    assert [path for path in misses if matches(pattern, path)] == []


def test_a_directory_that_cannot_hold_a_hit_needs_no_visit() -> None:
    glob = GlobPattern("src/*.py")
    assert not glob.enter(glob.start, "node_modules")
    assert glob.enter(glob.start, "src")


@pytest.mark.parametrize("pattern", ["/abs", "..", "a/../b", "{../x,y}", "{1..100000}", "/", ".", "a/" * 70 + "b"])
def test_patterns_that_are_refused(pattern: str) -> None:
    with pytest.raises(ToolFailure, match=r"glob: pattern:"):
        GlobPattern(pattern)


@given(st.text("ab*?[]{},/.!-\\", max_size=30), st.text("ab/.", min_size=1, max_size=60))
def test_no_pattern_and_no_name_raise_anything_else_or_take_long(pattern: str, path: str) -> None:
    began = time.monotonic()
    with contextlib.suppress(ToolFailure):
        matches(pattern, path)
    assert time.monotonic() - began < 1.0
