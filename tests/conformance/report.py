"""``python -m tests.conformance.report``: run the suite and write docs/compatibility.md from manifest and results.

The document is a function of the manifest, of ``calls.py`` and of the tests' markers; it is only written when they
all pass.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance import coverage
from tests.conformance.calls import CALLS, EVENTS, Line
from tests.conformance.requirements import REQUIREMENTS, Requirement
from tests.conformance.sdk_calls import sdk_calls

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

_HEAD = """\
# Compatibility with the Claude Managed Agents API

Written by `python -m tests.conformance.report` once its tests pass; do not edit. The lines themselves, with their
sources, are in `tests/conformance/requirements.py`. Every test drives a live server with the official `anthropic`
SDK or with raw HTTP, and every answer's raw JSON is held to the SDK's models in strict mode: no unknown key, no
missing one. The sections named below are those of our digest of the API; `H-n` are decisions where the API's
documentation is silent, `ours` goes beyond it.
"""


def render(tests: dict[str, list[str]]) -> str:
    """Return the document."""
    parts = (_summary(tests), _calls(), _events(), _differences(), _deferred())
    return "\n".join([_HEAD, *(line for part in parts for line in [*part, ""])])


def _calls() -> list[str]:
    head = [
        "## Every call of the SDK",
        "",
        "Calls below `client.beta` that a workspace has. Each that passes is made by",
        "`tests/conformance/test_calls.py`, and answered, a helper by the tests of the lines with it; these tests hold",
        "how each behaves.",
        "",
        _states(CALLS),
        "",
        "| call | request | state | missing | lines |",
        "|---|---|---|---|---|",
    ]
    return [*head, *(f"| `{name}` | {_route(name)} | {_cells(line)} |" for name, line in sorted(CALLS.items()))]


def _events() -> list[str]:
    head = ["## Every event type of the SDK", "", _states(EVENTS), ""]
    head += ["| type | state | missing | lines |", "|---|---|---|---|"]
    return [*head, *(f"| `{name}` | {_cells(line)} |" for name, line in EVENTS.items())]


def _states(lines: dict[str, Line]) -> str:
    counted = Counter(line.state.value for line in lines.values())
    return f"{len(lines)} in all: " + ", ".join(f"{count} {state}" for state, count in counted.most_common()) + "."


def _route(call: str) -> str:
    route = sdk_calls()[call].route
    return f"`{' '.join(route)}`" if route else "a helper"


def _cells(line: Line) -> str:
    return f"{line.state.value} | {line.what} | {' '.join(f'`{each}`' for each in line.ids)}"


def _summary(tests: dict[str, list[str]]) -> list[str]:
    cited = Counter(each.partition(":")[0] for ids in tests.values() for each in {*ids})
    areas = list(dict.fromkeys(each.area for each in REQUIREMENTS.values()))
    lines = ["| area | lines held | deferred | test functions citing them |", "|---|---|---|---|"]
    for area in areas:
        mine = [each for each in REQUIREMENTS.values() if each.area == area]
        late = sum(each.deferred is not None for each in mine)
        lines.append(f"| {area} | {len(mine) - late} | {late or ''} | {cited[area]} |")
    late = sum(each.deferred is not None for each in REQUIREMENTS.values())
    return [*lines, f"| all | {len(REQUIREMENTS) - late} | {late} | {len(tests)} |"]


def _rows(requirements: list[Requirement], why: str) -> list[str]:
    return [f"| `{each.id}` | {each.source} | {each.text} | {getattr(each, why)} |" for each in requirements]


def _differences() -> list[str]:
    found = [each for each in REQUIREMENTS.values() if each.divergence]
    head = ["## Different on purpose", "", "| id | source | the line | here |", "|---|---|---|---|"]
    return [*head, *_rows(found, "divergence")]


def _deferred() -> list[str]:
    found = [each for each in REQUIREMENTS.values() if each.deferred]
    head = ["## Not yet", "", "| id | source | what | why |", "|---|---|---|---|"]
    return [*head, *_rows(found, "deferred")]


def main() -> int:
    folder = str(Path(__file__).parent)
    stale = "test_the_document_is_what_the_manifest_says"
    status = pytest.main(["-q", folder, "-k", f"not {stale}"])
    if status == 0:
        DOCUMENT.write_text(render(coverage.tests()), encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
