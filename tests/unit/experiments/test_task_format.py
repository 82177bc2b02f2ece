"""A file of tasks is read field by field (bug class: a criterion that is misspelt counts for nothing)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.errors import InvalidRequest
from agents.experiments.tasks.file_format import parse_tasks, read_tasks
from tests.unit.experiments.conftest import TASK_FILES

Json = dict[str, Any]
TASK: Json = {
    "id": "t1",
    "description": {"purpose": "A refund."},
    "user_scenario": {
        "persona": None,
        "instructions": {
            "domain": "company",
            "reason_for_call": "You want money back.",
            "known_info": "You are cus_0001.",
            "unknown_info": None,
            "task_instructions": "Insist.",
        },
    },
    "initial_state": None,
    "evaluation_criteria": {
        "actions": [
            {"action_id": "a", "name": "open_case", "arguments": {"customer_id": "cus_0001", "subject": "x"}},
            {
                "action_id": "b",
                "name": "close_case",
                "arguments": {"resolution": "y"},
                "from_results": {"case_id": "a.id"},
            },
        ],
        "communicate_info": ["10"],
        "nl_assertions": ["The agent is polite."],
        "reward_basis": ["DB", "COMMUNICATE", "NL_ASSERTION"],
    },
}


def changed(change: Callable[[Json], object]) -> list[Json]:
    task = copy.deepcopy(TASK)
    change(task)
    return [task]


def actions(task: Json) -> list[Json]:
    return task["evaluation_criteria"]["actions"]


def test_a_task_is_read() -> None:
    [task] = parse_tasks([TASK], "f")
    assert (task.id, task.communicate, task.left_out) == ("t1", ("10",), "")
    assert task.prompt == "You want money back.\nYou are cus_0001.\nInsist."
    assert [action.name for action in task.actions] == ["open_case", "close_case"]
    assert task.notes == ("not checked: 1 nl_assertions (they need a model to judge)",)


def test_the_shipped_tasks_are_read() -> None:
    tasks = [task for file in TASK_FILES for task in read_tasks(file)]
    assert len(TASK_FILES) == 2 and len(tasks) >= 20
    assert [task.id for task in tasks if task.left_out] == []


def test_instructions_may_be_one_text() -> None:
    [task] = parse_tasks(changed(lambda task: task["user_scenario"].update(instructions="Go.")), "f")
    assert task.prompt == "Go."


def test_rows_of_the_initial_state_may_stand_under_their_keys() -> None:
    data = {"crm_customers": {"cus_1": {"id": "cus_1"}}, "crm_cases": [{"id": "case_1"}]}
    [task] = parse_tasks(changed(lambda t: t.update(initial_state={"initialization_data": {"agent_data": data}})), "f")
    assert task.data == {"crm_customers": [{"id": "cus_1"}], "crm_cases": [{"id": "case_1"}]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.pop("user_scenario"), "task 't1': user_scenario: is missing"),
        (lambda t: t.pop("id"), "task number 1: id: is missing"),
        (lambda t: actions(t)[1].pop("name"), "task 't1': evaluation_criteria.actions.1.name: is missing"),
        (
            lambda t: t["evaluation_criteria"].update(action=[]),
            "task 't1': evaluation_criteria.action: is no field of the format",
        ),
        (
            lambda t: t["user_scenario"]["instructions"].update(reason="x"),
            "user_scenario.instructions.reason: is no field of the format",
        ),
        (
            lambda t: t.update(initial_state={"initialization_data": {"agent_data": {"crm_cases": ["x"]}}}),
            "task 't1': initial_state.initialization_data.agent_data.crm_cases: must be rows: a list of objects",
        ),
        (
            lambda t: actions(t)[0].update(arguments=[]),
            "evaluation_criteria.actions.0.arguments: Input should be a valid dictionary",
        ),
        (
            lambda t: actions(t)[1].update(action_id="a"),
            "evaluation_criteria.actions.1.action_id: 'a' is another action's, too",
        ),
        (
            lambda t: actions(t)[1].update(from_results={"case_id": "z.id"}),
            "evaluation_criteria.actions.1.from_results.case_id: no earlier action is 'z'",
        ),
        (
            lambda t: actions(t)[1].update(from_results={"resolution": "a.id"}),
            "evaluation_criteria.actions.1: Value error, from_results gives resolution, which arguments gives, too",
        ),
        (
            lambda t: t["evaluation_criteria"].update(reward_basis=["DBS"]),
            "evaluation_criteria.reward_basis.0: Input should be 'DB'",
        ),
    ],
)
def test_a_fault_names_the_task_and_the_field(change: Callable[[Json], object], fault: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_tasks(changed(change), "tasks.json")
    assert raised.value.message.startswith("tasks.json: task")
    assert fault in raised.value.message


@pytest.mark.parametrize("content", [{}, [], None])
def test_a_file_that_is_no_list_of_tasks_is_refused(content: object, tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps(content))
    with pytest.raises(InvalidRequest, match=r"tasks\.json: must be a list of tasks"):
        read_tasks(tmp_path / "tasks.json")


def test_two_tasks_of_one_id_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="task 't1': id: another task has it"):
        parse_tasks([TASK, TASK], "f")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: actions(t)[0].update(requestor="user"), "the user's own tools are called (a)"),
        (lambda t: t.update(initial_state={"message_history": [{"role": "user"}]}), "in the middle of a conversation"),
        (
            lambda t: t.update(initial_state={"initialization_data": {"user_data": {"phone": 1}}}),
            "its user has data of their own",
        ),
        (
            lambda t: t.update(
                initial_state={"initialization_actions": [{"env_type": "user", "func_name": "f", "arguments": {}}]}
            ),
            "made with the user's own tools",
        ),
    ],
)
def test_what_no_replay_can_do_is_left_out_with_the_reason(change: Callable[[Json], object], reason: str) -> None:
    [task] = parse_tasks(changed(change), "f")
    assert reason in task.left_out


def test_what_the_reward_does_not_count_is_not_checked() -> None:
    [task] = parse_tasks(changed(lambda t: t["evaluation_criteria"].update(reward_basis=["DB"])), "f")
    assert task.communicate == ()
    assert "not checked: 1 communicate_info (reward_basis does not count it)" in task.notes
