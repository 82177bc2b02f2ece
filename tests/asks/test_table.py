"""``docs/user_asks.md`` is held to the tests, both ways."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "user_asks.md").read_text(encoding="utf-8")
ALL = range(1, 68)
_TEST = re.compile(r"`([a-z_/]+)::([a-z_0-9]+)`")
_ROW = re.compile(r"^\| (\d+)(?:-(\d+))? \| (.*) \|$", re.MULTILINE)
_CITED = re.compile(r"Asks? (\d+(?:, \d+)*)")


@cache
def functions_of(path: Path) -> dict[str, str]:
    """The test functions of a module, with their docstrings."""
    found = (node for node in ast.parse(path.read_text(encoding="utf-8")).body)
    functions = (node for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: ast.get_docstring(node) or "" for node in functions if node.name.startswith("test_")}


def module(short: str) -> Path:
    folder, _, name = short.rpartition("/")
    return ROOT / "tests" / folder / f"test_{name}.py"


def rows(text: str) -> dict[int, str]:
    """What stands in each ask's row; a row may be of several."""
    found: dict[int, str] = {}
    for first, last, rest in _ROW.findall(text):
        found.update(dict.fromkeys(range(int(first), int(last or first) + 1), rest))
    return found


ASKS, _, FIFTEEN = TABLE.partition("## The fifteen")


def test_every_named_test_exists() -> None:
    named = {*_TEST.findall(TABLE)} - {("asks/restart", "a_b")}
    assert len(named) > 80
    missing = [f"{short}::{name}" for short, name in named if f"test_{name}" not in functions_of(module(short))]
    assert missing == []


def test_every_ask_has_a_row_with_tests() -> None:
    found = rows(ASKS)
    assert sorted(found) == list(ALL)
    assert [n for n in ALL if not _TEST.search(found[n])] == []


def test_every_test_of_the_asks_cites_some_and_stands_in_their_rows() -> None:
    found, wrong = rows(ASKS), list[str]()
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path == Path(__file__):
            continue
        for name, docstring in functions_of(path).items():
            cited = [int(number) for group in _CITED.findall(docstring) for number in group.split(",")]
            here = (f"asks/{path.stem.removeprefix('test_')}", name.removeprefix("test_"))
            absent = [number for number in cited if here not in _TEST.findall(found[number])]
            if not cited or absent:
                wrong.append(f"{path.stem}::{name} cites {cited}, is missing in {absent}")
    assert wrong == []


def test_the_fifteen_that_bite_most_refer_to_asks_with_rows() -> None:
    found = rows(FIFTEEN)
    assert sorted(found) == list(range(1, 16))
    for rest in found.values():
        assert {int(number) for number in rest.rpartition("|")[2].split()} <= {*ALL}
