"""No request field is accepted and then forgotten: what the SDK can send is parsed, and what is parsed is read."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, get_args

import pytest
from anthropic.types.beta import (
    AgentCreateParams,
    AgentUpdateParams,
    DeploymentCreateParams,
    DeploymentUpdateParams,
    EnvironmentCreateParams,
    EnvironmentUpdateParams,
    MemoryStoreCreateParams,
    MemoryStoreUpdateParams,
    SessionCreateParams,
    SessionUpdateParams,
    VaultCreateParams,
    VaultUpdateParams,
)
from anthropic.types.beta.memory_stores import MemoryCreateParams, MemoryUpdateParams
from anthropic.types.beta.sessions import EventSendParams
from anthropic.types.beta.vaults import CredentialCreateParams, CredentialUpdateParams
from typing_extensions import get_type_hints, is_typeddict

import agents
from agents.api.param_schema import HEADER_FIELDS, IN_PATH, core_schema

BODIES = [
    AgentCreateParams,
    AgentUpdateParams,
    DeploymentCreateParams,
    DeploymentUpdateParams,
    EnvironmentCreateParams,
    EnvironmentUpdateParams,
    SessionCreateParams,
    SessionUpdateParams,
    EventSendParams,
    VaultCreateParams,
    VaultUpdateParams,
    CredentialCreateParams,
    CredentialUpdateParams,
    MemoryStoreCreateParams,
    MemoryStoreUpdateParams,
    MemoryCreateParams,
    MemoryUpdateParams,
]
# Types whose presence alone is refused by name, so that none of their own fields is ever reached.
REFUSED_WHOLE = {
    "skills": ("Skill",),
    "multiagent": ("Multiagent", "Advisor"),
    "resources": ("GitHubRepository", "MemoryStoreResource", "BranchCheckout", "CommitCheckout"),
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


def read_names(tree: ast.AST) -> set[str]:
    """Names that code takes out of a mapping: ``x.get("n")``, ``x["n"]``, ``"n" in x``, and tables of names."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
                names.add(name)
            case ast.Subscript(slice=ast.Constant(value=str(name)), ctx=ast.Load()):
                names.add(name)
            case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()]):
                names.add(name)
            case (
                ast.Assign(targets=[ast.Name(id=target)], value=value)
                | ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value)
            ) if target.isupper():
                names |= {each.value for each in ast.walk(value) if isinstance(each, ast.Constant)}
            case _:
                pass
    return names


def all_read_names() -> set[str]:
    root = Path(agents.__file__).parent
    return set().union(*(read_names(ast.parse(path.read_text())) for path in root.rglob("*.py")))


def refused(name: str) -> bool:
    return any(mark in name for marks in REFUSED_WHOLE.values() for mark in marks)


def test_every_request_field_in_scope_is_read_somewhere() -> None:
    read = all_read_names()
    unread: set[str] = set()
    for body in BODIES:
        for params in nested(body):
            if refused(params.__name__):
                continue
            for name in get_type_hints(params):
                if name not in HEADER_FIELDS | PASSED_ON | read | IN_PATH.get(params, frozenset()):
                    unread.add(f"{params.__name__}.{name}")
    assert unread == set()


def test_what_is_refused_whole_is_named_in_the_source() -> None:
    assert REFUSED_WHOLE.keys() - all_read_names() == set()


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_accepted_fields_are_exactly_the_sdks_at_every_level(body: type) -> None:
    accepted: dict[frozenset[str], int] = {}
    whole: Any = core_schema(body)
    waiting: list[Any] = [whole["schema"], *whole["definitions"]]
    while waiting:
        schema = waiting.pop()
        if schema["type"] == "typed-dict":
            accepted[frozenset(schema["fields"])] = 1
            waiting.extend(field["schema"] for field in schema["fields"].values())
            continue
        waiting.extend(schema.get("choices", {}).values())
        waiting.extend(schema[key] for key in ("schema", "items_schema", "values_schema") if key in schema)
    offered = {
        frozenset(get_type_hints(params))
        - (HEADER_FIELDS | IN_PATH.get(body, frozenset()) if params is body else set())
        for params in nested(body)
    }
    assert set(accepted) == offered
