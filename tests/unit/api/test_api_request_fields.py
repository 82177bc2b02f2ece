"""No request field is accepted and then forgotten: what the SDK can send is parsed, and what is parsed is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from anthropic.types.beta import (
    AgentCreateParams,
    AgentUpdateParams,
    EnvironmentCreateParams,
    EnvironmentUpdateParams,
    SessionCreateParams,
    SessionUpdateParams,
)
from anthropic.types.beta.sessions import EventSendParams
from typing_extensions import get_type_hints, is_typeddict

import agents
from agents.api.param_schema import HEADER_FIELDS, core_schema

BODIES = [
    AgentCreateParams,
    AgentUpdateParams,
    EnvironmentCreateParams,
    EnvironmentUpdateParams,
    SessionCreateParams,
    SessionUpdateParams,
    EventSendParams,
]
# Types whose presence alone is refused by name, so that none of their own fields is ever reached.
REFUSED_WHOLE = {
    "skills": ("Skill",),
    "multiagent": ("Multiagent", "Advisor"),
    "resources": ("FileResource", "GitHubRepository", "MemoryStoreResource", "BranchCheckout", "CommitCheckout"),
    "budget": ("BudgetLimit", "MonetaryAmount"),
    "user.define_outcome": ("DefineOutcome", "Rubric"),
    "system.message": ("SystemMessage", "SystemContent"),
    "user.tool_result": ("UserToolResult",),
}
# Fields that reach the log, and the brain, as the client sent them.
PASSED_ON = {"title", "context", "citations", "source"}


def nested(hint: Any) -> list[type]:
    """All TypedDict classes that a type mentions, itself included."""
    if is_typeddict(hint):
        found = [hint]
        for name, inner in get_type_hints(hint, include_extras=True).items():
            if name not in HEADER_FIELDS:
                found.extend(nested(inner))
        return found
    return [each for argument in get_args(hint) for each in nested(argument)]


def source_text() -> str:
    root = Path(agents.__file__).parent
    return "\n".join(path.read_text() for path in sorted(root.rglob("*.py")))


def refused(name: str) -> bool:
    return any(mark in name for marks in REFUSED_WHOLE.values() for mark in marks)


def test_every_request_field_in_scope_is_read_somewhere() -> None:
    source = source_text()
    unread: set[str] = set()
    for body in BODIES:
        for params in nested(body):
            if refused(params.__name__):
                continue
            for name in get_type_hints(params):
                if name not in HEADER_FIELDS | PASSED_ON and not re.search(rf'["\']{re.escape(name)}["\']', source):
                    unread.add(f"{params.__name__}.{name}")
    assert unread == set()


def test_what_is_refused_whole_is_named_in_the_source() -> None:
    source = source_text()
    assert [field for field in REFUSED_WHOLE if f'"{field}"' not in source] == []


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_accepted_fields_are_exactly_the_sdks_at_every_level(body: type) -> None:
    accepted: dict[frozenset[str], int] = {}
    waiting: list[Any] = [core_schema(body)]
    while waiting:
        schema = waiting.pop()
        if schema["type"] == "typed-dict":
            accepted[frozenset(schema["fields"])] = 1
            waiting.extend(field["schema"] for field in schema["fields"].values())
            continue
        waiting.extend(schema.get("choices", {}).values())
        waiting.extend(schema[key] for key in ("schema", "items_schema", "values_schema") if key in schema)
    offered = {
        frozenset(get_type_hints(params)) - (HEADER_FIELDS if params is body else frozenset())
        for params in nested(body)
    }
    assert set(accepted) == offered
