"""Tasks as replays: what a gold trajectory does when it is applied directly, and its plan for the replay brain.

The direct run is the measure of the run through the platform: the same calls, on a copy of the same databases, in this
process, one after the other, with no platform between. Whatever makes the two differ, the platform did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mcp import Client
from mcp_types import TextContent

from agents.errors import InvalidRequest
from agents.experiments.tasks.domain import DATABASE, Domain, Rows, copy_databases, task_server
from agents.experiments.tasks.file_format import Action, Task
from agents.experiments.tasks.state import Changes, changes

_NOT_PLAIN = re.compile(r"\{[{%#]|\r")
"""What a template does not give back as it stands: its own marks, and line ends that are not ``\\n``."""
_NOTHING = "Nothing was done."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said to a call."""

    text: str
    refused: bool


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A task that can be replayed and judged."""

    task: Task
    initial: Path
    """The folder of the databases that it begins with."""
    answers: tuple[Answer, ...]
    """What the direct run was answered, by action."""
    before: Rows
    wanted: Changes
    """What the direct run has changed."""

    @property
    def untold(self) -> list[str]:
        """What has to be communicated though no tool has said it."""
        said = plain("\n".join(answer.text for answer in self.answers))
        return [info for info in self.task.communicate if plain(info) not in said]

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the task is not checked, or proves less than it seems to."""
        if not (untold := self.untold):
            return self.task.notes
        said = ", ".join(map(repr, untold))
        return (
            *self.task.notes,
            f"no tool says {said}: the plan says it of itself, which proves only that texts arrive",
        )


def plain(text: str) -> str:
    """Return a text as it is searched for information: lower case, and without the commas of large numbers."""
    return text.lower().replace(",", "")


def message(task: Task) -> str:
    """Return what the user of a task says; its beginning says to the replay brain which plan to play."""
    return f"[task {task.id}]\n{task.prompt}"


async def prepare(domain: Domain, tasks: Sequence[Task], root: Path) -> list[PreparedTask]:
    """Apply each task's gold trajectory directly, on databases below *root*.

    Raises InvalidRequest for a task that does not fit the domain, or whose trajectory does not work: the message names
    the task and the action.
    """
    first, initials, after = root / "first", root / "initial", root / "direct"
    await domain.make(first)
    numbered = [(str(number), task) for number, task in enumerate(tasks)]
    async with _Direct(domain, initials) as direct:
        for number, task in numbered:
            copy_databases(first, initials / number)
            _lay_over(domain, task, initials / number)
            await direct.begin(number, task)
    prepared: list[PreparedTask] = []
    async with _Direct(domain, after) as direct:
        for number, task in numbered:
            copy_databases(initials / number, after / number)
            answers = await direct.apply(number, task)
            before = domain.read(initials / number)
            wanted = changes(domain, before, domain.read(after / number), task.given)
            prepared.append(PreparedTask(task, initials / number, answers, before, wanted))
    return prepared


def _lay_over(domain: Domain, task: Task, folder: Path) -> None:
    try:
        domain.lay_over(folder, task.data)
    except InvalidRequest as error:
        where = "initial_state.initialization_data.agent_data"
        raise InvalidRequest(f"task {task.id!r}: {where}.{error.message}") from error


class _Direct:
    """Calls the tools of a domain in this process, on the databases below a folder."""

    def __init__(self, domain: Domain, root: Path) -> None:
        self._domain = domain
        self._root = root
        self._clients: dict[str, Client] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> _Direct:
        for hand in self._domain.hands:
            self._clients[hand.name] = await self._stack.enter_async_context(Client(task_server(hand, self._root)))
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    async def begin(self, database: str, task: Task) -> None:
        """Make the calls of a task's initial state."""
        for place, call in enumerate(task.before):
            where = f"task {task.id!r}: initial_state.initialization_actions.{place}"
            answer = await self._call(database, call.func_name, call.arguments, f"{where}.func_name")
            if answer.refused:
                raise InvalidRequest(f"{where}: {call.func_name} refuses it: {answer.text}")

    async def apply(self, database: str, task: Task) -> tuple[Answer, ...]:
        """Make the calls of a task's gold trajectory."""
        answers: dict[str, Answer] = {}
        for place, action in enumerate(task.actions):
            where = f"task {task.id!r}: evaluation_criteria.actions.{place} ({action.action_id})"
            taken = {
                argument: _taken(reference, answers, f"{where}: from_results.{argument}")
                for argument, reference in action.from_results.items()
            }
            answer = await self._call(database, action.name, {**action.arguments, **taken}, where)
            if answer.refused and not action.refused:
                hint = "if that is right, the action needs refused: true"
                raise InvalidRequest(f"{where}: {action.name} refuses it: {answer.text} ({hint})")
            if action.refused and not answer.refused:
                raise InvalidRequest(f"{where}: refused is true, but {action.name} answers: {answer.text}")
            answers[action.action_id] = answer
        return tuple(answers.values())

    async def _call(self, database: str, tool: str, arguments: Mapping[str, Any], where: str) -> Answer:
        try:
            hand = self._domain.hand_of(tool)
        except InvalidRequest as error:
            raise InvalidRequest(f"{where}: {error.message}") from error
        result = await self._clients[hand.name].call_tool(tool, {**arguments, DATABASE: database})
        text = "".join(block.text for block in result.content if isinstance(block, TextContent))
        return Answer(text, bool(result.is_error))


def _taken(reference: str, answers: Mapping[str, Answer], where: str) -> str:
    earlier, *path = reference.split(".")
    try:
        found: Any = json.loads(answers[earlier].text)
        for part in path:
            found = cast("list[Any]", found)[int(part)] if isinstance(found, list) else found[part]
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidRequest(f"{where}: {reference} is nowhere in the answer: {answers[earlier].text}") from error
    if not isinstance(found, str):
        raise InvalidRequest(f"{where}: {reference} is {json.dumps(found)}; only a text can be taken")
    return found


# -- plans -------------------------------------------------------------------------------------------


def plan_file(domain: Domain, prepared: Sequence[PreparedTask]) -> dict[str, Any]:
    """Return the content of a plan file for the replay brain: one plan for each task."""
    return {"plans": [_plan(domain, each) for each in prepared]}


def _plan(domain: Domain, prepared: PreparedTask) -> dict[str, Any]:
    task = prepared.task
    labels = {action.action_id: f"a{place}" for place, action in enumerate(task.actions)}
    steps: list[dict[str, Any]] = [
        {"tools": [_tool(domain, task.actions[place], labels) for place in step]} for step in steps_of(domain, task)
    ]
    told = [r"{{ results | join('\n\n') }}" if task.actions else _NOTHING, *map(_literal, prepared.untold)]
    steps.append({"text": "\n\n".join(told)})
    return {"name": task.id, "when": rf"\A\[task {re.escape(task.id)}\]", "steps": steps}


def steps_of(domain: Domain, task: Task) -> list[list[int]]:
    """Return which actions are asked for at once, by their places.

    Neighbours that only read, and need nothing of each other's answers, can not tell in which order they run.
    """
    steps: list[list[int]] = []
    joined: set[str] = set()
    for place, action in enumerate(task.actions):
        needs = {reference.partition(".")[0] for reference in action.from_results.values()}
        reads = _only_reads(domain, action)
        if reads and joined and not needs & joined:
            steps[-1].append(place)
        else:
            steps.append([place])
            joined = set()
        joined = joined | {action.action_id} if reads else set()
    return steps


def _only_reads(domain: Domain, action: Action) -> bool:
    tool = next(tool for tool in domain.hand_of(action.name).tools if tool.name == action.name)
    return tool.annotations is not None and tool.annotations.read_only_hint is True


def _tool(domain: Domain, action: Action, labels: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {DATABASE: "{{ session_id }}"} | cast("dict[str, Any]", _literal(action.arguments))
    for argument, reference in action.from_results.items():
        earlier, *path = reference.split(".")
        places = "".join(f"[{part if part.isdigit() else json.dumps(part)}]" for part in path)
        given[argument] = f"{{{{ (named.{labels[earlier]} | fromjson){places} }}}}"
    name = f"mcp__{domain.hand_of(action.name).name}__{action.name}"
    return {"name": name, "as": labels[action.action_id], "input": given}


def _literal(value: Any) -> Any:
    """Return what a plan must hold so that *value* comes out: a text in a plan is a template."""
    if isinstance(value, str):
        return f"{{{{ {json.dumps(value, ensure_ascii=False)} }}}}" if _NOT_PLAIN.search(value) else value
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_literal(inner) for inner in cast("list[Any]", value)]
    return value
