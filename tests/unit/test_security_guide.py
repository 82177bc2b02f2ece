"""docs/security.md: every threat names tests, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`((?:unit|contract|conformance|cluster|chaos)/[\w/]+\.py)::(test_\w+)`")


def threats() -> list[str]:
    """The rows of the table of threats."""
    table = GUIDE.partition("## Threats")[2].partition("\n## ")[0]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


@cache
def named_in(path: str) -> frozenset[str]:
    file = ROOT / "tests" / path
    assert file.is_file(), f"docs/security.md names {path}"
    parts = ast.parse(file.read_text(encoding="utf-8")).body
    return frozenset(part.name for part in parts if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_threat_names_its_test() -> None:
    assert len(threats()) >= 25
    assert [row for row in threats() if not NAMED.search(row.rsplit("|", 2)[1])] == []


def test_every_test_that_is_named_exists() -> None:
    assert [f"{path}::{name}" for path, name in NAMED.findall(GUIDE) if name not in named_in(path)] == []


def test_every_scope_and_setting_that_is_named_exists() -> None:
    from agents.access.scopes import KeyScope
    from agents.config import Settings

    for scope in KeyScope:
        assert f"| `{scope.value}` |" in GUIDE
    sections = {"access", "gateway", "network"}
    for section, name in re.findall(r"`(\w+)\.(\w+)`", GUIDE):
        if section in sections:
            assert name in type(getattr(Settings(), section)).model_fields, f"{section}.{name}"
