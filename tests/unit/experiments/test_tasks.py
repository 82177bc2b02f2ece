"""Gold trajectories applied directly, their plans, and the judgement (bug class: a check that nothing can fail).

The hands run in this process; a session's events are made up as a platform without faults would write them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp.server.mcpserver.exceptions import ToolError
from sqlalchemy import select

from agents.brains.plan_templates import Memory, render
from agents.errors import InvalidRequest
from agents.example_hands.crm_schema import people
from agents.experiments.tasks import domain as task_domain
from agents.experiments.tasks.company import COMPANY, CRM
from agents.experiments.tasks.domain import TaskDatabases, copy_databases
from agents.experiments.tasks.file_format import Task, parse_tasks
from agents.experiments.tasks.replays import PreparedTask, message, plan_file, prepare, steps_of
from agents.experiments.tasks.state import Changes, changes, rows_changed
from agents.experiments.tasks.verdict import Check, judge

Json = dict[str, Any]


def left_behind(shipped: Mapping[str, PreparedTask], root: Path, task: str) -> Path:
    return root / "shipped" / "direct" / str(list(shipped).index(task))


def events_of(prepared: PreparedTask) -> list[Json]:
    events: list[Json] = []
    for place, (action, answer) in enumerate(zip(prepared.task.actions, prepared.answers, strict=True)):
        hand = COMPANY.hand_of(action.name).name
        use = {"type": "agent.mcp_tool_use", "id": f"use_{place}", "mcp_server_name": hand, "name": action.name}
        content = [{"type": "text", "text": answer.text}]
        result = {"type": "agent.mcp_tool_result", "mcp_tool_use_id": f"use_{place}", "content": content}
        events += [use, {**result, "is_error": answer.refused}]
    said = "\n".join(answer.text for answer in prepared.answers)
    events.append({"type": "agent.message", "content": [{"type": "text", "text": said}]})
    events.append({"type": "session.status_idle", "stop_reason": {"type": "end_turn"}})
    return events


def failed(checks: Sequence[Check]) -> dict[str, str]:
    return {check.name: check.why for check in checks if not check.passed}


def simple(*actions: Json, communicate: Sequence[str] = (), **initial: Any) -> Task:
    criteria = {"actions": list(actions), "communicate_info": list(communicate)}
    wire = {"id": "t", "user_scenario": {"instructions": "Go."}, "evaluation_criteria": criteria}
    [task] = parse_tasks([{**wire, "initial_state": initial or None}], "f")
    return task


def action(tool: str, action_id: str = "a", **more: Any) -> Json:
    return {"action_id": action_id, "name": tool, "arguments": {}, **more}


def test_what_the_direct_run_left_passes_every_check(shipped: Mapping[str, PreparedTask], root: Path) -> None:
    for task, prepared in shipped.items():
        checks = judge(COMPANY, prepared, events_of(prepared), COMPANY.read(left_behind(shipped, root, task)))
        assert failed(checks) == {}, task
        assert len(checks) == 3 + len(prepared.task.actions) + len(prepared.task.communicate)
        assert prepared.untold == [], f"{task}: what is communicated comes from the tools"


def test_some_tasks_are_right_when_nothing_changes_and_others_change_several_rows(
    shipped: Mapping[str, PreparedTask],
) -> None:
    changed = {task: rows_changed(prepared.wanted) for task, prepared in shipped.items()}
    assert sum(count == 0 for count in changed.values()) >= 6
    assert (changed["support-taken-address"], changed["support-upgrade"], changed["billing-new-invoice"]) == (0, 2, 6)
    assert changed["billing-dispute"] == 4


@pytest.mark.parametrize(
    ("task", "rows", "check", "told"),
    [
        (
            "support-upgrade",
            {"crm_customers": [{"id": "cus_0007", "plan": "team"}]},
            "database crm",
            'crm_customers cus_0007: plan is "team", not "business"',
        ),
        (
            "support-not-allowed",
            {"crm_customers": [{"id": "cus_0036", "name": "Nobody"}]},
            "database crm",
            'crm_customers cus_0036: name is "Nobody", not "Ada Almeida"',
        ),
        (
            "billing-refund-refused",
            {
                "billing_entries": [
                    {
                        "id": "ent_X",
                        "invoice_id": "inv_0001_202609",
                        "kind": "refund",
                        "cents": 90000,
                        "reason": "x",
                        "at": 1,
                    }
                ]
            },
            "database billing",
            "billing_entries: a row too many: ",
        ),
    ],
)
def test_a_database_that_differs_by_one_row_fails_and_the_row_is_told(
    shipped: Mapping[str, PreparedTask], root: Path, tmp_path: Path, task: str, rows: Any, check: str, told: str
) -> None:
    prepared = shipped[task]
    copy_databases(left_behind(shipped, root, task), tmp_path / "left")
    COMPANY.lay_over(tmp_path / "left", rows)
    faults = failed(judge(COMPANY, prepared, events_of(prepared), COMPANY.read(tmp_path / "left")))
    assert faults.keys() == {check}
    assert told in faults[check]


async def test_a_write_that_was_done_twice_or_to_the_wrong_row_fails(tmp_path: Path) -> None:
    log = {"arguments": {"channel": "chat", "summary": "x"}}
    one = simple(
        action("open_case", "a", arguments={"customer_id": "cus_0007", "subject": "one"}),
        action("open_case", "b", arguments={"customer_id": "cus_0007", "subject": "two"}),
        action("close_case", "c", arguments={"resolution": "r"}, from_results={"case_id": "a.id"}),
    )
    other = replace(
        one, actions=(*one.actions[:2], one.actions[2].model_copy(update={"from_results": {"case_id": "b.id"}}))
    )
    twice = simple(
        action("log_interaction", "a", arguments={**log["arguments"], "customer_id": "cus_0007"}),
        action("log_interaction", "b", arguments={**log["arguments"], "customer_id": "cus_0007"}),
    )
    once = replace(twice, actions=twice.actions[:1])
    wanted = await prepare(COMPANY, [one, once], tmp_path / "wanted")
    await prepare(COMPANY, [other, twice], tmp_path / "found")
    again = await prepare(COMPANY, [one, once], tmp_path / "again")
    assert [each.wanted for each in wanted] == [each.wanted for each in again], "ids are drawn"
    for number, prepared in enumerate(wanted):
        rows = COMPANY.read(tmp_path / "found" / "direct" / str(number))
        told = failed(judge(COMPANY, prepared, events_of(prepared), rows))
        assert told.keys() == {"database crm"}
        assert ("a row too many" in told["database crm"]) and (number == 1 or "no row" in told["database crm"])


@pytest.mark.parametrize(
    ("change", "check", "told"),
    [
        (lambda events: events.clear(), "turn", "the turn ended with no end"),
        (
            lambda events: events.insert(0, {"type": "session.error", "error": {"type": "x", "message": "broken"}}),
            "turn",
            "x: broken",
        ),
        (lambda events: events.__delitem__(slice(2, 4)), "action right", "record_payment was never called"),
        (lambda events: events.__delitem__(3), "action right", "record_payment was never answered"),
        (
            lambda events: events[1].update(is_error=False),
            "action wrong",
            "record_payment answered, which it did not do directly",
        ),
        (
            lambda events: events[1].update(content=[{"type": "text", "text": "out of order"}]),
            "action wrong",
            "record_payment refused for another reason than directly: out of order",
        ),
        (lambda events: events[2].update(name="refund"), "action right", "refund was called, not record_payment"),
        (lambda events: events.extend(events[2:4]), "actions", "1 calls more than the trajectory has"),
        (
            lambda events: events[4].update(content=[{"type": "text", "text": "Done."}]),
            "communicate 'more than the 249.00 that is due'",
            "no message to the user says it",
        ),
    ],
)
def test_each_part_of_a_session_can_fail_for_itself(
    shipped: Mapping[str, PreparedTask], root: Path, change: Callable[[list[Json]], object], check: str, told: str
) -> None:
    task = "billing-paid-too-much"
    prepared = shipped[task]
    events = events_of(prepared)
    change(events)
    rows = COMPANY.read(left_behind(shipped, root, task))
    assert told in failed(judge(COMPANY, prepared, events, rows))[check]


def test_the_replay_brains_own_notice_tells_nobody_anything(shipped: Mapping[str, PreparedTask], root: Path) -> None:
    task = shipped["support-upgrade"]
    named = replace(task, task=replace(task.task, id="business"))
    notice = "[Replay: no model was called; the scripted plan 'business' is played.]"
    events = [*events_of(task)[:-2], {"type": "agent.message", "content": [{"type": "text", "text": notice}]}]
    rows = COMPANY.read(left_behind(shipped, root, "support-upgrade"))
    assert "communicate 'business'" in failed(judge(COMPANY, named, events, rows))


def test_reads_that_need_nothing_of_each_other_are_asked_for_at_once(shipped: Mapping[str, PreparedTask]) -> None:
    assert steps_of(COMPANY, shipped["support-lookups"].task) == [[0, 1, 2, 3, 4]]
    assert steps_of(COMPANY, shipped["billing-dispute"].task) == [[0, 1, 2], [3], [4], [5], [6], [7]]
    chained = simple(
        action("find_customers"),
        action("get_customer", "b", from_results={"customer_id": "a.customers.0.id"}),
        action("balance", "c", arguments={"customer_id": "cus_0001"}),
        action("open_case", "d", arguments={"customer_id": "cus_0001", "subject": "x"}),
        action("balance", "e", arguments={"customer_id": "cus_0001"}),
    )
    assert steps_of(COMPANY, chained) == [[0], [1, 2], [3], [4]]


def test_a_plan_says_exactly_what_the_task_says(shipped: Mapping[str, PreparedTask]) -> None:
    plans = {plan["name"]: plan for plan in plan_file(COMPANY, list(shipped.values()))["plans"]}
    [log] = plans["support-template"]["steps"][0]["tools"]
    rendered = render(log["input"], Memory(session_id="sesn_1"))
    assert rendered.pop("database") == "sesn_1"
    assert rendered == shipped["support-template"].task.actions[0].arguments
    assert log["name"] == "mcp__crm__log_interaction"


def test_a_plan_keeps_the_line_ends_of_a_text() -> None:
    given = {"channel": "email", "summary": "one\r\ntwo\rthree\n"}
    task = simple(action("log_interaction", arguments=given))
    [plan] = plan_file(COMPANY, [PreparedTask(task, Path(), (), {}, {})])["plans"]
    rendered = render(plan["steps"][0]["tools"][0]["input"], Memory(session_id="sesn_1"))
    assert rendered == {"database": "sesn_1", **given}


def test_each_task_has_a_plan_of_its_own(shipped: Mapping[str, PreparedTask]) -> None:
    plans = plan_file(COMPANY, list(shipped.values()))["plans"]
    for prepared in shipped.values():
        fitting = [plan["name"] for plan in plans if re.search(plan["when"], message(prepared.task))]
        assert fitting == [prepared.task.id]


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        (
            simple(action("fly")),
            "task 't': evaluation_criteria.actions.0 (a): name: the domain company has no tool 'fly'",
        ),
        (
            simple(action("get_customer", arguments={"customer_id": "cus_9999"})),
            "task 't': evaluation_criteria.actions.0 (a): get_customer refuses it: ",
        ),
        (
            simple(action("get_customer", arguments={"customer_id": "cus_0001"}, refused=True)),
            "refused is true, but get_customer answers",
        ),
        (
            simple(
                action("find_customers"),
                action("get_customer", "b", from_results={"customer_id": "a.customers.0.number"}),
            ),
            "actions.1 (b): from_results.customer_id: a.customers.0.number is nowhere in the answer",
        ),
        (
            simple(action("find_customers"), action("get_customer", "b", from_results={"customer_id": "a.total"})),
            "a.total is 60; only a text can be taken",
        ),
        (
            simple(initialization_data={"agent_data": {"crm_people": []}}),
            "initialization_data.agent_data.crm_people: is no table of the domain company; it has billing_",
        ),
        (
            simple(
                initialization_actions=[
                    {"env_type": "assistant", "func_name": "balance", "arguments": {"customer_id": "cus_9999"}}
                ]
            ),
            "initial_state.initialization_actions.0: balance refuses it",
        ),
    ],
)
async def test_a_task_that_does_not_fit_its_domain_is_refused_with_the_place(
    task: Task, fault: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await prepare(COMPANY, [task], tmp_path / "t")
    assert fault in raised.value.message


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"id": "x"}, "crm_cases.0.customer_id: is missing, and there is no such row yet"),
        ({"id": "x", "colour": 1}, "crm_cases.0.colour: is no column; there are id, customer_id,"),
        ({"subject": "x"}, "crm_cases.0.id: is missing; it says which row is meant"),
    ],
)
def test_rows_of_an_initial_state_are_checked(shipped: Mapping[str, PreparedTask], row: Json, fault: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        COMPANY.lay_over(shipped["support-upgrade"].initial, {"crm_cases": [row]})
    assert fault in raised.value.message


async def test_what_no_tool_says_is_noted(tmp_path: Path) -> None:
    task = simple(action("balance", arguments={"customer_id": "cus_0001"}), communicate=["3,196.00", "42 dollars"])
    [prepared] = await prepare(COMPANY, [task], tmp_path / "t")
    assert prepared.untold == ["42 dollars"]
    assert "'42 dollars'" in prepared.notes[-1]
    assert plan_file(COMPANY, [prepared])["plans"][0]["steps"][-1]["text"].endswith("42 dollars")


def test_an_id_that_the_task_gives_is_compared_and_one_that_a_tool_draws_is_not(
    shipped: Mapping[str, PreparedTask], root: Path
) -> None:
    before = shipped["support-upgrade"].before
    accounts = before["billing_accounts"]
    rows = {**before, "billing_accounts": [*accounts, ("cus_new", "New", "usd")]}
    other = {**before, "billing_accounts": [*accounts, ("cus_other", "New", "usd")]}

    def state(rows: Any, *given: str) -> Changes:
        return changes(COMPANY, before, rows, given)

    assert state(rows) == state(other)
    assert state(rows, "cus_new") != state(other, "cus_new")


async def test_many_sessions_may_call_at_once_while_databases_are_closed(
    shipped: Mapping[str, PreparedTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_domain, "_MOST_OPEN", 4)
    databases = TaskDatabases(CRM, next(iter(shipped.values())).initial.parent)

    async def read(number: int) -> None:
        async with databases.lend(str(number)) as database, database.reading() as connection:
            assert len((await connection.execute(select(people.c.id))).all()) == 60

    for those in (range(4), range(4, 8), range(8)):
        await asyncio.gather(*map(read, those))
    await databases.close()
    with pytest.raises(ToolError, match=r"there is no database '\.\./0'"):
        async with databases.lend("../0"):
            pass
