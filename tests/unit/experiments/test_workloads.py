"""The workloads (ours): each session comes to the end that was worked out for it, by way of what its tools say."""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from mcp import Client

from agents.brains.assembly import Block
from agents.brains.plan import PlanBook
from agents.brains.port import BrainRequest
from agents.brains.replay import ReplayBrain
from agents.example_hands.storage import DATA_DIR
from agents.experiments.plan import HandTime, WorkloadName
from agents.experiments.work import backends
from agents.experiments.work.arrivals import Arrival
from agents.experiments.work.hand_times import call_seconds, to_variables
from agents.experiments.work.workloads import (
    PLAN_FILE,
    expected_answer,
    hands_needed,
    is_right,
    user_message,
    workload_agent,
)
from agents.hand_settings import HandDefinition
from agents.hands.notices import RESTORED, notice_block
from agents.hands.servers.content import blocks
from agents.hands.tool_output import text_block
from agents.hands.toolset import BashInput, ReadInput, ToolInput, WriteInput, parse_input
from tests.unit.brains.answers import answer_of

SEED = 1
HANDS = ("crm", "billing", "analytics")
WORKLOADS: tuple[WorkloadName, ...] = get_args(WorkloadName)


class Stage:
    """What sessions are played on: the replay brain, the hands' own servers, and a folder for each session."""

    def __init__(self, hands: Mapping[str, Client], folder: Path) -> None:
        self.hands = hands
        self._folder = folder
        self.restarted_before = ""
        """A sandbox tool before each call of which the sandbox is another one."""
        self._brain = ReplayBrain(PlanBook.load(PLAN_FILE), pace=0)

    async def play(self, arrival: Arrival) -> tuple[str, list[str]]:
        """Play a session to the end of its turn; returns its last text, and the tools in the order of their calls."""
        workspace = self._folder / f"{arrival.workload}-{arrival.request}"
        workspace.mkdir(parents=True, exist_ok=True)
        messages: list[dict[str, Any]] = [{"role": "user", "content": user_message(arrival, SEED)}]
        called: list[str] = []
        while True:
            answer = await answer_of(self._brain, BrainRequest("sesn_1", "simulated", messages))
            uses = [block for block in answer.blocks if block.kind == "tool_use"]
            if not uses:
                assert answer.stop_reason == "end_turn"
                return answer.blocks[-1].text, called
            called += [use.name for use in uses]
            messages.append({"role": "assistant", "content": [block.raw for block in answer.blocks]})
            messages.append({"role": "user", "content": [await self._result(workspace, use) for use in uses]})

    async def _result(self, workspace: Path, use: Block) -> dict[str, Any]:
        given = use.input or {}
        hand, _, tool = use.name.removeprefix("mcp__").partition("__")
        if tool:
            result = await self.hands[hand].call_tool(tool, given)
            assert not result.is_error, (use.name, given, result.content)
            content = blocks(result)
        else:
            content = text_block(in_folder(workspace, parse_input(use.name, given)))
            if use.name == self.restarted_before:
                content = [notice_block(RESTORED), *content]
        return {"type": "tool_result", "tool_use_id": use.tool_use_id, "content": content}


def in_folder(workspace: Path, request: ToolInput) -> str:
    """Do what a sandbox's tool does, without a sandbox."""
    match request:
        case WriteInput():
            return f"wrote {(workspace / request.file_path).write_text(request.content)} bytes"
        case ReadInput():
            return (workspace / request.file_path).read_text()
        case BashInput(command=str(command)):
            ran = subprocess.run(["bash", "-c", command], cwd=workspace, capture_output=True, text=True, check=True)
            assert not ran.stderr
            return ran.stdout
    raise AssertionError(f"no workload uses {request}")


@asynccontextmanager
async def stage_for(folder: Path, *hands: str) -> AsyncIterator[Stage]:
    """Start hands on new databases below *folder*."""
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(Client(getattr(backends, name))) for name in hands}
        yield Stage(clients, folder / "sandboxes")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DATA_DIR, str(tmp_path / "hands"))
    return tmp_path


def arrival(workload: WorkloadName, request: int, **tokens: Any) -> Arrival:
    return Arrival(request, 0.0, workload, **tokens)


def one_of_each_end(workload: WorkloadName) -> list[Arrival]:
    """The first request of each kind of answer: what is said, without what differs from request to request."""
    found: dict[str, Arrival] = {}
    for each in (arrival(workload, request) for request in range(200)):
        kind = re.sub(r"[A-Z]-[0-9-]+: |cus_\d+|inv_\w+|[0-9]+(\.[0-9]+)?", "", expected_answer(each, SEED))
        found.setdefault(kind, each)
    return list(found.values())


@pytest.mark.parametrize("tool", ["write", "bash", "read"])
async def test_a_session_that_is_told_of_a_restored_sandbox_comes_to_its_right_end(folder: Path, tool: str) -> None:
    async with stage_for(folder) as stage:
        stage.restarted_before = tool
        for each in one_of_each_end("extraction"):
            assert is_right(each, SEED, (await stage.play(each))[0])


@pytest.mark.parametrize(
    ("workload", "hands", "ends", "ways"),
    [
        ("support", ("crm", "billing"), 5, 5),
        ("extraction", (), 2, 2),
        ("recommendation", ("crm", "billing", "analytics"), 4, 1),
    ],
)
async def test_sessions_come_to_their_right_end_whatever_others_wrote(
    folder: Path, workload: WorkloadName, hands: tuple[str, ...], ends: int, ways: int
) -> None:
    """Each end, and each way through the tools, is among them; played again backwards all are the same."""
    requests = one_of_each_end(workload)
    assert len(requests) == ends
    async with stage_for(folder, *hands) as stage:
        played = [await stage.play(each) for each in requests]
        again = [await stage.play(each) for each in reversed(requests)]
    assert [answer for answer, _ in played] == [expected_answer(each, SEED) for each in requests]
    assert all(is_right(each, SEED, answer) for each, (answer, _) in zip(requests, played, strict=True))
    assert len({tuple(called) for _, called in played}) == ways
    assert again[::-1] == played


async def test_an_answer_that_came_out_otherwise_is_not_right(folder: Path) -> None:
    """Bug class: a check that any answer passes. Here somebody pays what a customer owed."""
    owing = next(each for each in one_of_each_end("support") if " owes " in expected_answer(each, SEED))
    (invoice,) = re.findall(r"inv_\w+", expected_answer(owing, SEED))
    async with stage_for(folder, "crm", "billing") as stage:
        due = (await stage.hands["billing"].call_tool("payment_status", {"invoice_id": invoice})).structured_content
        assert due
        await stage.hands["billing"].call_tool("record_payment", {"invoice_id": invoice, "amount": due["due"]})
        answer, _ = await stage.play(owing)
    assert answer
    assert not is_right(owing, SEED, answer)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_request_is_drawn_from_seed_and_number_alone(workload: WorkloadName) -> None:
    first = [user_message(arrival(workload, request), SEED) for request in range(50)]
    assert first == [user_message(arrival(workload, request), SEED) for request in range(50)]
    assert len(set(first)) == 50
    assert user_message(arrival(workload, 0), SEED + 1) != first[0]
    assert len({expected_answer(arrival(workload, request), SEED) for request in range(50)}) == 50


@pytest.mark.parametrize("workload", WORKLOADS)
def test_lengths_of_a_trace_travel_in_the_message_and_change_no_plan(workload: WorkloadName) -> None:
    plain, traced = (
        user_message(arrival(workload, 7, **t), SEED) for t in ({}, {"context_tokens": 4000, "output_tokens": 90})
    )
    assert traced == f"{plain}\n\n[simulate input_tokens=4000 output_tokens=90]"
    book = PlanBook.load(PLAN_FILE)
    assert {plan.name for text in (plain, traced) if (plan := book.choose(text))} == {workload}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_an_agent_is_offered_what_its_plan_calls(workload: WorkloadName) -> None:
    body = workload_agent(workload, "simulated")
    servers = {server["name"] for server in body["mcp_servers"]}
    enabled = {tool["name"] for toolset in body["tools"] for tool in toolset.get("configs", ())}
    (plan,) = [plan for plan in yaml.safe_load(PLAN_FILE.read_text())["plans"] if plan["name"] == workload]
    called = {tool["name"] for step in plan["steps"] for tool in step.get("tools", ())}
    assert {name.split("__")[1] for name in called if name.startswith("mcp__")} == servers
    assert {name for name in called if not name.startswith("mcp__")} == enabled
    assert {toolset["mcp_server_name"] for toolset in body["tools"] if toolset["type"] == "mcp_toolset"} == servers


def test_the_hands_are_valid_and_carry_their_times_and_their_folder(tmp_path: Path) -> None:
    times = HandTime(median_seconds=0.25, sigma=0.5)
    definitions = {name: HandDefinition.model_validate(given) for name, given in hands_needed(times, tmp_path).items()}
    assert definitions.keys() == set(HANDS)
    for hand in definitions.values():
        module, _, name = hand.server.partition(":")
        assert getattr(importlib.import_module(module), name).name == name
        assert hand.runtime_env.env_vars == {**to_variables(times), DATA_DIR: str(tmp_path)}
    assert all(given["runtime_env"] == {"env_vars": {}} for given in hands_needed().values())


def test_backends_take_log_normal_times_and_the_same_for_the_same_call() -> None:
    times = HandTime(median_seconds=0.2, sigma=0.5)
    drawn = sorted(call_seconds(times, "get_customer", {"customer_id": number}) for number in range(4000))
    # Quantiles of the log-normal distribution; with 4000 draws their standard errors are below 2 and 4 %.
    assert drawn[2000] == pytest.approx(0.2, rel=0.06)
    assert drawn[3800] == pytest.approx(0.2 * 2.276, rel=0.12)
    assert call_seconds(times, "t", {"a": 1, "b": 2}) == call_seconds(times, "t", {"b": 2, "a": 1})
    assert call_seconds(times, "t", {}) != call_seconds(times, "u", {})


async def test_a_hand_waits_for_its_backend_before_a_call_and_before_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = HandTime(median_seconds=0.2, sigma=0.5)
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    arguments = {"customer_id": "cus_0007"}
    monkeypatch.setattr(backends, "sleep", wait)
    async with stage_for(folder, "crm") as stage:
        crm = stage.hands["crm"]
        await crm.call_tool("get_customer", arguments)
        assert waited == []
        for name, value in to_variables(times).items():
            monkeypatch.setenv(name, value)
        await crm.list_tools()
        await crm.call_tool("get_customer", arguments)
    assert waited == [call_seconds(times, "get_customer", arguments)]
