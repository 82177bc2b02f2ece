"""The file of tasks: gold trajectories in the format of tau2-bench, checked field by field (docs/tasks.md).

The format's source is github.com/sierra-research/tau2-bench, ``src/tau2/data_model/tasks.py``. What a replay has no use
for is named here and passed over; any other field that is not known is a fault, so that a misspelt criterion does not
silently count for nothing. A task that needs what no replay has is left out, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from agents.errors import InvalidRequest

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Reference = Annotated[str, StringConstraints(pattern=r"^[^.]+(\.[^.]+)+$")]
Basis = Literal["DB", "COMMUNICATE", "ACTION", "NL_ASSERTION", "ENV_ASSERTION"]
_MOST_TOLD = 5
_PLAIN = {"missing": "is missing", "extra_forbidden": "is no field of the format"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Action(_Part):
    """One call of the gold trajectory."""

    action_id: Name
    name: Name
    """The tool, without its server's name."""
    arguments: dict[str, Any]
    requestor: Literal["assistant", "user"] = "assistant"
    info: str | None = None
    compare_args: list[str] | None = None
    from_results: dict[Name, Reference] = Field(default_factory=lambda: {})
    """Ours: arguments that are taken from an earlier action's answer, each as ``ACTION_ID.FIELD[.FIELD or number]``."""
    refused: bool = False
    """Ours: the tool has to refuse this call."""

    @model_validator(mode="after")
    def _once(self) -> Action:
        if twice := self.arguments.keys() & self.from_results.keys():
            raise ValueError(f"from_results gives {', '.join(sorted(twice))}, which arguments gives, too")
        return self


class EnvironmentCall(_Part):
    """A call that belongs to the initial state."""

    env_type: Literal["assistant", "user"]
    func_name: Name
    arguments: dict[str, Any]


class InitializationData(_Part):
    """What differs from the domain's first state: for each table its rows, laid over those with the same key."""

    agent_data: dict[str, Any] | None = None
    user_data: dict[str, Any] | None = None


class InitialState(_Part):
    """What is there before the task begins."""

    initialization_data: InitializationData | None = None
    initialization_actions: list[EnvironmentCall] | None = None
    message_history: list[dict[str, Any]] | None = None


class Instructions(_Part):
    """What the user wants, in parts."""

    task_instructions: str
    domain: str | None = None
    reason_for_call: str | None = None
    known_info: str | None = None
    unknown_info: str | None = None


class UserScenario(_Part):
    """Who the user is and wants."""

    instructions: Instructions | str
    persona: Any = None


class EvaluationCriteria(_Part):
    """What is right."""

    actions: list[Action] | None = None
    communicate_info: list[Name] | None = None
    nl_assertions: list[str] | None = None
    env_assertions: list[dict[str, Any]] | None = None
    reward_basis: list[Basis] = Field(default_factory=lambda: ["DB", "COMMUNICATE"])


class _Wire(_Part):
    """One element of the file."""

    id: Name
    user_scenario: UserScenario
    initial_state: InitialState | None = None
    evaluation_criteria: EvaluationCriteria | None = None
    description: Any = None
    ticket: Any = None
    issues: Any = None
    annotations: Any = None
    required_documents: Any = None
    user_tools: Any = None


@dataclass(frozen=True, slots=True)
class Task:
    """One task that can be replayed, or the reason why it can not (``left_out``)."""

    id: str
    prompt: str
    actions: tuple[Action, ...]
    communicate: tuple[str, ...]
    data: Mapping[str, Sequence[Mapping[str, Any]]]
    """Rows that the initial state has beside the domain's, by table."""
    before: tuple[EnvironmentCall, ...]
    """Calls that make the initial state."""
    notes: tuple[str, ...]
    """What of the task no replay can check."""
    left_out: str = ""

    @property
    def given(self) -> frozenset[str]:
        """All texts in its own arguments: no id among them was drawn by a tool."""
        return frozenset(_texts([action.arguments for action in self.actions]))


def read_tasks(path: Path) -> list[Task]:
    """Read a file of tasks. Raises InvalidRequest, which names the task and the field."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path} can not be read: {error}") from error
    return parse_tasks(content, str(path))


def parse_tasks(content: object, source: str) -> list[Task]:
    """Check what a file holds. Raises InvalidRequest with *source*, the task and the field."""
    if not isinstance(content, list) or not content:
        raise InvalidRequest(f"{source}: must be a list of tasks, with one at least")
    tasks: dict[str, Task] = {}
    for place, element in enumerate(cast("list[object]", content)):
        task = _task(element, f"{source}: {_called(element, place)}")
        if task.id in tasks:
            raise InvalidRequest(f"{source}: task {task.id!r}: id: another task has it")
        tasks[task.id] = task
    return list(tasks.values())


def _called(element: object, place: int) -> str:
    given = cast("dict[str, object]", element).get("id") if isinstance(element, dict) else None
    return f"task {given!r}" if isinstance(given, str) else f"task number {place + 1}"


def _task(element: object, where: str) -> Task:
    try:
        wire = _Wire.model_validate(element)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        told = [f"{_field(fault['loc'])}: {_PLAIN.get(fault['type'], fault['msg'])}" for fault in faults]
        raise InvalidRequest(f"{where}: {'; '.join(told[:_MOST_TOLD])}") from error
    criteria = wire.evaluation_criteria or EvaluationCriteria()
    initial = wire.initial_state or InitialState()
    actions = criteria.actions or []
    _check_actions(actions, f"{where}: evaluation_criteria.actions")
    data = initial.initialization_data or InitializationData()
    left_out = _left_out(initial, actions)
    rows = {} if left_out else {table: _rows(given, table, where) for table, given in (data.agent_data or {}).items()}
    return Task(
        id=wire.id,
        prompt=_prompt(wire.user_scenario.instructions),
        actions=tuple(actions),
        communicate=() if _uncounted(criteria) else tuple(criteria.communicate_info or ()),
        data=rows,
        before=tuple(initial.initialization_actions or ()),
        notes=tuple(_notes(criteria)),
        left_out=left_out,
    )


def _rows(given: object, table: str, where: str) -> list[dict[str, Any]]:
    """Return a table's rows, which the file has as a list, or each under its key."""
    found = list(cast("dict[str, object]", given).values()) if isinstance(given, dict) else given
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in cast("list[object]", found)):
        field = f"initial_state.initialization_data.agent_data.{table}"
        raise InvalidRequest(f"{where}: {field}: must be rows: a list of objects, or an object of objects")
    return cast("list[dict[str, Any]]", found)


def _field(loc: Sequence[int | str]) -> str:
    # A union's choice is in the place of a fault, but in no file.
    return ".".join(str(part) for part in loc if part not in ("Instructions", "str")) or "the task"


def _check_actions(actions: Sequence[Action], where: str) -> None:
    known: set[str] = set()
    for place, action in enumerate(actions):
        if action.action_id in known:
            raise InvalidRequest(f"{where}.{place}.action_id: {action.action_id!r} is another action's, too")
        for argument, reference in action.from_results.items():
            if (earlier := reference.partition(".")[0]) not in known:
                raise InvalidRequest(f"{where}.{place}.from_results.{argument}: no earlier action is {earlier!r}")
        known.add(action.action_id)


def _prompt(instructions: Instructions | str) -> str:
    if isinstance(instructions, str):
        return instructions
    parts = (instructions.reason_for_call, instructions.known_info, instructions.task_instructions)
    return "\n".join(part for part in parts if part)


def _notes(criteria: EvaluationCriteria) -> list[str]:
    judged: tuple[tuple[Sequence[object] | None, str], ...] = (
        (criteria.nl_assertions, "nl_assertions (they need a model to judge)"),
        (criteria.env_assertions, "env_assertions (they are the benchmark's own code)"),
        (_uncounted(criteria), "communicate_info (reward_basis does not count it)"),
    )
    return [f"not checked: {len(given)} {name}" for given, name in judged if given]


def _uncounted(criteria: EvaluationCriteria) -> Sequence[str]:
    return [] if "COMMUNICATE" in criteria.reward_basis else criteria.communicate_info or []


def _left_out(initial: InitialState, actions: Sequence[Action]) -> str:
    if users := [action.action_id for action in actions if action.requestor == "user"]:
        return f"the user's own tools are called ({', '.join(users[:_MOST_TOLD])}), and a replay has no user"
    if initial.message_history:
        return "it begins in the middle of a conversation (initial_state.message_history)"
    if initial.initialization_data is not None and initial.initialization_data.user_data:
        return "its user has data of their own (initialization_data.user_data), and a replay has no user"
    if any(call.env_type == "user" for call in initial.initialization_actions or ()):
        return "its initial state is made with the user's own tools, and a replay has no user"
    return ""


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(cast("dict[str, object]", value).values()))
    elif isinstance(value, list):
        for part in cast("list[object]", value):
            yield from _texts(part)
