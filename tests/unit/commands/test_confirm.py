"""Permission questions: what the person answers is what the agent gets (ours)."""

from __future__ import annotations

import io
from contextlib import nullcontext
from typing import Any

import pytest
from rich.console import Console

from agents.commands.confirm import Confirmer, Policy

CALL = {
    "id": "call_1",
    "type": "agent.tool_use",
    "name": "edit",
    "input": {"file_path": "a.py", "old_string": "x", "new_string": "\x1b[2Jy", "replace_all": True},
}


def ask(policy: Policy, *replies: str) -> tuple[dict[str, Any], str]:
    out = io.StringIO()
    waiting = iter(replies)

    def read(question: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    answer = Confirmer(Console(file=out, width=100), policy, nullcontext, read)(CALL)
    assert next(waiting, None) is None, "a reply was not asked for"
    return answer, out.getvalue()


def verdict(result: str, **more: str) -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": "call_1", "result": result, **more}


@pytest.mark.parametrize("reply", ["y", "yes", " Y "])
def test_yes_allows(reply: str) -> None:
    assert ask("ask", reply)[0] == verdict("allow")


def test_no_denies_with_the_reason_given() -> None:
    assert ask("ask", "n", "wrong file")[0] == verdict("deny", deny_message="wrong file")


def test_no_reason_is_no_message() -> None:
    assert ask("ask", "no", "")[0] == verdict("deny")


def test_anything_else_is_asked_again() -> None:
    assert ask("ask", "", "maybe", "y")[0] == verdict("allow")


def test_show_prints_the_whole_input_without_control_characters_and_asks_again() -> None:
    answer, shown = ask("ask", "s", "y")
    assert answer == verdict("allow")
    assert "replace_all:" in shown
    assert "\x1b[2J" not in shown


def test_a_closed_terminal_denies() -> None:
    assert ask("ask")[0]["result"] == "deny"
    assert ask("ask", "n")[0] == verdict("deny")


@pytest.mark.parametrize(("policy", "result", "said"), [("allow", "allow", "allowed"), ("deny", "deny", "denied")])
def test_without_a_person_the_policy_decides_and_says_so(policy: Policy, result: str, said: str) -> None:
    answer, shown = ask(policy)
    assert answer["result"] == result
    assert said in shown
