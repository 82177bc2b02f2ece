"""Who works in a session, and what its agents may have together."""

from __future__ import annotations

from typing import Any

import pytest

from agents.catalog import limits
from agents.catalog.team import check_skills_agree
from agents.errors import InvalidRequest


def agent(first: int, count: int, *others: dict[str, Any]) -> dict[str, Any]:
    """An agent with skills of consecutive numbers, and a roster."""
    skills = [{"skill_id": f"skill_{n}", "version": "v", "name": f"s{n}"} for n in range(first, first + count)]
    return {"type": "agent", "skills": skills, "multiagent": {"agents": list(others)}}


def test_the_skills_of_all_agents_of_a_session_are_bounded_together() -> None:
    half = limits.SKILLS // 2
    check_skills_agree(agent(0, half, agent(half, half), agent(0, limits.SKILLS)))  # the third has no others
    with pytest.raises(InvalidRequest, match=r"^agent\.multiagent: .* 501 skills together"):
        check_skills_agree(agent(0, half, agent(half, half + 1)))
