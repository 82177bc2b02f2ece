"""What a model calls the tools of MCP servers (the Messages API's pattern; ours: no two alike)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sessions.tool_names import tool_name

_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Few letters, so that names that could be taken for each other come up.
_NAMES = st.text("a_-. é", min_size=1, max_size=6) | st.text(min_size=1, max_size=255)


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [("crm", "find", "mcp__crm__find"), ("my-crm", "find_all", "mcp__my-crm__find_all"), ("a", "__b", "mcp__a____b")],
)
def test_names_that_fit_are_kept(server: str, tool: str, name: str) -> None:
    assert tool_name(server, tool) == name


def test_what_does_not_fit_is_still_to_be_recognised() -> None:
    assert re.fullmatch(r"mcp__my_crm__find_one_[0-9a-f]{12}", tool_name("my crm", "find.one"))


@given(st.lists(st.tuples(_NAMES, _NAMES), unique=True, max_size=8))
def test_any_names_become_ones_that_fit_and_no_two_become_the_same(pairs: list[tuple[str, str]]) -> None:
    names = [tool_name(server, tool) for server, tool in pairs]
    assert all(_PATTERN.fullmatch(name) for name in names)
    assert len(set(names)) == len(names)
